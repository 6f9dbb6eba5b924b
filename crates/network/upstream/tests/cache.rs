//! What is remembered, and for how long.

mod script;

use std::time::Duration;

use millstream_base::{Kind, Phase};
use millstream_upstream::{CacheOptions, CacheStats};
use script::{Reply, Stage, failure, ips};

#[test]
fn answer_holds_for_its_time() {
    let stage = Stage::new();
    stage.learn("db", ips("10.0.0.1 ::1", 60));
    stage.pass(59.0);
    assert_eq!(stage.known("db"), "10.0.0.1 ::1 for 1s");
    stage.assert_not_asked();
    stage.pass(1.0);
    let _lookup = stage.lookup("db").waiting();
    assert_eq!(stage.question().host, "db");
}

#[test]
fn time_of_an_answer_is_taken_between_a_second_and_an_hour() {
    let stage = Stage::new();
    stage.learn("short", ips("10.0.0.1", 0));
    stage.learn("long", ips("10.0.0.2", 1_000_000));
    assert_eq!(stage.known("short"), "10.0.0.1 for 1s");
    assert_eq!(stage.known("long"), "10.0.0.2 for 3600s");
}

#[test]
fn endless_times_do_not_overflow() {
    let options = CacheOptions::default().ttl(Duration::ZERO, Duration::MAX).stale(Duration::MAX);
    let stage = Stage::with(options.negative(Duration::MAX));
    stage.learn("a", ips("10.0.0.1", u64::MAX));
    stage.learn("b", failure(Kind::Resolve));
    stage.pass(1e6);
    assert!(stage.known("a").starts_with("10.0.0.1"));
    assert_eq!(stage.known("b"), "Resolve");
}

#[test]
fn failure_holds_for_five_seconds() {
    let stage = Stage::new();
    stage.learn("nowhere", failure(Kind::Resolve));
    stage.pass(4.9);
    assert_eq!(stage.known("nowhere"), "Resolve");
    stage.assert_not_asked();
    stage.pass(0.1);
    stage.learn("nowhere", ips("10.0.0.1", 60));
    assert_eq!(stage.known("nowhere"), "10.0.0.1 for 60s");
}

#[test]
fn name_without_addresses_is_a_failure() {
    let stage = Stage::new();
    stage.learn("empty", ips("", 60));
    assert_eq!(stage.known("empty"), "Resolve");
}

#[test]
fn remembered_failure_says_what_the_first_one_said() {
    let stage = Stage::new();
    let io = std::io::Error::other("server failed");
    let error = millstream_base::Error::new(Kind::Resolve, millstream_base::Origin::Network, "SERVFAIL");
    stage.learn("db", Reply::Now(Err(error.with_source(io))));
    let error = stage.lookup("db").poll().expect("known").expect_err("failed");
    assert_eq!(error.to_string(), "db: SERVFAIL: server failed, in resolve");
    assert_eq!((error.phase(), error.is_retryable()), (Some(Phase::Resolve), true));
}

#[test]
fn question_that_was_given_up_is_not_remembered_as_failed() {
    let stage = Stage::new();
    stage.learn("db", failure(Kind::Cancelled));
    let _lookup = stage.lookup("db").waiting();
    stage.question();
}

#[test]
fn old_answer_is_given_out_when_the_new_one_fails_and_nobody_asks_again_at_once() {
    let stage = Stage::new();
    stage.learn("db", ips("10.0.0.1", 60));
    stage.pass(61.0);
    let mut first = stage.lookup("db").waiting();
    stage.question().reply(failure(Kind::Resolve));
    assert_eq!(first.answered(), "10.0.0.1 for 0ns");
    stage.pass(4.0);
    assert_eq!(stage.known("db"), "10.0.0.1 for 0ns");
    stage.assert_not_asked();
    stage.pass(1.0);
    let _again = stage.lookup("db").waiting();
    stage.question();
}

