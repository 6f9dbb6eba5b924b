//! The callers that wait, oldest first; in overload newest first. Plain data: [`Bucket`](crate::Bucket) keeps it under its own lock.
//!
//! A slab of slots, linked in the order of arrival, so that joining, serving the oldest or the newest, and leaving from
//! anywhere are a few stores each. A slot belongs to one [`Ticket`] until that is looked at with success or handed in.

use std::task::Waker;
use std::time::{Duration, Instant};

use crate::lent::Entry;
use crate::overload::Overload;

/// Something a waiter may get.
pub(crate) enum Offer<S> {
    /// A session that somebody gave back.
    Session(Box<Entry<S>>),
    /// A place below the limit: the waiter opens a session itself.
    Place,
}

/// One caller's place in the queue. Neither copied nor cloned: who has it owns the slot.
#[derive(Debug)]
pub(crate) struct Ticket(u32);

/// What a waiter finds.
pub(crate) enum Look<S> {
    /// It is its turn; the ticket is used up.
    Granted(Offer<S>),
    /// The bucket has closed; the ticket is used up.
    Refused,
    /// Not yet, and the waker is still the right one.
    Waiting,
    /// Not yet, and the waker must be exchanged.
    WakerChanged,
}

/// The callers that wait.
pub(crate) struct Queue<S> {
    slots: Vec<Slot<S>>,
    /// First slot of the free list, linked by `next`.
    free: u32,
    first: u32,
    last: u32,
    waiting: usize,
    used: usize,
    closed: bool,
    overload: Overload,
}

struct Slot<S> {
    state: State<S>,
    joined: Instant,
    prev: u32,
    next: u32,
}

/// What a slot holds.
pub(crate) enum State<S> {
    Free,
    /// In the list.
    Waiting(Waker),
    /// Out of the list; its owner will come and take it.
    Granted(Offer<S>),
    /// Out of the list; its owner will come and see that the bucket has closed.
    Refused,
}

impl<S> Queue<S> {
    /// First in, first out, until the oldest has waited for longer than `target`, and no caller served for a while less.
    pub(crate) fn new(target: Duration) -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            first: NONE,
            last: NONE,
            waiting: 0,
            used: 0,
            closed: false,
            overload: Overload::new(target),
        }
    }

    /// Callers not yet served.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Callers that still hold a ticket, served or not.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Joins at the end.
    pub(crate) fn join(&mut self, waker: Waker, now: Instant) -> Ticket {
        let at = self.vacant(now);
        let prev = std::mem::replace(&mut self.last, at);
        self.slots[at as usize] = Slot { state: State::Waiting(waker), joined: now, prev, next: NONE };
        if prev == NONE {
            self.first = at;
        } else {
            self.slots[prev as usize].next = at;
        }
        self.waiting += 1;
        self.used += 1;
        Ticket(at)
    }

    /// Serves the oldest, or the newest in overload; gives its waker, or the offer back when nobody waits.
    pub(crate) fn grant(&mut self, offer: Offer<S>, now: Option<Instant>) -> Result<Waker, Offer<S>> {
        if self.first == NONE {
            return Err(offer);
        }
        let joined = self.slots[self.first as usize].joined;
        let next = if self.overload.is_newest_next(joined, now) { self.last } else { self.first };
        match self.settle(next, State::Granted(offer)) {
            State::Waiting(waker) => Ok(waker),
            _ => unreachable!("only waiting slots are linked"),
        }
    }

    /// Closes: nobody may join (the caller of `join` asks), whoever waits is refused. Gives the wakers.
    pub(crate) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        let mut wakers = Vec::with_capacity(self.waiting);
        while self.first != NONE {
            if let State::Waiting(waker) = self.settle(self.first, State::Refused) {
                wakers.push(waker);
            }
        }
        wakers
    }

    /// What has become of a ticket.
    pub(crate) fn look(&mut self, ticket: &Ticket, waker: &Waker) -> Look<S> {
        match &self.slots[ticket.0 as usize].state {
            State::Waiting(old) if old.will_wake(waker) => return Look::Waiting,
            State::Waiting(_) => return Look::WakerChanged,
            _ => {}
        }
        match self.release(ticket.0) {
            State::Granted(offer) => Look::Granted(offer),
            _ => Look::Refused,
        }
    }

    /// Exchanges the waker of one who still waits; gives back the one to drop outside of the lock.
    pub(crate) fn exchange(&mut self, ticket: &Ticket, waker: Waker) -> Waker {
        match &mut self.slots[ticket.0 as usize].state {
            State::Waiting(old) => std::mem::replace(old, waker),
            _ => waker,
        }
    }

    /// Hands in a ticket: out of the list, wherever it stood. What was in its slot is to be passed on, or dropped,
    /// outside of the lock.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> State<S> {
        if let State::Waiting(_) = self.slots[ticket.0 as usize].state {
            self.unlink(ticket.0);
        }
        self.release(ticket.0)
    }

    fn settle(&mut self, at: u32, state: State<S>) -> State<S> {
        self.unlink(at);
        std::mem::replace(&mut self.slots[at as usize].state, state)
    }

    fn unlink(&mut self, at: u32) {
        let Slot { prev, next, .. } = self.slots[at as usize];
        if prev == NONE {
            self.first = next;
        } else {
            self.slots[prev as usize].next = next;
        }
        if next == NONE {
            self.last = prev;
        } else {
            self.slots[next as usize].prev = prev;
        }
        self.waiting -= 1;
        if self.waiting == 0 {
            self.overload.end();
        }
    }

    /// A free slot's index, growing the slab when there is none.
    fn vacant(&mut self, now: Instant) -> u32 {
        if self.free != NONE {
            let at = self.free;
            self.free = self.slots[at as usize].next;
            return at;
        }
        let at = u32::try_from(self.slots.len()).expect("MAX_WAITERS fits");
        self.slots.push(Slot { state: State::Free, joined: now, prev: NONE, next: NONE });
        at
    }

    fn release(&mut self, at: u32) -> State<S> {
        let slot = &mut self.slots[at as usize];
        let state = std::mem::replace(&mut slot.state, State::Free);
        slot.next = std::mem::replace(&mut self.free, at);
        self.used -= 1;
        if self.used == 0 && self.slots.len() > KEPT_SLOTS {
            self.slots = Vec::new();
            self.free = NONE;
        }
        state
    }
}

