//! Whatever the observation: no remedy is ever one that does not act on the cause, or does harm.

use crate::traces::{endpoint, healthy, listener, target};
use millstream_doctor::{Descriptors, Endpoint, Observation, Remedy, Report, Side};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Small, near the thresholds, near the range, and absurd.
fn count() -> impl Strategy<Value = u32> {
    prop_oneof![0..4u32, 0..200u32, 9_000..30_000u32, Just(u32::MAX), Just(0)]
}

fn large() -> impl Strategy<Value = u64> {
    prop_oneof![0..5u64, 0..5000u64, 60_000..300_000u64, Just(u64::MAX), Just(0)]
}

fn disturb(all: &mut Observation, side: Side, remote: &str, counts: &[u32]) {
    endpoint(all, side, remote, |at, one| fill(one, at, counts));
}

fn fill(one: &mut Endpoint, at: usize, counts: &[u32]) {
    let of = |place: usize| counts[(place + at * (counts[15] as usize % 2)) % counts.len()];
    one.states.established = of(0);
    one.states.syn_sent = of(1);
    one.states.fin_wait_2_owned = of(2);
    one.states.fin_wait_2_orphan = of(3);
    one.states.time_wait = of(4);
    one.states.close_wait = of(5);
    one.states.closing = of(6);
    one.held = of(7);
    one.rested = Some(of(3)).filter(|rested| rested % 3 != 0);
    one.expiries = (0..of(8) % 13).map(|step| of(step as usize)).collect();
    one.close_wait_kept = of(9);
    one.half_closed_kept = of(10);
    one.half_closed_ms = of(11).into();
    one.syn_repeated = of(12);
    one.stalled = of(13);
    one.is_loopback = of(14) % 2 == 1;
}

fn observation() -> impl Strategy<Value = Observation> {
    let counts = || proptest::collection::vec(count(), 16);
    (counts(), counts(), counts(), proptest::collection::vec(large(), 40), proptest::bits::u32::ANY).prop_map(
        |(one, two, three, numbers, gone)| {
            let mut all = healthy();
            all.ports = (gone & 1 == 0).then_some(one[15]);
            disturb(&mut all, Side::Connecting, "10.9.0.2:80", &one);
            disturb(&mut all, Side::Connecting, "10.9.0.3:80", &two);
            disturb(&mut all, Side::Listening, "*", &three);
            listener(&mut all, two[0], three[0]);
            for (at, value) in all.sysctls.values_mut().enumerate() {
                *value = numbers[at];
            }
            let names: Vec<_> = all.sysctls.keys().cloned().collect();
            for (at, name) in
                names.iter().enumerate().filter(|(at, _)| gone & (2 << at) != 0 && gone & 0x1_0000 != 0)
            {
                debug_assert!(at < 16);
                all.sysctls.remove(name);
            }
            let last = all.samples.last_mut().expect("three");
            (last.bound, last.ports_used, last.ports_shared) = (two[14], two[13], two[12]);
            for (at, value) in last.counters.values_mut().chain(last.gauges.values_mut()).enumerate() {
                *value = numbers[16 + at];
            }
            target(&mut all, |one| {
                (one.calls, one.opened, one.no_port) = (numbers[26], numbers[27], numbers[28]);
                (one.reused, one.reused_failed, one.fresh) = (numbers[29], numbers[30], numbers[31]);
                (one.fresh_failed, one.evicted_then_missed) = (numbers[32], numbers[33]);
                one.calls_at_peer_close = [(numbers[34], numbers[35]), (numbers[36], numbers[37])].into();
                (one.connect_call_us, one.connect_call_baseline_us) = (Some(numbers[38]), Some(numbers[39]));
                one.idle_ms_at_failure = numbers[..10].to_vec();
                one.connect_ms = numbers[10..20].to_vec();
                one.opens = one_opens(&numbers);
                one.closes.insert("idle".to_owned(), numbers[20]);
            });
            let mut process = Descriptors::default();
            (process.open, process.limit) = (numbers[21], numbers[22]);
            all.descriptors.push(process);
            all
        },
    )
}

fn one_opens(numbers: &[u64]) -> Vec<u32> {
    numbers.iter().cycle().take(120).map(|&count| count.min(1 << 20) as u32).collect()
}

/// What is never right, whatever was seen.
fn check(remedy: &Remedy, row: u8) -> Result<(), String> {
    let proposes = |what: &str| remedy.text.contains(what);
    let setting = remedy.setting.as_ref();
    let is = |name: &str| setting.is_some_and(|setting| setting.name.ends_with(name));
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    if row != 9 && (proposes("tcp_fin_timeout") || is("tcp_fin_timeout")) {
        return Err(format!("row {row} proposes tcp_fin_timeout"));
    }
    if proposes("tcp_tw_recycle") || is("tcp_tw_recycle") {
        return Err(format!("row {row} proposes tcp_tw_recycle"));
    }
    if proposes("tcp_timestamps") || is("tcp_timestamps") {
        return Err(format!("row {row} touches timestamps"));
    }
    if is("tcp_max_tw_buckets") || proposes("tcp_max_tw_buckets") {
        let setting = setting.ok_or("a text about tcp_max_tw_buckets without a setting")?;
        let now = setting.now.as_deref().ok_or("without the value now")?;
        if number(&setting.proposed)? < number(now)? {
            return Err(format!("row {row} lowers tcp_max_tw_buckets: {setting:?}"));
        }
    }
    if is("tcp_rfc1337") || is("tcp_tw_reuse") && setting.is_some_and(|setting| setting.proposed != "1") {
        return Err(format!("row {row} proposes {setting:?}"));
    }
    Ok(())
}

#[test]
fn no_observation_leads_to_wrong_advice() {
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let rows = std::cell::RefCell::new([0u32; 23]);
    let outcome = runner.run(&observation(), |all| {
        let report = Report::of(&all);
        for one in &report.diagnoses {
            rows.borrow_mut()[usize::from(one.row)] += 1;
            for remedy in &one.remedies {
                check(remedy, one.row).map_err(TestCaseError::fail)?;
            }
        }
        prop_assert!(!report.to_text().is_empty() && !report.to_json().is_empty());
        Ok(())
    });
    outcome.unwrap();
    // It would prove nothing if the rules had stayed silent.
    let rows = rows.into_inner();
    let silent: Vec<_> = (1..23).filter(|&row| rows[row] == 0 && row != 19).collect();
    assert_eq!(silent, [0usize; 0], "{rows:?}");
}
