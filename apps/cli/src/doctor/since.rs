//! What the doctor compares with: a report that was kept in a file, or the time before a setting was changed.

use std::fs;
use std::path::Path;

use millstream::doctor::{Comparison, Observation, Report};
use millstream::{Error, Result};

/// An earlier report, as `--json` printed it.
pub(super) fn read(file: &Path) -> Result<Report> {
    let name = file.to_string_lossy().into_owned();
    let text = fs::read_to_string(file).map_err(|error| Error::io(error).with_target(&*name))?;
    Report::from_json(&text).map_err(|error| error.with_target(&*name))
}

/// The report that the live view compares with: the one of a file for as long as it runs, or else the last one before a setting
/// of the host was changed.
#[derive(Default)]
pub(super) struct Earlier {
    file: Option<Report>,
    last: Option<Report>,
    before: Option<Report>,
    /// Samples since the last change.
    after: usize,
}

impl Earlier {
    pub(super) fn of(file: Option<Report>) -> Self {
        Self { file, ..Self::default() }
    }

    /// Has seen one more sample; gives the lines to be shown, none as long as there is nothing to compare with.
    pub(super) fn look(&mut self, observation: &Observation, report: &Report) -> Result<Vec<String>> {
        if let Some(file) = &self.file {
            return Ok(Comparison::of(file, report)?.summary());
        }
        let is_changed = self.last.as_ref().is_some_and(|last| !last.changed_settings(report).is_empty());
        let last = self.last.replace(report.clone());
        self.after = self.after.saturating_add(1);
        if is_changed {
            // Changes so close that none was judged between them are one.
            if self.before.is_none() || self.after > Observation::SAMPLES_MIN {
                self.before = last;
            }
            // This sample may be older than the change: it belongs to neither side.
            self.after = 0;
        }
        let Some(before) = &self.before else { return Ok(vec![]) };
        if self.after < Observation::SAMPLES_MIN {
            let settings = before.changed_settings(report);
            return Ok(settings
                .iter()
                .map(|one| format!("{}: {} -> {}", one.name, one.before, one.now))
                .collect());
        }
        let mut window = observation.clone();
        window.samples.drain(..window.samples.len().saturating_sub(self.after));
        Ok(Comparison::of(before, &Report::of(&window))?.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many FIN_WAIT_2 without an owner in each of the samples, and the setting that limits them.
    fn seen(orphans: &[u32], fin_timeout: u64, made_at: u64) -> Observation {
        let sample = |count: &u32| {
            format!(
                r#"{{"endpoints":[{{"local":"10.9.0.1","remote":"10.9.0.2:80","states":{{"fin_wait_2_orphan":{count}}}}}]}}"#
            )
        };
        let samples: Vec<_> = orphans.iter().map(sample).collect();
        let settings = format!(r#"{{"net.ipv4.tcp_fin_timeout":{fin_timeout}}}"#);
        let samples = samples.join(",");
        let text = format!(r#"{{"samples":[{samples}],"sysctls":{settings},"made_at":{made_at}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn look(earlier: &mut Earlier, orphans: &[u32], fin_timeout: u64, made_at: u64) -> Vec<String> {
        let observation = seen(orphans, fin_timeout, made_at);
        earlier.look(&observation, &Report::of(&observation)).unwrap()
    }

    const CHANGED: &str = "net.ipv4.tcp_fin_timeout: 60 -> 15";

    #[test]
    fn change_of_a_setting_while_watched_compares_the_windows_before_and_after() {
        let mut earlier = Earlier::default();
        let before = [40, 40, 40];
        assert_eq!(look(&mut earlier, &before, 60, 100), [""; 0]);
        let mut all = before.to_vec();
        for at in 0..3 {
            all.push(40);
            assert_eq!(look(&mut earlier, &all, 15, 101 + at), [CHANGED], "three samples come first");
        }
        all.push(30);
        let early = "FIN_WAIT_2 without an owner: predicted -75 %, observed -25 % (40 -> 30; 10 expected in 60 s): \
                     too early, 5 of 60 s";
        assert_eq!(look(&mut earlier, &all, 15, 105), [CHANGED, early]);
        all.push(10);
        let met = "FIN_WAIT_2 without an owner: predicted -75 %, observed -75 % (40 -> 10; 10 expected in 60 s): \
                   as predicted";
        assert_eq!(look(&mut earlier, &all, 15, 165), [CHANGED, met]);
    }

    #[test]
    fn changes_close_together_are_one_and_a_later_one_begins_anew() {
        let mut earlier = Earlier::default();
        let samples = [40, 40, 40];
        look(&mut earlier, &samples, 60, 100);
        look(&mut earlier, &samples, 30, 101);
        assert_eq!(look(&mut earlier, &samples, 15, 102), [CHANGED]);
        (0..3).for_each(|at| drop(look(&mut earlier, &samples, 15, 103 + at)));
        assert_eq!(look(&mut earlier, &samples, 60, 110), ["net.ipv4.tcp_fin_timeout: 15 -> 60"]);
    }

    #[test]
    fn change_that_is_taken_back_leaves_nothing_to_compare() {
        let mut earlier = Earlier::default();
        let samples = [40, 40, 40];
        look(&mut earlier, &samples, 60, 100);
        assert_eq!(look(&mut earlier, &samples, 15, 101), [CHANGED]);
        assert_eq!(look(&mut earlier, &samples, 60, 102), [""; 0]);
    }

    #[test]
    fn window_after_is_all_that_is_kept_when_the_change_is_long_ago() {
        let mut earlier = Earlier::default();
        look(&mut earlier, &[40, 40, 40], 60, 100);
        // The samples of before have been dropped by now, as after 120 of them.
        let shown = (0..10).map(|at| look(&mut earlier, &[10, 10, 10], 15, 161 + at)).last();
        let shown = shown.expect("ten looks");
        assert_eq!((shown[0].as_str(), shown.len()), (CHANGED, 2));
        assert!(shown[1].contains("(40 -> 10; 10 expected in 60 s): as predicted"), "{shown:?}");
    }

    #[test]
    fn reports_that_cannot_be_compared_are_an_error_rather_than_nothing() {
        let mut other = Report::of(&seen(&[40, 40, 40], 60, 100));
        other.only = Some("10.9.0.2:80".to_owned());
        let now = seen(&[10, 10, 10], 15, 170);
        assert!(Earlier::of(Some(other)).look(&now, &Report::of(&now)).is_err());
    }

    #[test]
    fn file_is_compared_with_at_each_look() {
        let mut earlier = Earlier::of(Some(Report::of(&seen(&[40, 40, 40], 60, 100))));
        let lines = look(&mut earlier, &[10, 10, 10], 15, 170);
        assert_eq!((lines[0].as_str(), lines.len()), (CHANGED, 2));
        assert!(lines[1].ends_with("as predicted"), "{lines:?}");
    }
}
