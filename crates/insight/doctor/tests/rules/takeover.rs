//! Row 1 where `connect` takes ports over from TIME_WAIT: which ports count as lost, and what the evidence says.

use crate::traces::{PORTS, endpoint, healthy, takes_over, waits};
use millstream_doctor::{Endpoint, Observation, Report, Severity, Side};

/// A host whose TIME_WAIT are counted by age; `fill` says which.
fn seen(setting: (u64, u64), recycled: u64, fill: impl Fn(&mut Endpoint)) -> Report {
    let mut all = healthy();
    let (reuse, delay_ms) = setting;
    takes_over(&mut all, delay_ms, recycled);
    all.sysctls.insert("net.ipv4.tcp_tw_reuse".to_owned(), reuse);
    endpoint(&mut all, Side::Connecting, "10.9.0.2:80", |_, one| fill(one));
    Report::of(&all)
}

/// All ports in TIME_WAIT, all but so many of them old.
fn full(young: u32) -> impl Fn(&mut Endpoint) {
    move |one| {
        waits(one, PORTS);
        one.rested = Some(PORTS - young);
    }
}

fn worst(report: &Report) -> Option<(u8, Severity)> {
    report.diagnoses.first().map(|one| (one.row, one.severity))
}

/// The line about what is taken over.
fn evidence(report: &Report) -> &str {
    let lines = &report.diagnoses[0].evidence;
    lines.iter().find(|line| line.contains("in TIME_WAIT for more than")).expect("it is told")
}

#[test]
fn ports_that_are_taken_over_are_not_lost() {
    let cured = seen((1, 1000), 140, full(400));
    assert_eq!(
        (worst(&cured), cured.endpoints[0].used, cured.endpoints[0].takeable),
        (None, PORTS, Some(27_832))
    );
    assert_eq!(cured.endpoints[0].seconds_to_exhaustion, None, "{}", cured.to_text());
    assert!(cured.to_text().contains("27832 may be taken over"), "{}", cured.to_text());
}

#[test]
fn reuse_must_be_on_for_this_destination_and_timestamps_with_it() {
    let critical = Some((1, Severity::Critical));
    let is_off = |report: &Report| {
        assert_eq!((worst(report), report.endpoints[0].takeable), (critical, None), "{}", report.to_text());
        assert_eq!(report.endpoints[0].seconds_to_exhaustion, Some(0));
    };
    is_off(&seen((0, 1000), 140, full(400)));
    // The default acts on loopback, and these are not.
    is_off(&seen((2, 1000), 140, full(400)));
    let on_loopback = |one: &mut Endpoint| {
        full(400)(one);
        one.is_loopback = true;
    };
    // The peer is this host, whose timestamps are on: nobody has to connect to show it.
    assert_eq!(worst(&seen((2, 1000), 0, on_loopback)), None);
    let mut all = healthy();
    takes_over(&mut all, 1000, 140);
    all.sysctls.insert("net.ipv4.tcp_timestamps".to_owned(), 0);
    endpoint(&mut all, Side::Connecting, "10.9.0.2:80", |_, one| full(400)(one));
    is_off(&Report::of(&all));
}

#[test]
fn young_time_wait_and_open_connections_are_lost_and_the_evidence_tells_the_others() {
    let fast = seen((1, 1000), 140, full(28_000));
    assert_eq!(worst(&fast), Some((1, Severity::Critical)), "{}", fast.to_text());
    assert!(fast.diagnoses[0].cause.contains("each rests for 1000 ms before"), "{}", fast.to_text());
    assert_eq!(
        evidence(&fast),
        "232 ports have been in TIME_WAIT for more than 1000 ms: connect() takes them over (TWRecycled: 140 in 2.0 s)"
    );
    // What is set already is not proposed again.
    assert_eq!(fast.changes(), []);

    let open = seen((1, 1000), 140, |one| {
        (one.states.established, one.states.time_wait) = (28_000, 232);
        (one.held, one.rested) = (PORTS, Some(232));
    });
    assert_eq!(worst(&open), Some((1, Severity::Critical)), "{}", open.to_text());
    assert!(open.diagnoses[0].cause.contains("more connections are open at once"), "{}", open.to_text());
    assert!(evidence(&open).starts_with("232 ports"), "{}", open.to_text());
}

#[test]
fn what_nobody_was_seen_to_take_over_is_a_warning_that_says_so() {
    let quiet = seen((1, 1000), 0, full(400));
    assert_eq!(worst(&quiet), Some((1, Severity::Warning)), "{}", quiet.to_text());
    assert!(quiet.diagnoses[0].cause.contains("not shown that it can"), "{}", quiet.to_text());
    assert_eq!(
        evidence(&quiet),
        "27832 ports have been in TIME_WAIT for more than 1000 ms: connect() may take them over, but did not in 2.0 s: \
         nobody connected, or the peers send no timestamps, or the ports were bound"
    );
}

#[test]
fn observation_without_ages_is_estimated_and_says_so() {
    // 28,232 evenly old: 2,352 within each 5 s.
    for (delay_ms, takeable) in [(1000, 27_761), (10_000, 23_528), (60_000, 8)] {
        let report = seen((1, delay_ms), 140, |one| waits(one, PORTS));
        assert_eq!(report.endpoints[0].takeable, Some(takeable), "{delay_ms} ms");
    }
    let report = seen((1, 59_500), 140, |one| {
        waits(one, PORTS);
        one.expiries.clear();
    });
    let line = evidence(&report);
    assert!(line.starts_with("235 ports") && line.contains("59500 ms (estimated:"), "{line}");
    // What an earlier version kept has none.
    let old: Observation =
        serde_json::from_str(r#"{"samples":[{"endpoints":[{"held":3}]}]}"#).expect("an old one");
    assert_eq!(old.samples[0].endpoints[0].rested, None);
}

#[test]
fn forecast_follows_the_delay_where_ports_are_taken_over() {
    // 20,000 closed in the last five seconds: what rests settles at rate times delay.
    let of = |delay_ms, young: u32| {
        let report = seen((1, delay_ms), 140, |one| {
            waits(one, 24_000);
            one.expiries[11] = 20_000;
            one.rested = Some(24_000 - young);
        });
        report.endpoints[0].seconds_to_exhaustion
    };
    assert_eq!(of(1000, 4_000), None);
    // 4,000 a second for 10 s are more than there are ports: 28,132 are free, and 3,990 more are lost each second.
    assert_eq!(of(10_000, 100), Some(8));
}
