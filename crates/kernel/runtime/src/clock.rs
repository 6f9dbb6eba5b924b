//! The clock of deadlines, read once a turn.
//!
//! Reading the clock takes 20 to 30 ns, several times what a request's bookkeeping needs. A worker runs all tasks that one
//! look at its sockets made ready and then looks again: that is a turn. Deadlines of seconds need no finer clock.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn { now: None, left: 0, is_worker: false }) };
}

/// The present turn of this thread.
#[derive(Clone, Copy)]
struct Turn {
    now: Option<Instant>,
    /// How often the moment may still be given before the clock is read again.
    left: u32,
    is_worker: bool,
}

/// A moment is given at most this often: a turn that never ends (tasks that keep waking each other) must not stop the
/// clock.
const MOST_USES: u32 = 64;

/// [`std::time::Instant::now`], and tokio's paused time in tests.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A moment of the present turn of this worker: never later than now, and earlier by a turn at most (well under a
/// millisecond, unless somebody blocks the worker). Outside a worker it is [`now`].
#[inline]
pub fn turn_now() -> Instant {
    TURN.with(|cell| {
        let mut turn = cell.get();
        match turn.now {
            Some(moment) if turn.left > 0 => {
                turn.left -= 1;
                cell.set(turn);
                moment
            }
            _ => refresh(cell),
        }
    })
}

/// Reads the clock, and has [`turn_now`] give this moment from here on.
#[inline]
pub fn fresh_now() -> Instant {
    TURN.with(refresh)
}

fn refresh(cell: &Cell<Turn>) -> Instant {
    let moment = now();
    let turn = cell.get();
    if turn.is_worker {
        cell.set(Turn { now: Some(moment), left: MOST_USES, ..turn });
    }
    moment
}

/// Microseconds from a moment of the process's beginning that is the same for all threads until `moment`, rounded down; 0
/// for what came before. The moment asked for last is remembered: within a turn it is nearly always the same.
#[inline]
pub fn micros_of(moment: Instant) -> u64 {
    thread_local! {
        static LAST: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
    }
    match LAST.get() {
        Some((known, micros)) if known == moment => micros,
        _ => {
            let since = moment.saturating_duration_since(origin());
            let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            LAST.set(Some((moment, micros)));
            micros
        }
    }
}

/// The moment that [`micros_of`] these microseconds gives, to a microsecond.
pub fn moment_of(micros: u64) -> Instant {
    origin() + Duration::from_micros(micros)
}

/// Asked for by the first engine or connection, so nothing of theirs comes before.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| now().checked_sub(Duration::from_secs(1)).unwrap_or_else(now))
}

/// This thread is a worker from here on: its turns are announced with [`begin_turn`].
pub(crate) fn enter_worker() {
    TURN.set(Turn { now: None, left: 0, is_worker: true });
}

/// The worker has looked at its sockets.
#[inline]
pub(crate) fn begin_turn() {
    TURN.set(Turn { now: None, ..TURN.get() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micros_and_moments_are_each_others_inverse() {
        let moment = now();
        let micros = micros_of(moment);
        assert_eq!(micros_of(moment), micros);
        assert_eq!(micros_of(moment + Duration::from_micros(7)), micros + 7);
        assert_eq!(micros_of(moment_of(micros)), micros);
        assert!(moment - moment_of(micros) < Duration::from_micros(1));
    }

    #[test]
    fn outside_a_worker_every_moment_is_fresh() {
        let first = turn_now();
        while now() == first {}
        assert!(turn_now() > first);
    }

    #[test]
    fn in_a_turn_the_clock_stands_and_moves_on_with_the_next() {
        std::thread::spawn(|| {
            enter_worker();
            let first = turn_now();
            while now() == first {}
            assert_eq!(turn_now(), first);
            begin_turn();
            assert!(turn_now() > first);
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn endless_turn_does_not_stop_the_clock() {
        std::thread::spawn(|| {
            enter_worker();
            let first = turn_now();
            while now() == first {}
            let moved = (0..=MOST_USES).any(|_| turn_now() > first);
            assert!(moved);
        })
        .join()
        .expect("no panic");
    }
}
