//! The comparison for people.

use super::{Comparison, Followed, Outcome, Prediction};
use crate::effect::{Measure, number};

impl Comparison {
    /// The comparison as text, some lines for each diagnosis of the earlier report.
    pub fn to_text(&self) -> String {
        let mut lines = vec![match self.elapsed_s {
            Some(seconds) => format!("Since the earlier report, {seconds} s before:"),
            None => "Since the earlier report (how long ago is not known):".to_owned(),
        }];
        let settings = self.setting_lines();
        if settings.is_empty() {
            lines.push("  no setting has changed".to_owned());
        }
        lines.extend(settings.into_iter().map(|line| format!("  {line}")));
        for one in &self.diagnoses {
            lines.push(format!("  {}: {}", place(&one.rule, one.endpoint.as_deref()), found(one)));
            let shown = self.shown(one);
            lines.extend(shown.into_iter().map(|one| format!("    {}", self.line(one))));
            if one.predictions.is_empty() {
                lines.push("    no number was predicted".to_owned());
            }
        }
        for one in &self.appeared {
            lines.push(format!("  new: {}", place(&one.rule, one.endpoint.as_deref())));
        }
        lines.join("\n") + "\n"
    }

    /// The shortest form: which settings have changed, and what came of that. At most one line for a setting and one for a
    /// prediction.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = self.setting_lines();
        let all = || self.diagnoses.iter().flat_map(|one| self.shown(one));
        let of_settings = || all().filter(|one| one.applied.is_some());
        // Where a setting was changed that nothing was predicted of, the rest is all there is.
        let chosen: Vec<_> =
            if of_settings().next().is_some() { of_settings().collect() } else { all().collect() };
        if chosen.is_empty() {
            lines.push("nothing was predicted in numbers".to_owned());
        }
        lines.extend(chosen.into_iter().map(|one| self.line(one)));
        lines
    }

    fn setting_lines(&self) -> Vec<String> {
        self.settings.iter().map(|one| format!("{}: {} -> {}", one.name, one.before, one.now)).collect()
    }

    /// Each effect once, and none of a setting that is as it was.
    fn shown<'a>(&self, of: &'a Followed) -> Vec<&'a Prediction> {
        let mut shown = Vec::<&Prediction>::new();
        for one in &of.predictions {
            let is_changed =
                one.setting.as_ref().is_some_and(|name| self.settings.iter().any(|it| it.name == *name));
            let is_idle = one.applied == Some(false) && !is_changed;
            if !is_idle && !shown.iter().any(|other| other.effect == one.effect) {
                shown.push(one);
            }
        }
        shown
    }

    fn line(&self, one: &Prediction) -> String {
        let effect = &one.effect;
        let what = effect.measure.words();
        let Some(value) = one.value else {
            let why = one.not_measured.as_deref().unwrap_or("it is not known why");
            return format!("{what}: predicted {}, not observed: {why}", percent(one.predicted_percent));
        };
        let seen = if effect.measure == Measure::ConnectLimit { "calculated" } else { "observed" };
        let within = if effect.within_s > 0 { format!(" in {} s", effect.within_s) } else { String::new() };
        format!(
            "{what}: predicted {}, {seen} {} ({} -> {}; {} expected{within}): {}",
            percent(one.predicted_percent),
            percent(one.observed_percent),
            number(effect.from),
            number(value),
            number(effect.to),
            self.judged(one)
        )
    }

    fn judged(&self, one: &Prediction) -> String {
        match one.outcome {
            Outcome::Met => "as predicted".to_owned(),
            Outcome::Missed if one.applied == Some(true) => "not as predicted".to_owned(),
            Outcome::Missed => "not as predicted, or not done".to_owned(),
            Outcome::TooEarly => {
                format!("too early, {} of {} s", self.elapsed_s.unwrap_or(0), one.effect.within_s)
            }
            Outcome::Unknown | Outcome::NotMeasured => "nothing can be said".to_owned(),
        }
    }
}

fn place(rule: &str, endpoint: Option<&str>) -> String {
    endpoint.map_or_else(|| rule.to_owned(), |endpoint| format!("{rule} at {endpoint}"))
}

fn found(one: &Followed) -> String {
    match (one.found, &one.not_checked) {
        (Some(true), _) => "still found".to_owned(),
        (Some(false), _) => "no longer found".to_owned(),
        (None, Some(why)) => format!("not checked ({why})"),
        (None, None) => "not checked".to_owned(),
    }
}

/// `-92 %`.
fn percent(value: Option<f64>) -> String {
    match value.map(f64::round) {
        Some(0.0) => "0 %".to_owned(),
        Some(value) => format!("{value:+.0} %"),
        None => "a change from 0".to_owned(),
    }
}
