//! The clock of deadlines, read once a turn.
//!
//! Reading the clock takes 20 to 30 ns, several times what a request's bookkeeping needs. A worker runs all tasks that one
//! look at its sockets made ready and then looks again: that is a turn. Deadlines of seconds need no finer clock.

use std::cell::Cell;
use std::time::Instant;

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
