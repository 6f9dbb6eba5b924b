//! For each row of the table: an observation that it is about, and one that only looks like it.

use crate::traces::{PORTS, endpoint, grow, healthy, last, listener, takes_over, target, waits};
use millstream_doctor::{Descriptors, Observation, Report, Side};

const DB: &str = "10.9.0.2:80";

/// Row, what disturbs a healthy host so that this row and no other speaks, and what is just not enough for it.
pub(crate) struct Golden {
    row: u8,
    pub(crate) found: fn(&mut Observation),
    near: fn(&mut Observation),
}

pub(crate) const GOLDEN: [Golden; 25] = [
    Golden {
        row: 1,
        found: |all| endpoint(all, Side::Connecting, DB, |_, one| waits(one, PORTS)),
        // As many, but on the listening side.
        near: |all| {
            endpoint(all, Side::Listening, "*", |_, one| {
                waits(one, 900);
                one.held = 0;
            });
        },
    },
    Golden {
        row: 1,
        // All ports, most of them younger than the delay; then a tenth of them is.
        found: |all| resting(all, PORTS, 500, 140),
        near: |all| resting(all, PORTS, 25_000, 140),
    },
    Golden {
        row: 1,
        // Nothing shows that the peer sends the timestamps which taking over needs; a tenth of the ports is few in any case.
        found: |all| resting(all, PORTS, 28_000, 0),
        near: |all| resting(all, PORTS / 10, 2_000, 0),
    },
    Golden { row: 2, found: |all| slow_connect(all, 15_000), near: |all| slow_connect(all, 5_000) },
    Golden { row: 3, found: |all| last(all).bound = 20_000, near: |all| last(all).bound = 200 },
    Golden {
        row: 4,
        found: |all| endpoint(all, Side::Connecting, DB, |_, one| waits(one, 9_000)),
        near: |all| endpoint(all, Side::Connecting, DB, |_, one| waits(one, 3_000)),
    },
    Golden {
        row: 4,
        found: |all| resting(all, 20_000, 10_000, 140),
        near: |all| resting(all, 20_000, 19_000, 140),
    },
    Golden {
        row: 5,
        found: |all| endpoint(all, Side::Listening, "*", |_, one| waits(one, 30_000)),
        near: |all| endpoint(all, Side::Listening, "*", |_, one| waits(one, 600)),
    },
    Golden {
        row: 6,
        found: |all| grow(all, "TCPTimeWaitOverflow", 40),
        near: |all| {
            last(all).gauges.insert("TCP.tw".to_owned(), 90_000);
        },
    },
    Golden {
        row: 7,
        found: |all| endpoint(all, Side::Connecting, DB, |at, one| one.states.close_wait = 5 + 5 * at as u32),
        near: |all| endpoint(all, Side::Connecting, DB, |_, one| one.states.close_wait = 15),
    },
    Golden { row: 8, found: |all| half_closed(all, 30), near: |all| half_closed(all, 2) },
    Golden {
        row: 9,
        found: |all| endpoint(all, Side::Connecting, DB, |_, one| one.states.fin_wait_2_orphan = 40),
        // They come and go.
        near: |all| {
            endpoint(all, Side::Connecting, DB, |at, one| one.states.fin_wait_2_orphan = 20 * at as u32)
        },
    },
    Golden {
        row: 10,
        found: |all| {
            last(all).gauges.insert("TCP.orphan".to_owned(), 100_000);
        },
        near: |all| {
            last(all).gauges.insert("TCP.orphan".to_owned(), 10_000);
        },
    },
    Golden {
        row: 11,
        found: |all| {
            listener(all, 129, 128);
            grow(all, "ListenOverflows", 12);
            grow(all, "TCPSynRetrans", 12);
        },
        near: |all| listener(all, 40, 128),
    },
    Golden { row: 12, found: |all| grow(all, "TCPSynRetrans", 9), near: |all| grow(all, "TCPSynRetrans", 2) },
    Golden {
        row: 13,
        found: |all| grow(all, "TCPAbortOnClose", 9),
        near: |all| grow(all, "TCPAbortOnClose", 2),
    },
    Golden { row: 14, found: |all| race(all, 0), near: |all| race(all, 40) },
    Golden { row: 15, found: |all| reuse(all, 400), near: |all| reuse(all, 4) },
    Golden { row: 16, found: |all| max_requests(all, 20), near: |all| max_requests(all, 2) },
    Golden { row: 17, found: |all| tracked(all, 250_000), near: |all| tracked(all, 200_000) },
    Golden { row: 18, found: |all| nat(all, true), near: |all| nat(all, false) },
    Golden {
        row: 19,
        found: |all| {
            all.engine.as_mut().expect("there").listen_refused = Some(vec!["10.9.0.1:80".to_owned()])
        },
        near: |all| listener(all, 0, 128),
    },
    Golden { row: 20, found: |all| bursts(all, |at| at % 30 == 0), near: |all| bursts(all, |_| true) },
    Golden { row: 21, found: |all| descriptors(all, 1020), near: |all| descriptors(all, 700) },
    Golden {
        row: 22,
        found: |all| {
            endpoint(all, Side::Connecting, DB, |_, one| {
                (one.states.established, one.stalled) = (20, 4);
            });
        },
        near: |all| endpoint(all, Side::Connecting, DB, |_, one| one.states.established = 20),
    },
];

