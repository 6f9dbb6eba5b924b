//! What callers do when there is no local port for their destination: they wait, one of them tries.
//!
//! A `connect` without a free port searches the whole range in vain, so only one caller of a client tries at a time, and less
//! often each time (connections.md F11). A port comes free when a connection of the destination ends, when a TIME_WAIT is over, or
//! when another program lets go of one; a connection that a call gives back meanwhile serves as well.

use std::future::poll_fn;
use std::time::Duration;

use millstream_base::Deadline;
use millstream_runtime::{Worker, now};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The turn to try.
pub(crate) struct Pressure {
    turn: Semaphore,
}

/// Whose turn it is to try. Dropping it gives the turn to the next in line.
pub(crate) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    pause: Duration,
}

/// Before the second try; doubled each time. A connection's end is seen that soon.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// No longer than this: ten vain searches of the range a second at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Pressure {
    pub(crate) fn new() -> Self {
        Self { turn: Semaphore::new(1) }
    }

    /// Waits for the turn; `None` when `limit` passes first.
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn turn(&self, home: &Worker, limit: Deadline) -> Option<Turn<'_>> {
        if let Ok(permit) = self.turn.try_acquire() {
            return Some(Turn { _permit: permit, pause: FIRST_PAUSE });
        }
        let permit = until(home, limit, self.turn.acquire()).await?.ok()?;
        // It worked for the one before, or something else went wrong: worth a try at once.
        Some(Turn { _permit: permit, pause: Duration::ZERO })
    }
}

impl Turn<'_> {
    /// Waits before the next try; false when `limit` has passed by then.
    pub(crate) async fn pause(&mut self, home: &Worker, limit: Deadline) -> bool {
        if !self.pause.is_zero() {
            let rest = Deadline::after(now(), self.pause);
            until(home, rest.earlier(limit), std::future::pending::<()>()).await;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        !limit.is_past(now())
    }
}

/// The output, unless the moment comes first. On any runtime: the timer is a worker's.
async fn until<T>(home: &Worker, limit: Deadline, work: impl Future<Output = T>) -> Option<T> {
    let timer = home.wheel().timer();
    timer.arm(limit.moment());
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => timer.poll_expired(cx).map(|()| None),
    })
    .await
}