/// The end of a list.
const NONE: u32 = u32::MAX;
/// More than this can't be told apart by a ticket.
pub(crate) const MAX_WAITERS: usize = (u32::MAX - 1) as usize;
/// A slab of up to this many slots is kept when the last caller has left: a guess, 4 KiB.
const KEPT_SLOTS: usize = 64;

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn queue() -> Queue<()> {
        Queue::new(Duration::from_secs(1))
    }

    fn join(queue: &mut Queue<()>) -> Ticket {
        queue.join(Waker::noop().clone(), Instant::now())
    }

    fn is_served(queue: &mut Queue<()>, ticket: &Ticket) -> bool {
        matches!(queue.look(ticket, Waker::noop()), Look::Granted(Offer::Place))
    }

    #[test]
    fn oldest_is_served_first_when_others_have_left() {
        let mut queue = queue();
        let mut tickets: Vec<_> = (0..5).map(|_| join(&mut queue)).collect();
        assert!(matches!(queue.leave(tickets.remove(2)), State::Waiting(_)));
        assert!(matches!(queue.leave(tickets.remove(0)), State::Waiting(_)));
        for ticket in tickets {
            assert!(queue.grant(Offer::Place, None).is_ok());
            assert!(is_served(&mut queue, &ticket));
        }
        assert!(queue.grant(Offer::Place, None).is_err());
        assert_eq!((queue.waiting(), queue.used()), (0, 0));
    }

    /// Joins at these seconds; whoever is served at those seconds, by number.
    fn served(joins: &[u64], serves: &[u64]) -> Vec<usize> {
        let (mut queue, begin) = (queue(), Instant::now());
        let at = |second: u64| begin + Duration::from_secs(second);
        let mut tickets: Vec<_> = joins
            .iter()
            .enumerate()
            .map(|(number, second)| (number, queue.join(Waker::noop().clone(), at(*second))))
            .collect();
        let mut order = Vec::new();
        for second in serves {
            assert!(queue.grant(Offer::Place, Some(at(*second))).is_ok());
            let found = tickets.iter().position(|(_, ticket)| is_served(&mut queue, ticket)).expect("one is");
            order.push(tickets.remove(found).0);
        }
        order
    }

    #[test]
    fn newest_is_served_first_while_the_oldest_waits_too_long() {
        assert_eq!(served(&[0, 0, 0, 0], &[1, 1, 1, 1]), [0, 1, 2, 3], "at the target");
        assert_eq!(served(&[0, 0, 0, 0], &[2, 2, 2, 2]), [0, 1, 2, 3], "above it for a moment");
        assert_eq!(served(&[0, 0, 0, 0], &[2, 3, 4, 5]), [0, 3, 2, 1], "for longer");
        assert_eq!(served(&[0, 4, 5, 6, 6], &[2, 5, 6, 7, 7]), [0, 1, 2, 3, 4], "the oldest is young again");
        assert_eq!(served(&[0, 0, 5, 6], &[2, 5, 6, 6]), [0, 3, 2, 1], "and none is forgotten");
    }

    #[test]
    fn slot_of_one_served_is_not_given_to_another() {
        let mut queue = queue();
        let first = join(&mut queue);
        assert!(queue.grant(Offer::Place, None).is_ok());
        let second = join(&mut queue);
        assert!(is_served(&mut queue, &first));
        assert!(!is_served(&mut queue, &second));
        assert!(matches!(queue.leave(second), State::Waiting(_)));
    }

    #[test]
    fn offer_of_one_who_leaves_comes_back() {
        let mut queue = queue();
        let ticket = join(&mut queue);
        assert!(queue.grant(Offer::Place, None).is_ok());
        assert!(matches!(queue.leave(ticket), State::Granted(Offer::Place)));
    }

    #[test]
    fn closing_refuses_those_who_wait_and_spares_those_served() {
        let mut queue = queue();
        let served = join(&mut queue);
        let waits = join(&mut queue);
        assert!(queue.grant(Offer::Place, None).is_ok());
        assert_eq!(queue.close().len(), 1);
        assert!(is_served(&mut queue, &served));
        assert!(matches!(queue.look(&waits, Waker::noop()), Look::Refused));
        assert_eq!(queue.used(), 0);
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut queue = queue();
        let tickets: Vec<_> = (0..1000).map(|_| join(&mut queue)).collect();
        for ticket in tickets {
            queue.leave(ticket);
        }
        assert_eq!(queue.slots.capacity(), 0);
        let ticket = join(&mut queue);
        assert!(queue.grant(Offer::Place, None).is_ok());
        assert!(is_served(&mut queue, &ticket));
    }
}
