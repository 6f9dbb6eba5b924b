//! A report beside an earlier one: predictions met, missed, too early, and those of which nothing can be said.

use crate::golden::GOLDEN;
use crate::traces::{endpoint, healthy, waits};
use millstream_doctor::{Comparison, Measure, Observation, Outcome, Prediction, Report, Side};

const DB: &str = "10.9.0.2:80";
const DB_NAME: &str = "10.9.0.1 -> 10.9.0.2:80";

/// So many TIME_WAIT towards the database, so many seconds after the first report.
fn waiting(count: u32, after_s: u64) -> Report {
    seen(after_s, |all| endpoint(all, Side::Connecting, DB, |_, one| waits(one, count)))
}

fn seen(after_s: u64, disturb: impl FnOnce(&mut Observation)) -> Report {
    let mut all = healthy();
    all.made_at = Some(1_800_000_000 + after_s);
    disturb(&mut all);
    Report::of(&all)
}

/// FIN_WAIT_2 that nobody holds, and the setting that limits them.
fn orphans(count: u32, fin_timeout: u64, after_s: u64) -> Report {
    seen(after_s, |all| {
        all.sysctls.insert("net.ipv4.tcp_fin_timeout".to_owned(), fin_timeout);
        endpoint(all, Side::Connecting, DB, |_, one| {
            (one.states.fin_wait_2_orphan, one.states.established) = (count, 5);
        });
    })
}

fn compared(earlier: &Report, now: &Report) -> Comparison {
    Comparison::of(earlier, now).expect("both are of all endpoints")
}

/// The only prediction of this measure.
fn prediction(of: &Comparison, measure: Measure) -> Prediction {
    let all = of.diagnoses.iter().flat_map(|one| &one.predictions);
    all.into_iter().find(|one| one.effect.measure == measure).expect("it was predicted").clone()
}

#[test]
fn prediction_is_met_missed_or_too_early() {
    let earlier = waiting(9_000, 0);
    // TIME_WAIT now, seconds later, percent observed, what comes of it.
    for (count, after_s, observed, outcome) in [
        (900, 60, -90.0, Outcome::Met),
        (0, 70, -100.0, Outcome::Met),
        // Sooner than predicted is as predicted.
        (900, 10, -90.0, Outcome::Met),
        (4_500, 60, -50.0, Outcome::Missed),
        (18_000, 61, 100.0, Outcome::Missed),
        (4_500, 59, -50.0, Outcome::TooEarly),
    ] {
        let all = compared(&earlier, &waiting(count, after_s));
        let one = prediction(&all, Measure::TimeWait);
        assert_eq!((one.predicted_percent, one.observed_percent), (Some(-100.0), Some(observed)), "{all:?}");
        assert_eq!((one.outcome, one.value, one.applied), (outcome, Some(count.into()), None), "{all:?}");
        assert_eq!((all.elapsed_s, one.time_passed), (Some(after_s), Some(after_s >= 60)));
    }
}

#[test]
fn text_says_predicted_and_observed_with_the_numbers_behind() {
    let mut now = waiting(900, 95);
    let all = compared(&waiting(9_000, 0), &now);
    let line = "TIME_WAIT: predicted -100 %, observed -90 % (9000 -> 900; 0 expected in 60 s): as predicted";
    assert_eq!(
        all.to_text(),
        format!(
            "Since the earlier report, 95 s before:\n  no setting has changed\n  \
             time-wait-connecting at {DB_NAME}: no longer found\n    {line}\n"
        )
    );
    assert_eq!(all.summary(), [line]);
    now.since = Some(all);
    assert!(now.to_text().starts_with("OK: nothing found in 2.0 s\n\nSince the earlier report"));
}

