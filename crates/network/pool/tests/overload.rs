//! More callers than sessions, for long: who is served in time, oldest first and newest first.

mod session;

use std::collections::VecDeque;
use std::time::Duration;

use millstream_pool::{Lent, PoolOptions};
use session::{Manual, Room, Session, session};

const SESSIONS: usize = 10;
/// A session is used for so long: 100 calls a second in all.
const USE_MS: u64 = 100;
/// Whoever has waited for so long goes away.
const PATIENCE_MS: u64 = 2_000;

/// How long those served waited, in the order in which they were served, and how many went away.
struct Outcome {
    waits_ms: Vec<u64>,
    in_vain: usize,
}

/// A caller comes each `every_ms` milliseconds for 20 seconds, on a clock of our own.
fn play(options: PoolOptions, every_ms: u64) -> Outcome {
    let mut room = Room::new(options.shards(1).max_open(SESSIONS));
    let begin = room.now;
    let mut waiters: VecDeque<(u64, Manual)> = VecDeque::new();
    let mut in_use: VecDeque<(u64, Lent<Session>)> = VecDeque::new();
    let mut outcome = Outcome { waits_ms: Vec::new(), in_vain: 0 };
    let all: Vec<_> = (0..SESSIONS).map(|number| room.open(&number.to_string())).collect();
    all.into_iter().for_each(|lent| room.give_back(lent));
    for now in 0..20_000 {
        room.now = begin + Duration::from_millis(now);
        while in_use.front().is_some_and(|(until, _)| *until <= now) {
            let (_, lent) = in_use.pop_front().expect("looked at");
            room.give_back(lent);
        }
        if now % every_ms == 0 {
            waiters.push_back((now, room.checkout()));
        }
        waiters.retain_mut(|(since, waiter)| match waiter.poll() {
            Some(grant) => {
                outcome.waits_ms.push(now - *since);
                in_use.push_back((now + USE_MS, session(grant)));
                false
            }
            None => true,
        });
        let before = waiters.len();
        waiters.retain(|(since, _)| now - *since < PATIENCE_MS);
        outcome.in_vain += before - waiters.len();
    }
    outcome
}

fn median(mut waits: Vec<u64>) -> u64 {
    waits.sort_unstable();
    waits[waits.len() / 2]
}

fn newest_first() -> PoolOptions {
    PoolOptions::default().newest_first_after(Duration::from_millis(PATIENCE_MS / 2))
}

#[test]
fn in_overload_as_many_are_served_and_most_of_them_at_once() {
    // 125 callers a second where 100 can be served.
    let oldest = play(PoolOptions::default(), 8);
    let newest = play(newest_first(), 8);
    let (served, served_before) = (newest.waits_ms.len(), oldest.waits_ms.len());
    assert!(served >= served_before, "{served}, {served_before} oldest first");
    assert!(
        newest.in_vain <= oldest.in_vain + PATIENCE_MS as usize / 8,
        "{} {}",
        newest.in_vain,
        oldest.in_vain
    );
    let half = |outcome: Outcome| median(outcome.waits_ms[served_before / 2..].to_vec());
    let (wait, wait_before) = (half(newest), half(oldest));
    assert!(
        wait_before > PATIENCE_MS * 9 / 10,
        "oldest first all wait as long as they can: {wait_before} ms"
    );
    assert!(wait < PATIENCE_MS / 20, "newest first most go at once: {wait} ms");
}

#[test]
fn without_overload_nothing_changes() {
    let oldest = play(PoolOptions::default(), 11);
    let newest = play(newest_first(), 11);
    assert_eq!((oldest.waits_ms, oldest.in_vain, newest.in_vain), (newest.waits_ms, 0, 0));
}
