//! The callers that wait: joining, being served, leaving. The rules stand in [`bucket`](super).

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use millstream_base::Error;

use super::Bucket;
use crate::lent::{Entry, Permit};
use crate::queue::{Look, Offer, State, Ticket};
use crate::sync::{Ordering::Relaxed, Ordering::SeqCst, fence, lock};
use crate::{Grant, Pooled, refusal};

impl<S: Pooled> Bucket<S> {
    /// Joins the queue. The second value says whether somebody, perhaps this caller, was served meanwhile.
    pub(crate) fn join(
        self: &Arc<Self>,
        waker: Waker,
        shard: usize,
        now: Instant,
    ) -> Result<(Ticket, bool), Error> {
        let ticket = {
            let mut queue = lock(&self.queue.0);
            if queue.is_closed() {
                return Err(refusal::closed());
            }
            if queue.used() >= self.shared.options.max_waiters {
                return Err(refusal::too_many_waiters(self.shared.options.max_waiters));
            }
            let ticket = queue.join(waker, now);
            self.waiting.store(queue.waiting(), Relaxed);
            ticket
        };
        Ok((ticket, self.serve_if_waiting(shard, Some(now))))
    }

    /// What has become of a ticket; once ready it is used up.
    pub(crate) fn poll_ticket(
        self: &Arc<Self>,
        ticket: &Ticket,
        waker: &Waker,
        shard: usize,
        now: Instant,
    ) -> Poll<Result<Grant<S>, Error>> {
        let mut look = lock(&self.queue.0).look(ticket, waker);
        if let Look::WakerChanged = look {
            look = self.look_with(ticket, waker.clone());
        }
        match look {
            Look::Granted(Offer::Session(entry)) => Poll::Ready(Ok(self.accept(entry, shard, now))),
            Look::Granted(Offer::Place) => {
                Poll::Ready(Ok(self.settle(Permit::new(Arc::clone(self)), shard, now)))
            }
            Look::Refused => Poll::Ready(Err(refusal::closed())),
            Look::Waiting | Look::WakerChanged => Poll::Pending,
        }
    }

    /// A waiter goes away, unserved or served without knowing it: what it was granted goes on.
    pub(crate) fn leave(self: &Arc<Self>, ticket: Ticket, shard: usize) {
        let left = {
            let mut queue = lock(&self.queue.0);
            let left = queue.leave(ticket);
            self.waiting.store(queue.waiting(), Relaxed);
            left
        };
        match left {
            State::Granted(Offer::Session(entry)) => self.pass_on(entry, shard, None),
            State::Granted(Offer::Place) => self.release_place(),
            State::Waiting(_) | State::Refused | State::Free => {}
        }
    }

    /// Gives the offer to the waiter whose turn it is; it comes back when nobody waits.
    pub(super) fn hand(&self, offer: Offer<S>, now: Option<Instant>) -> Option<Offer<S>> {
        let waker = {
            let mut queue = lock(&self.queue.0);
            let granted = queue.grant(offer, now);
            self.waiting.store(queue.waiting(), Relaxed);
            match granted {
                Ok(waker) => waker,
                Err(offer) => return Some(offer),
            }
        };
        waker.wake();
        None
    }

    /// The fence of rule 4, and what follows from it. Was somebody served?
    pub(super) fn serve_if_waiting(self: &Arc<Self>, shard: usize, now: Option<Instant>) -> bool {
        fence(SeqCst);
        self.waiting.load(Relaxed) > 0 && self.serve(shard, now)
    }

    /// Looks with a waker other than the one left last time.
    fn look_with(&self, ticket: &Ticket, new: Waker) -> Look<S> {
        let (look, _unused) = {
            let mut queue = lock(&self.queue.0);
            match queue.look(ticket, &new) {
                Look::WakerChanged => (Look::Waiting, queue.exchange(ticket, new)),
                look => (look, new),
            }
        };
        look
    }

    /// Takes a session that was granted; if it has died meanwhile, its place is still this caller's.
    fn accept(self: &Arc<Self>, mut entry: Box<Entry<S>>, shard: usize, now: Instant) -> Grant<S> {
        match self.unfit(&mut entry, None) {
            None => Grant::Session(self.lend(entry, shard)),
            Some(cause) => {
                let (session, cause, place) = self.evict(entry, cause).into_parts();
                session.evicted(cause);
                self.settle(place, shard, now)
            }
        }
    }

    /// Hands out what there is for as long as anybody waits. Each turn serves a waiter or finds the queue empty.
    #[cold]
    fn serve(self: &Arc<Self>, shard: usize, now: Option<Instant>) -> bool {
        let mut served = false;
        while self.waiting.load(Relaxed) > 0 {
            let offer = if let Some(entry) = self.take_usable(shard, now) {
                Offer::Session(entry)
            } else if self.reserve() {
                Offer::Place
            } else {
                break;
            };
            match self.hand(offer, now) {
                None => served = true,
                Some(back) => {
                    self.keep(back, shard);
                    fence(SeqCst);
                }
            }
        }
        served
    }
}