#[test]
fn setting_that_was_made_is_seen_and_others_are_left_out_of_the_text() {
    let earlier = orphans(40, 60, 0);
    let untouched = compared(&earlier, &orphans(40, 60, 90));
    assert_eq!(untouched.settings, []);
    let of_setting = |all: &Comparison| {
        let predictions = all.diagnoses[0].predictions.iter();
        predictions.filter(|one| one.setting.is_some()).map(|one| (one.applied, one.outcome)).next()
    };
    assert_eq!(of_setting(&untouched), Some((Some(false), Outcome::Missed)));
    assert!(!untouched.to_text().contains("predicted -75 %"), "{}", untouched.to_text());

    let made = compared(&earlier, &orphans(11, 15, 90));
    assert_eq!(of_setting(&made), Some((Some(true), Outcome::Met)));
    assert_eq!(made.diagnoses[0].found, Some(true));
    assert_eq!(
        made.summary(),
        [
            "net.ipv4.tcp_fin_timeout: 60 -> 15",
            "FIN_WAIT_2 without an owner: predicted -75 %, observed -73 % (40 -> 11; 10 expected in 60 s): as predicted"
        ]
    );
    // It was set to something else: that is shown, and is not what was proposed.
    let other = compared(&earlier, &orphans(20, 30, 90));
    assert_eq!(of_setting(&other), Some((Some(false), Outcome::Missed)));
    assert!(other.to_text().contains("predicted -75 %, observed -50 %"), "{}", other.to_text());
}

#[test]
fn states_that_stand_among_settings_are_no_settings() {
    let now = seen(5, |all| {
        all.sysctls.insert("fs.file-nr".to_owned(), 2000);
        all.sysctls.insert("net.netfilter.nf_conntrack_count".to_owned(), 2000);
        all.sysctls.remove("net.core.somaxconn");
    });
    assert_eq!(compared(&seen(0, |_| ()), &now).settings, []);
}

#[test]
fn endpoint_that_is_gone_was_not_measured() {
    let all = compared(&waiting(9_000, 0), &seen(90, |_| ()));
    let one = prediction(&all, Measure::TimeWait);
    assert_eq!((one.outcome, one.value, one.observed_percent), (Outcome::NotMeasured, None, None));
    let why = format!("predicted -100 %, not observed: {DB_NAME} has no sockets any more");
    assert!(all.to_text().contains(&why), "{}", all.to_text());
    assert_eq!(all.diagnoses[0].found, Some(false));
}

#[test]
fn new_diagnoses_are_told_and_worse_ones_hide_none() {
    let all = compared(&seen(0, |_| ()), &waiting(9_000, 5));
    assert_eq!((all.diagnoses.len(), all.appeared.len()), (0, 1));
    assert_eq!(all.appeared[0].endpoint.as_deref(), Some(DB_NAME));
    assert!(
        all.to_text().contains(&format!("  new: time-wait-connecting at {DB_NAME}")),
        "{}",
        all.to_text()
    );
    // All ports are taken now, which says the same and more.
    let all = compared(&waiting(9_000, 0), &waiting(28_232, 90));
    assert_eq!((all.diagnoses[0].found, all.appeared[0].rule.as_str()), (Some(true), "ports-exhausted"));
}

#[test]
fn rule_that_could_not_look_leaves_it_open() {
    let now = seen(90, |all| all.ports = None);
    let all = compared(&waiting(9_000, 0), &now);
    assert_eq!(all.diagnoses[0].found, None);
    assert!(all.to_text().contains("not checked (the range of local ports"), "{}", all.to_text());
}

#[test]
fn time_that_is_not_known_or_runs_backwards_is_no_time() {
    let mut early = waiting(9_000, 0);
    let back = compared(&waiting(9_000, 90), &waiting(8_000, 0));
    early.made_at = None;
    for all in [back, compared(&early, &waiting(8_000, 90))] {
        let one = prediction(&all, Measure::TimeWait);
        assert_eq!((all.elapsed_s, one.time_passed, one.outcome), (None, None, Outcome::Unknown));
        assert!(all.to_text().contains("how long ago is not known"), "{}", all.to_text());
    }
}

