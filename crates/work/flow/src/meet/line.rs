//! Those who wait, oldest first. Plain data: whoever owns a line keeps it under a lock.
//!
//! A waiter is in at most one of `waiting` and `served`, and in neither once it has looked with success or left. Nothing stays of it then:
//! a line is as long as there are waiters. Wakers go out to the caller, who wakes and drops them under no lock.

use std::collections::BTreeMap;
use std::task::Waker;

/// Those who wait; `A` is what each brought, `B` what each waits for.
pub(crate) struct Line<A, B> {
    next: u64,
    waiting: BTreeMap<u64, (A, Waker)>,
    served: BTreeMap<u64, B>,
}

/// A waiter's place. Neither copied nor cloned.
pub(crate) struct Ticket(u64);

impl<A, B> Line<A, B> {
    pub(crate) fn new() -> Self {
        Self { next: 0, waiting: BTreeMap::new(), served: BTreeMap::new() }
    }

    /// Does anybody wait who has not been served?
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Joins at the end.
    pub(crate) fn join(&mut self, brought: A, waker: Waker) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket.0, (brought, waker));
        ticket
    }

    /// Serves the oldest, if anybody waits.
    pub(crate) fn serve(&mut self, give: impl FnOnce(A) -> B) -> Option<Waker> {
        let (id, (brought, waker)) = self.waiting.pop_first()?;
        self.served.insert(id, give(brought));
        Some(waker)
    }

    /// What a waiter was served, which uses its ticket up. Else the waker takes the place of the one before, which is in `waker` then.
    pub(crate) fn look(&mut self, ticket: &Ticket, waker: &mut Waker) -> Option<B> {
        if let Some((_, old)) = self.waiting.get_mut(&ticket.0) {
            std::mem::swap(old, waker);
            return None;
        }
        self.served.remove(&ticket.0)
    }

    /// Leaves from anywhere; gives what the waiter leaves behind: what it brought, or what it was served and did not look at.
    pub(crate) fn leave(&mut self, ticket: &Ticket) -> (Option<(A, Waker)>, Option<B>) {
        (self.waiting.remove(&ticket.0), self.served.remove(&ticket.0))
    }

    /// Those who wait or were served and have not looked.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.served.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waker() -> Waker {
        Waker::noop().clone()
    }

    #[test]
    fn oldest_is_served_first_and_nothing_stays_of_who_left() {
        let mut line = Line::new();
        let tickets: Vec<_> = (0..4).map(|number| line.join(number, waker())).collect();
        assert!(matches!(line.leave(&tickets[1]), (Some((1, _)), None)));
        assert!(line.serve(|brought| brought * 10).is_some());
        assert!(line.serve(|brought| brought * 10).is_some());
        assert_eq!(line.look(&tickets[3], &mut waker()), None);
        assert_eq!(line.look(&tickets[2], &mut waker()), Some(20));
        assert!(matches!(line.leave(&tickets[0]), (None, Some(0))));
        assert!(matches!(line.leave(&tickets[3]), (Some((3, _)), None)));
        assert!(matches!(line.leave(&tickets[3]), (None, None)) && line.serve(|brought| brought).is_none());
        assert_eq!((line.len(), line.is_waiting()), (0, false));
    }
}
