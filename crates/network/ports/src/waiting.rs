//! Our own ports that wait in TIME_WAIT, in the order in which they come free.

use std::collections::VecDeque;

use crate::port_bits::PortBits;

/// Ports in TIME_WAIT, the longest first. Eight bytes a port.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: VecDeque<Wait>,
    ports: PortBits,
}

/// A port, and since when it waits: microseconds on its budget's clock, in the upper 48 bits (nine years).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wait(u64);

impl Wait {
    fn new(port: u16, since: u64) -> Self {
        Self(since << 16 | u64::from(port))
    }

    fn since(self) -> u64 {
        self.0 >> 16
    }

    fn port(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl Waiting {
    /// It waits since then. If it waited already, that is over.
    pub(crate) fn add(&mut self, port: u16, since: u64) {
        self.remove(port);
        self.ports.insert(port);
        let wait = Wait::new(port, since);
        match self.queue.back() {
            Some(last) if *last > wait => {
                let at = self.queue.partition_point(|one| *one < wait);
                self.queue.insert(at, wait);
            }
            _ => self.queue.push_back(wait),
        }
    }

    /// It waits no longer; false if it did not. Rare for a port that does, and then a walk over all.
    pub(crate) fn remove(&mut self, port: u16) -> bool {
        if !self.ports.remove(port) {
            return false;
        }
        if let Some(at) = self.queue.iter().position(|one| one.port() == port) {
            self.queue.remove(at);
        }
        true
    }

    /// Those that wait since this moment or longer are free.
    pub(crate) fn expire(&mut self, since: u64) {
        while let Some(wait) = self.queue.pop_front_if(|wait| wait.since() <= since) {
            self.ports.remove(wait.port());
        }
    }

    /// The one that waits longest, if at least since this moment; it waits no longer.
    pub(crate) fn take(&mut self, since: u64) -> Option<u16> {
        let wait = self.queue.pop_front_if(|wait| wait.since() <= since)?;
        self.ports.remove(wait.port());
        Some(wait.port())
    }

    pub(crate) fn has(&self, port: u16) -> bool {
        self.ports.has(port)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many wait for less long than since this moment.
    pub(crate) fn later_than(&self, since: u64) -> usize {
        self.queue.len() - self.queue.partition_point(|wait| wait.since() <= since)
    }

    /// Since when each waits, the longest first.
    pub(crate) fn each_since(&self) -> impl Iterator<Item = u64> + '_ {
        self.queue.iter().map(|wait| wait.since())
    }

    /// Says anew of each since when it waits, or that it does not.
    pub(crate) fn revise(&mut self, mut since: impl FnMut(u16, u64) -> Option<u64>) {
        let mut revised: Vec<Wait> = Vec::with_capacity(self.queue.len());
        for wait in self.queue.drain(..) {
            match since(wait.port(), wait.since()) {
                Some(since) => revised.push(Wait::new(wait.port(), since)),
                None => drop(self.ports.remove(wait.port())),
            }
        }
        revised.sort_unstable();
        self.queue = revised.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sinces(waiting: &Waiting) -> Vec<u64> {
        waiting.each_since().collect()
    }

    #[test]
    fn they_come_free_in_the_order_of_their_times_each_once() {
        let mut waiting = Waiting::default();
        for (port, since) in [(1, 10), (2, 30), (3, 20), (1, 40)] {
            waiting.add(port, since);
        }
        assert_eq!((sinces(&waiting), waiting.later_than(20)), (vec![20, 30, 40], 2));
        assert_eq!((waiting.take(19), waiting.take(20)), (None, Some(3)));
        assert!(waiting.remove(2) && !waiting.remove(2) && !waiting.has(3));
        waiting.expire(40);
        assert_eq!((waiting.len(), waiting.has(1)), (0, false));
    }

    #[test]
    fn revision_sorts_and_drops() {
        let mut waiting = Waiting::default();
        (1..=4).for_each(|port| waiting.add(port, u64::from(port)));
        waiting.revise(|port, since| (port != 2).then_some(10 - since));
        assert_eq!((sinces(&waiting), waiting.has(2), waiting.take(6)), (vec![6, 7, 9], false, Some(4)));
    }
}
