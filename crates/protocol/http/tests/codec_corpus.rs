//! The smuggling corpus against the codec: the same verdict however the bytes are split.

mod corpus;

use corpus::drive::{fetch, serve};
use corpus::{Case, Outcome};

#[test]
fn requests_meet_their_verdict_whole() {
    check_whole(corpus::requests(), |case| serve([&case.bytes[..]]));
}

#[test]
fn responses_meet_their_verdict_whole() {
    check_whole(corpus::responses(), |case| fetch(&case.method, [&case.bytes[..]]));
}

#[test]
fn requests_meet_their_verdict_byte_by_byte() {
    check_whole(corpus::requests(), |case| serve(case.bytes.chunks(1)));
}

#[test]
fn responses_meet_their_verdict_byte_by_byte() {
    check_whole(corpus::responses(), |case| fetch(&case.method, case.bytes.chunks(1)));
}

#[test]
fn requests_meet_their_verdict_at_every_split() {
    check_splits(corpus::requests(), |_, pieces| serve(pieces));
}

#[test]
fn responses_meet_their_verdict_at_every_split() {
    check_splits(corpus::responses(), |case, pieces| fetch(&case.method, pieces));
}

#[test]
fn corpus_is_large_enough() {
    assert!(corpus::requests().len() >= 60);
    assert!(corpus::responses().len() >= 25);
}

fn check_whole(cases: Vec<Case>, outcome: impl Fn(&Case) -> Outcome) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|case| (&case.name, outcome(case), &case.expected))
        .filter(|(_, got, expected)| got != *expected)
        .collect();
    assert!(wrong.is_empty(), "(name, got, expected): {wrong:#?}");
}

/// Two pieces, at every byte; long cases at every 97th and near their ends.
fn check_splits(cases: Vec<Case>, outcome: impl Fn(&Case, [&[u8]; 2]) -> Outcome) {
    for case in &cases {
        let len = case.bytes.len();
        for at in (0..len).filter(|at| len < 2_000 || at % 97 == 0 || *at < 40 || *at > len - 40) {
            let (before, behind) = case.bytes.split_at(at);
            assert_eq!(outcome(case, [before, behind]), case.expected, "{} split at {at}", case.name);
        }
    }
}
