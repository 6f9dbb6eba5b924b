//! The future that ends with a session, or with a place to open one in.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use millstream_base::Error;

use crate::queue::Ticket;
use crate::{Bucket, Lent, Permit, Pooled};

/// What a checkout ends with.
pub enum Grant<S: Pooled> {
    /// A session that was there.
    Session(Lent<S>),
    /// None was there, but there may be one more: open it and [`fill`](Permit::fill) the place.
    Dial(Permit<S>),
}

/// The future of [`Bucket::checkout`]. Nothing happens before it is polled; dropping it at any time is harmless.
#[must_use = "futures do nothing unless polled"]
pub struct Checkout<S: Pooled> {
    bucket: Arc<Bucket<S>>,
    shard: usize,
    now: Instant,
    state: State,
}

enum State {
    Fresh,
    Waiting(Ticket),
    Done,
}

impl<S: Pooled> Checkout<S> {
    pub(crate) fn new(bucket: Arc<Bucket<S>>, shard: usize, now: Instant) -> Self {
        Self { bucket, shard, now, state: State::Fresh }
    }

    /// Is it in the queue, or has it been served without having been polled since?
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    fn poll_fresh(&mut self, cx: &Context<'_>) -> Poll<Result<Grant<S>, Error>> {
        if let Some(grant) = self.bucket.begin(self.shard, self.now) {
            return Poll::Ready(Ok(grant));
        }
        match self.bucket.join(cx.waker().clone(), self.shard, self.now) {
            Err(error) => Poll::Ready(Err(error)),
            Ok((ticket, was_served)) => {
                self.state = State::Waiting(ticket);
                if was_served { self.poll_waiting(cx) } else { Poll::Pending }
            }
        }
    }

    fn poll_waiting(&self, cx: &Context<'_>) -> Poll<Result<Grant<S>, Error>> {
        let State::Waiting(ticket) = &self.state else { return Poll::Pending };
        self.bucket.poll_ticket(ticket, cx.waker(), self.shard, self.now)
    }
}

impl<S: Pooled> Future for Checkout<S> {
    type Output = Result<Grant<S>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = match self.state {
            State::Fresh => self.poll_fresh(cx),
            State::Waiting(_) => self.poll_waiting(cx),
            State::Done => panic!("a checkout is not to be polled after it has ended"),
        };
        if poll.is_ready() {
            self.state = State::Done;
        }
        poll
    }
}

impl<S: Pooled> Drop for Checkout<S> {
    fn drop(&mut self) {
        if let State::Waiting(ticket) = std::mem::replace(&mut self.state, State::Done) {
            self.bucket.leave(ticket, self.shard);
        }
    }
}

impl<S: Pooled> fmt::Debug for Grant<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(lent) => f.debug_tuple("Session").field(lent).finish(),
            Self::Dial(_) => f.write_str("Dial"),
        }
    }
}

impl<S: Pooled> fmt::Debug for Checkout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout").field("is_waiting", &self.is_waiting()).finish_non_exhaustive()
    }
}
