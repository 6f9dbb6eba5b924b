//! The caller's end of a computation.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use millstream_base::{Error, Result};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use crate::cell::{Outcome, stopped};
use crate::entry::Entry;
use crate::queue::Shared;
use crate::seat::blocking;

/// A computation under way: a future under any runtime; [`wait`](Self::wait) is for plain threads.
///
/// Dropping it cancels: what has not begun never runs, what runs sees its [`CancelToken`](crate::CancelToken) set and its output
/// dropped.
///
/// # Errors
/// [`Kind::Panic`](millstream_base::Kind::Panic) with the panic's text; [`Kind::Timeout`](millstream_base::Kind::Timeout) past the
/// queue's deadline; [`Kind::Limit`](millstream_base::Kind::Limit) where the queue was full and refuses;
/// [`Kind::Cancelled`](millstream_base::Kind::Cancelled) when the pool ended before.
#[must_use = "dropping it cancels the computation"]
pub struct Computing<T>(State<T>);

/// A place in a queue with a limit, as soon as there is one.
pub(crate) type Place = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

enum State<T> {
    /// It waits for a place in its queue.
    Outside(Place, Arc<Shared>, Entry, Arc<dyn Outcome<T>>),
    Queued(Arc<dyn Outcome<T>>),
    Refused(Option<Error>),
    Ended,
}

impl<T> Computing<T> {
    pub(crate) fn queued(outcome: Arc<dyn Outcome<T>>) -> Self {
        Self(State::Queued(outcome))
    }

    pub(crate) fn refused(error: Error) -> Self {
        Self(State::Refused(Some(error)))
    }

    pub(crate) fn outside(
        place: Place,
        queue: Arc<Shared>,
        entry: Entry,
        outcome: Arc<dyn Outcome<T>>,
    ) -> Self {
        Self(State::Outside(place, queue, entry, outcome))
    }

    /// Blocks the calling thread until it ends. Not for a worker of an engine.
    ///
    /// Another computation may wait so: while it does, a thread that is started for it (some 20 µs) serves in its place, so that a pool
    /// goes on though all its threads wait. It still counts as running in its own queue: one of a serial queue must not wait for a
    /// later one of the same.
    ///
    /// # Errors
    /// As the future; and, the computation cancelled, [`Kind::Limit`](millstream_base::Kind::Limit) when 256 threads of a pool wait
    /// already, [`Kind::Io`](millstream_base::Kind::Io) when no other thread can be started.
    pub fn wait(self) -> Result<T> {
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        let (mut this, mut cx) = (pin!(self), Context::from_waker(&waker));
        if let Poll::Ready(output) = this.as_mut().poll(&mut cx) {
            return output;
        }
        blocking(|| {
            loop {
                thread::park();
                if let Poll::Ready(output) = this.as_mut().poll(&mut cx) {
                    return output;
                }
            }
        })?
    }
}

impl<T> Unpin for Computing<T> {}

impl<T> Future for Computing<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if let State::Outside(place, _, _, outcome) = &mut self.0 {
            if let Poll::Ready(late) = outcome.cell().poll(cx.waker()) {
                self.0 = State::Ended;
                return Poll::Ready(late);
            }
            let Poll::Ready(permit) = place.as_mut().poll(cx) else { return Poll::Pending };
            let State::Outside(_, queue, entry, outcome) = std::mem::replace(&mut self.0, State::Ended)
            else {
                unreachable!("it was looked at just now")
            };
            let Ok(permit) = permit else { return Poll::Ready(Err(stopped())) };
            // Given back when a thread takes the job.
            permit.forget();
            queue.push_or_refuse(entry);
            self.0 = State::Queued(outcome);
        }
        let polled = match &mut self.0 {
            State::Queued(outcome) => outcome.cell().poll(cx.waker()),
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or_else(stopped))),
            State::Outside(..) | State::Ended => {
                panic!("a computation is not to be polled after it has ended")
            }
        };
        if polled.is_ready() {
            self.0 = State::Ended;
        }
        polled
    }
}

impl<T> Drop for Computing<T> {
    fn drop(&mut self) {
        if let State::Queued(outcome) = &self.0 {
            outcome.cell().abandon();
        }
    }
}

impl<T> std::fmt::Debug for Computing<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.0 {
            State::Outside(..) => "waits for a place in its queue",
            State::Queued(_) => "queued",
            State::Refused(_) => "refused",
            State::Ended => "ended",
        };
        write!(f, "Computing({state})")
    }
}

/// Wakes a thread that is parked.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