#[test]
fn old_answer_is_of_no_use_after_half_a_minute() {
    let stage = Stage::new();
    stage.learn("db", ips("10.0.0.1", 60));
    stage.pass(90.0);
    let mut lookup = stage.lookup("db").waiting();
    stage.question().reply(failure(Kind::Timeout));
    assert_eq!(lookup.answered(), "Timeout");
    assert_eq!(stage.known("db"), "Timeout");
}

#[test]
fn name_whose_time_ends_first_makes_room() {
    let stage = Stage::with(CacheOptions::default().max_names(3));
    for (name, ttl) in [("a", 50), ("b", 10), ("c", 30), ("d", 40)] {
        stage.learn(name, ips("10.0.0.1", ttl));
    }
    assert_eq!((stage.cache.stats().names, stage.cache.stats().evicted), (3, 1));
    ["a", "c", "d"].iter().for_each(|name| assert!(stage.cache.lookup(name).is_known()));
    assert!(!stage.cache.lookup("b").is_known());
}

#[test]
fn endless_stream_of_names_keeps_to_the_limit() {
    let stage = Stage::with(CacheOptions::default().max_names(10));
    for number in 0..1000 {
        stage.learn(
            &format!("host{number}"),
            if number % 3 == 0 { failure(Kind::Resolve) } else { ips("10.0.0.1", 60) },
        );
        assert!(stage.cache.stats().names <= 10);
    }
    assert_eq!(stage.cache.stats().asking, 0);
}

#[test]
fn name_learnt_again_takes_no_second_place() {
    let stage = Stage::with(CacheOptions::default().max_names(2));
    stage.learn("a", ips("10.0.0.1", 60));
    for _ in 0..5 {
        stage.pass(200.0);
        stage.learn("b", ips("10.0.0.2", 60));
    }
    assert_eq!((stage.cache.stats().names, stage.cache.stats().evicted), (2, 0));
}

#[test]
fn text_of_an_address_is_not_asked_for() {
    let stage = Stage::new();
    for (text, ip) in [("10.1.2.3", "10.1.2.3"), ("::1", "::1"), ("[2001:db8::1]", "2001:db8::1")] {
        assert_eq!(stage.known(text), format!("{ip} for 3600s"));
    }
    stage.assert_not_asked();
    assert_eq!(stage.cache.stats(), CacheStats::default());
}

#[test]
fn upper_and_lower_case_are_one_name() {
    let stage = Stage::new();
    stage.learn("DB.Example", ips("10.0.0.1", 60));
    assert_eq!(stage.known("db.exAMPLE"), "10.0.0.1 for 60s");
}

#[test]
fn what_cannot_be_a_name_is_not_asked_for() {
    let stage = Stage::new();
    for text in ["", "a b", "a\0b", "a\r\nb", "a\x7f", &"x".repeat(255)] {
        assert_eq!(stage.known(text), "Invalid", "{text:?}");
    }
    stage.assert_not_asked();
}

#[test]
fn forgotten_name_is_asked_for_again() {
    let stage = Stage::new();
    stage.learn("db", ips("10.0.0.1", 60));
    stage.cache.forget("DB");
    stage.learn("db", ips("10.0.0.2", 60));
    assert_eq!(stage.known("db"), "10.0.0.2 for 60s");
}

#[test]
fn flood_of_addresses_is_cut() {
    let stage = Stage::new();
    let flood: Vec<_> = (0..500).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    stage.learn("flood", ips(&flood.join(" "), 60));
    let resolved = stage.lookup("flood").poll().expect("known").expect("addresses");
    assert_eq!(resolved.addresses().len(), 64);
}

#[test]
fn numbers_say_what_happened() {
    let stage = Stage::new();
    stage.learn("a", ips("10.0.0.1", 60));
    stage.learn("b", failure(Kind::Resolve));
    stage.known("a");
    stage.known("b");
    let _asking = stage.lookup("c").waiting();
    let expected =
        CacheStats { names: 2, asking: 1, hits: 2, misses: 3, asked: 3, failed: 1, ..CacheStats::default() };
    assert_eq!(stage.cache.stats(), expected);
}