#[test]
fn reports_of_different_endpoints_are_refused() {
    let mut some = waiting(9_000, 0);
    some.only = Some("10.9.0.3:80".to_owned());
    let error = Comparison::of(&some, &waiting(9_000, 5)).expect_err("they are of different sockets");
    assert!(error.to_string().contains("10.9.0.3:80"), "{error}");
}

#[test]
fn each_effect_can_be_found_in_its_own_report_and_its_words_are_its_numbers() {
    let mut effects = 0;
    for golden in &GOLDEN {
        let report = seen(0, golden.found);
        for remedy in report.diagnoses.iter().flat_map(|one| &one.remedies) {
            let effect = remedy.effect.as_ref();
            assert!(
                effect.is_none_or(|effect| remedy.expected.starts_with(&effect.to_string())),
                "{remedy:?}"
            );
        }
        for one in compared(&report, &report).diagnoses.iter().flat_map(|one| &one.predictions) {
            assert_eq!(one.value, Some(one.effect.from), "{one:?}");
            assert!(one.observed_percent.is_none_or(|percent| percent == 0.0), "{one:?}");
            assert_ne!(one.outcome, Outcome::Met, "{one:?}");
            effects += 1;
        }
    }
    assert!(effects >= 15, "{effects}");
}

#[test]
fn comparison_survives_being_written_and_read() {
    let mut now = orphans(11, 15, 90);
    now.since = Some(compared(&orphans(40, 60, 0), &now));
    assert_eq!(Report::from_json(&now.to_json()).expect("what was written"), now);
}

/// What 0.1.0 wrote before reports had a time, effects and queues; shortened.
const OLD: &str = r#"{"verdict":"warning","diagnoses":[{"rule":"time-wait-connecting","row":4,"severity":"warning",
    "symptom":"s","cause":"c","endpoint":"10.9.0.1 -> 10.9.0.2:80","side":"connecting","evidence":["e"],"remedies":[
    {"kind":"code","text":"reuse","expected":"TIME_WAIT from 9000 to about 0 in 60 s","check":"c"}],"not":["n"]}],
    "not_checked":[],"states":{"time_wait":9000},"endpoints":[{"local":"10.9.0.1","remote":"10.9.0.2:80",
    "side":"connecting","established":0,"time_wait":9000,"close_wait":0,"budget":28232,"used":9000,"time_wait_rate":150.0,
    "seconds_to_exhaustion":null,"processes":[],"unknown":9000}],"host":{"sysctls":{"net.ipv4.tcp_fin_timeout":30},
    "counters":{},"observed_ms":1000},"unseen":[]}"#;

#[test]
fn report_of_an_earlier_version_is_read_and_has_predicted_nothing_in_numbers() {
    let old = Report::from_json(OLD).expect("all that it needs is there");
    let all = compared(&old, &waiting(900, 0));
    assert_eq!(
        (all.elapsed_s, all.diagnoses[0].found, all.diagnoses[0].predictions.len()),
        (None, Some(false), 0)
    );
    assert_eq!((all.settings[0].before, all.settings[0].now), (30, 60));
    assert!(all.to_text().contains("no number was predicted"), "{}", all.to_text());
    // The other way round: what it does not have was not measured, rather than zero.
    let one = prediction(&compared(&orphans(40, 60, 0), &old), Measure::FinWait2Orphan);
    assert_eq!((one.outcome, one.value), (Outcome::NotMeasured, None));
}

#[test]
fn what_is_no_report_is_refused() {
    for bad in
        ["", "{", "[]", "{}", "5", r#"{"verdict":"ok"}"#, r#"{"was":{}}"#, &OLD.replace("warning", "fine")]
    {
        let error = Report::from_json(bad).expect_err(bad);
        assert!(error.to_string().starts_with("this is no report of"), "{error}");
    }
}
