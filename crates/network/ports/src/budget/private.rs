//! The private range in a budget: its ring, and what counts of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Book, Budget, TIME_WAIT, Terms, micros};
use crate::ring::{Ring, Since};

impl Budget {
    /// The next port of the private range; from here on it is open. The caller makes sure that it is over with its last connection,
    /// binds it and connects, and tells what came of it.
    pub(crate) fn take_private(&self, now: Instant) -> Option<u16> {
        let now = self.micros(now);
        let mut book = self.lock(now);
        let since = book.since(now);
        let port = book.private.as_mut()?.take(since)?;
        book.opened += 1;
        book.rate.note(now, 1);
        Some(port)
    }

    /// How old a TIME_WAIT of the private range must be to be taken over now.
    pub(crate) fn private_hold(&self, now: Instant) -> Duration {
        let now = self.micros(now);
        self.lock(now).private_hold(now)
    }

    pub(crate) fn is_private(&self, port: u16, now: Instant) -> bool {
        self.lock(self.micros(now)).ring_of(port).is_some()
    }
}

impl Book {
    /// What holds from now on. Another private range begins as a new one: what its ports did before, the kernel knows.
    pub(super) fn set_terms(&mut self, terms: Terms) {
        if self.private.as_ref().map(Ring::range) != terms.private {
            let before = self.private.take();
            let mut after = terms.private.map(Ring::new);
            let was_open = |port: &u16| before.as_ref().is_some_and(|ring| ring.is_open(*port));
            let open = before.iter().flat_map(|ring| ring.range().ports()).filter(was_open);
            for port in open {
                match after.as_mut().filter(|ring| ring.range().has(port)) {
                    Some(ring) => ring.open(port),
                    None => self.open.insert(port),
                };
            }
            if let Some(ring) = &mut after {
                for port in ring.range().ports().filter(|port| self.open.remove(*port)) {
                    ring.open(port);
                }
            }
            self.private = after;
        }
        self.terms = terms;
    }

    /// The ring that has this port, if it is of the private range.
    pub(super) fn ring_of(&mut self, port: u16) -> Option<&mut Ring> {
        self.private.as_mut().filter(|ring| ring.range().has(port))
    }

    /// Is a socket with this port ours, unless it is open? Those of the private range all are: each is asked for before it is bound.
    pub(super) fn is_ours_when_it_waits(&self, port: u16) -> bool {
        self.private.as_ref().is_some_and(|ring| ring.range().has(port))
            || self.waiting.iter().any(|waiting| waiting.has(port))
    }

    pub(super) fn correct_private(&mut self, listed: &HashMap<u16, Option<u64>>, now: u64) {
        let since = self.since(now);
        let began = |rest: u64| (now + rest).saturating_sub(micros(TIME_WAIT));
        let listed = listed.iter().map(|(port, rest)| (*port, rest.map(began))).collect();
        if let Some(ring) = &mut self.private {
            ring.correct(&listed, now.saturating_sub(micros(TIME_WAIT)), since);
        }
    }

    pub(super) fn waiting_private(&self, now: u64) -> usize {
        let began = now.saturating_sub(micros(TIME_WAIT));
        self.private.as_ref().map_or(0, |ring| ring.closed_after(began))
    }

    pub(super) fn takeable_private(&self, now: u64) -> usize {
        let young = self.since(now).waiting;
        let young = self.private.as_ref().map_or(0, |ring| ring.closed_after(young));
        self.waiting_private(now).saturating_sub(young)
    }

    pub(super) fn held_private(&self, now: u64) -> u64 {
        self.private.as_ref().map_or(0, |ring| ring.held(self.since(now)) as u64)
    }

    /// When those in TIME_WAIT can be had, in order.
    pub(super) fn private_ends(&self, now: u64) -> impl Iterator<Item = u64> + '_ {
        let hold = micros(self.private_hold(now));
        let ends = self.private.iter().flat_map(Ring::each_closed).map(move |since| since + hold);
        ends.filter(move |end| *end > now)
    }

    /// For how long a port that waits is lost for us, at most.
    pub(super) fn longest_hold(&self, now: u64) -> Duration {
        let private = self.private.as_ref().map(|_| self.private_hold(now)).unwrap_or_default();
        self.hold(now).max(private)
    }

    fn private_hold(&self, now: u64) -> Duration {
        if now < self.untakeable { TIME_WAIT } else { self.terms.private_hold }
    }

    fn since(&self, now: u64) -> Since {
        Since {
            waiting: now.saturating_sub(micros(self.private_hold(now))),
            resting: now.saturating_sub(micros(self.terms.private_rest)),
        }
    }
}
