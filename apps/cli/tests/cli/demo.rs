//! `millstream demo time-wait` as people run it: the incident happens, is explained, and is cured.

use crate::program::{Ended, run};

/// The two numbers of a row of the table in the end.
#[track_caller]
fn row(ended: &Ended, name: &str) -> (u32, u32) {
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no row {name}: {}", ended.stdout));
    let mut numbers = line.split_whitespace().map(|word| word.parse().expect("a number"));
    (numbers.next().expect("before"), numbers.next().expect("after"))
}

/// What holds wherever it is played.
#[track_caller]
fn assert_cured(ended: &Ended) {
    assert_eq!(ended.code(), 0, "{}\n{}", ended.stdout, ended.stderr);
    // 45 requests a second for 3 s, where the machine has nothing else to do. Each port serves one of them.
    let [requests, failed] = ["requests", "failed"].map(|name| row(ended, name));
    assert!(requests.0 > 100 && requests.1 > 100, "{}", ended.stdout);
    assert!(failed.0 > 0 && failed.1 == 0, "{}", ended.stdout);
    assert_eq!(row(ended, "of them in TIME_WAIT"), (100, 0), "{}", ended.stdout);
    // A connection for each of the three programs.
    assert_eq!(row(ended, "local ports held"), (100, 3), "{}", ended.stdout);
    // Whose the ports were: of connections this short the doctor may have seen none.
    let names = ["web-shop ", "billing ", "reports ", "unknown "];
    assert!(names.iter().any(|name| ended.stdout.contains(name)), "{}", ended.stdout);
}

#[test]
fn incident_is_explained_and_cured() {
    let ended = run(&["demo", "time-wait", "--for", "3s"]);
    assert_cured(&ended);
    if ended.stderr.contains("it is played on loopback") {
        eprintln!("SKIPPED: the part in a namespace: {}", ended.stderr.trim());
        return;
    }
    assert!(ended.stdout.contains("Cannot assign requested address"), "{}", ended.stdout);
    assert!(ended.stdout.contains("says: critical\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("ports-exhausted: all 100 local ports"), "{}", ended.stdout);
    let last = ended.stdout.lines().last().expect("a table");
    assert!(last.starts_with("doctor") && last.ends_with("ok"), "{last}");
}

#[test]
fn without_a_network_of_its_own_it_happens_on_loopback() {
    let ended = run(&["demo", "time-wait", "--for", "3s", "--on-loopback", "--quiet"]);
    assert_cured(&ended);
    // Mostly "Address already in use"; a connection that the server reset may have come before.
    assert!(ended.stdout.contains("The first error came after"), "{}", ended.stdout);
    // Quiet: no scenes.
    assert!(!ended.stdout.contains("[#"), "{}", ended.stdout);
}

#[test]
fn spans_that_show_nothing_or_take_too_long_are_refused() {
    for span in ["1s", "9s", "x"] {
        let ended = run(&["demo", "time-wait", "--for", span]);
        assert_eq!(ended.code(), 2, "{span}: {}", ended.stdout);
    }
}