/// So many TIME_WAIT, so many of them old enough to be taken over, which so many were.
fn resting(all: &mut Observation, count: u32, rested: u32, recycled: u64) {
    takes_over(all, 1000, recycled);
    endpoint(all, Side::Connecting, DB, |_, one| {
        waits(one, count);
        one.rested = Some(rested);
    });
}

fn slow_connect(all: &mut Observation, held: u32) {
    endpoint(all, Side::Connecting, DB, |_, one| (one.states.established, one.held) = (held, held));
    target(all, |one| (one.connect_call_us, one.connect_call_baseline_us) = (Some(1490), Some(12)));
}

fn half_closed(all: &mut Observation, count: u32) {
    endpoint(all, Side::Listening, "*", |_, one| {
        (one.states.fin_wait_2_owned, one.half_closed_kept, one.half_closed_ms) = (count, count, 5_000);
    });
}

fn race(all: &mut Observation, fresh_failed: u64) {
    target(all, |one| {
        (one.reused, one.reused_failed, one.fresh, one.fresh_failed) = (1000, 40, 1000, fresh_failed);
        one.idle_ms_at_failure = (0..40).map(|at| 5_000 + at).collect();
    });
}

fn reuse(all: &mut Observation, opened: u64) {
    target(all, |one| (one.calls, one.opened, one.evicted_then_missed) = (1000, opened, 300));
}

fn max_requests(all: &mut Observation, same: u64) {
    target(all, |one| one.calls_at_peer_close = [(1000, same), (3, 2), (7, 2)].into());
}

fn tracked(all: &mut Observation, count: u64) {
    all.sysctls.insert("net.netfilter.nf_conntrack_count".to_owned(), count);
}

fn nat(all: &mut Observation, others_answer: bool) {
    endpoint(all, Side::Connecting, DB, |_, one| {
        (one.states.syn_sent, one.syn_repeated, one.states.established, one.held) = (8, 8, 90, 98);
    });
    endpoint(all, Side::Connecting, "10.9.0.3:80", |_, one| {
        one.states.established = if others_answer { 50 } else { 0 };
    });
    if others_answer {
        grow(all, "TCPSynRetrans", 8);
    }
}

fn bursts(all: &mut Observation, is_burst: fn(usize) -> bool) {
    target(all, |one| {
        one.opens = (0..150).map(|at| if is_burst(at) { 64 } else { 0 }).collect();
        one.closes.insert("idle_expired".to_owned(), 320);
    });
}

fn descriptors(all: &mut Observation, open: u64) {
    let mut one = Descriptors::default();
    (one.pid, one.name, one.open, one.limit) = (7, "server".to_owned(), open, 1024);
    all.descriptors.push(one);
}

fn rows(all: &Observation) -> Vec<u8> {
    Report::of(all).diagnoses.iter().map(|one| one.row).collect()
}

#[test]
fn healthy_host_has_no_diagnosis_and_all_is_checked() {
    let report = Report::of(&healthy());
    assert_eq!((report.diagnoses, report.not_checked), (vec![], vec![]));
}

#[test]
fn each_row_is_found_alone() {
    for golden in &GOLDEN {
        let mut all = healthy();
        (golden.found)(&mut all);
        assert_eq!(rows(&all), [golden.row], "{}", Report::of(&all).to_text());
    }
}

#[test]
fn near_misses_are_not_found() {
    for golden in &GOLDEN {
        let mut all = healthy();
        (golden.near)(&mut all);
        assert_eq!(rows(&all), [0u8; 0], "near {}: {}", golden.row, Report::of(&all).to_text());
    }
}

#[test]
fn each_diagnosis_is_whole() {
    for golden in &GOLDEN {
        let mut all = healthy();
        (golden.found)(&mut all);
        for one in Report::of(&all).diagnoses {
            assert!(!one.cause.is_empty() && !one.evidence.is_empty() && !one.not.is_empty(), "{one:#?}");
            assert!(
                !one.remedies.is_empty() && one.remedies.is_sorted_by_key(|remedy| remedy.kind),
                "{one:#?}"
            );
            for remedy in one.remedies {
                assert!(!remedy.expected.is_empty() && !remedy.check.is_empty(), "{remedy:?}");
            }
        }
    }
}

#[test]
fn two_samples_are_no_ground_for_a_diagnosis() {
    let mut all = healthy();
    (GOLDEN[0].found)(&mut all);
    all.samples.remove(0);
    let report = Report::of(&all);
    assert_eq!((report.diagnoses.len(), report.not_checked.len()), (0, 22));
}

#[test]
fn missing_facts_are_named() {
    let mut all = healthy();
    all.engine = None;
    all.sysctls.clear();
    all.ports = None;
    let report = Report::of(&all);
    let why = |rule: &str| report.not_checked.iter().find(|one| one.rule == rule).map(|one| one.why.as_str());
    assert_eq!(why("keep-alive-race"), Some("only an engine knows, and none was asked"));
    assert_eq!(why("ports-exhausted"), Some("the range of local ports could not be read"));
    assert_eq!(why("conntrack"), Some("nf_conntrack is not loaded, or could not be read"));
}

#[test]
fn observations_survive_being_written_and_read() {
    for golden in &GOLDEN {
        let mut all = healthy();
        (golden.found)(&mut all);
        let text = serde_json::to_string(&all).expect("plain data");
        assert_eq!(serde_json::from_str::<Observation>(&text).expect("what was written"), all);
        let report = Report::of(&all);
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("what was written"), report);
    }
}
