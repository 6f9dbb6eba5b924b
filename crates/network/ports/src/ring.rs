//! The ports of a private range towards one destination, in the order in which they are handed out: never used before used, and
//! then who was released first.
//!
//! Rules:
//! 1. A port is in one of four places: unused, open, waiting (we closed first; in TIME_WAIT for 60 s), resting (no TIME_WAIT of ours).
//! 2. It leaves a place only for another: none is ever lost. Whoever takes one asks the kernel before it is bound.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::Left;
use crate::port_bits::PortBits;
use crate::private_range::PrivateRange;
use crate::waiting::Waiting;

/// A ring of ports. Eight bytes for each port that was used. Times are microseconds.
#[derive(Debug)]
pub(crate) struct Ring {
    range: PrivateRange,
    unused: RangeInclusive<u16>,
    open: PortBits,
    waiting: Waiting,
    resting: Waiting,
}

/// Since when a port must have been released to be handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// One that waits in TIME_WAIT.
    pub(crate) waiting: u64,
    /// One that rests.
    pub(crate) resting: u64,
}

impl Ring {
    pub(crate) fn new(range: PrivateRange) -> Self {
        Self {
            range,
            unused: range.ports(),
            open: PortBits::default(),
            waiting: Waiting::default(),
            resting: Waiting::default(),
        }
    }

    pub(crate) fn range(&self) -> PrivateRange {
        self.range
    }

    /// The next port; it is open from here on.
    pub(crate) fn take(&mut self, since: Since) -> Option<u16> {
        // One of them may have come another way meanwhile.
        let is_used = |port| self.open.has(port) || self.waiting.has(port) || self.resting.has(port);
        let unused = self.unused.find(|port| !is_used(*port));
        let port = unused.or_else(|| self.take_released(since))?;
        self.open.insert(port);
        Some(port)
    }

    fn take_released(&mut self, since: Since) -> Option<u16> {
        let first = |ports: &Waiting| ports.each_since().next().unwrap_or(u64::MAX);
        if first(&self.waiting) <= first(&self.resting) {
            self.waiting.take(since.waiting).or_else(|| self.resting.take(since.resting))
        } else {
            self.resting.take(since.resting).or_else(|| self.waiting.take(since.waiting))
        }
    }

    /// Somebody else chose it for us; false if it was open.
    pub(crate) fn open(&mut self, port: u16) -> bool {
        self.waiting.remove(port);
        self.resting.remove(port);
        self.open.insert(port)
    }

    /// The connection on it is over since this moment; one in the future is a penalty. False if it was not open.
    pub(crate) fn release(&mut self, port: u16, left: Left, since: u64) -> bool {
        if !self.open.remove(port) {
            return false;
        }
        match left {
            Left::Waiting => self.waiting.add(port, since),
            Left::Free => self.resting.add(port, since),
        }
        true
    }

    pub(crate) fn is_open(&self, port: u16) -> bool {
        self.open.has(port)
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// How many are not to be had now.
    pub(crate) fn held(&self, since: Since) -> usize {
        self.open.len() + self.waiting.later_than(since.waiting) + self.resting.later_than(since.resting)
    }

    /// How many were closed by us after this moment.
    pub(crate) fn closed_after(&self, moment: u64) -> usize {
        self.waiting.later_than(moment)
    }

    /// When we closed those that wait, the longest ago first.
    pub(crate) fn each_closed(&self) -> impl Iterator<Item = u64> + '_ {
        self.waiting.each_since()
    }

    /// Mends what was not seen. `listed`: the ports that the kernel knows, and since when each is in TIME_WAIT; `ended`: as good as
    /// a TIME_WAIT that is over. One released after `since` may be younger than the list.
    pub(crate) fn correct(&mut self, listed: &HashMap<u16, Option<u64>>, ended: u64, since: Since) {
        self.waiting.revise(|port, closed| match listed.get(&port) {
            Some(Some(began)) => Some(*began),
            None if closed <= since.resting => Some(closed.min(ended)),
            _ => Some(closed),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use millstream_sockets::Sysctls;
    use proptest::prelude::*;

    use super::*;

    fn ring(ports: RangeInclusive<u16>) -> Ring {
        Ring::new(PrivateRange::new(&ports, &Sysctls::default()).unwrap())
    }

    fn both(since: u64) -> Since {
        Since { waiting: since, resting: since }
    }

    #[test]
    fn unused_ports_go_first_then_those_released_first() {
        let mut ring = ring(61_000..=61_003);
        let taken: Vec<_> = std::iter::from_fn(|| ring.take(both(0))).collect();
        assert_eq!((taken, ring.held(both(0))), (vec![61_000, 61_001, 61_002, 61_003], 4));
        for (port, left, since) in [
            (61_002, Left::Waiting, 10),
            (61_000, Left::Free, 20),
            (61_003, Left::Waiting, 30),
            (61_001, Left::Free, 40),
        ] {
            assert!(ring.release(port, left, since) && !ring.release(port, left, since));
        }
        assert_eq!((ring.take(both(9)), ring.held(both(9)), ring.held(both(20))), (None, 4, 2));
        assert_eq!([10, 40, 40, 40, 40].map(|since| ring.take(both(since))), {
            [Some(61_002), Some(61_000), Some(61_003), Some(61_001), None]
        });
    }

    #[test]
    fn time_wait_is_passed_over_where_it_can_not_be_taken_over() {
        let mut ring = ring(61_000..=61_002);
        (61_000..=61_002).for_each(|port| assert!(ring.open(port)));
        ring.release(61_000, Left::Waiting, 10);
        ring.release(61_001, Left::Free, 20);
        ring.release(61_002, Left::Free, 90); // a penalty
        let since = Since { waiting: 5, resting: 40 };
        assert_eq!((ring.held(since), ring.closed_after(5)), (2, 1));
        assert_eq!((ring.take(since), ring.take(since)), (Some(61_001), None));
        assert_eq!(ring.take(Since { waiting: 10, resting: 40 }), Some(61_000));
    }

    #[test]
    fn port_that_came_another_way_is_not_handed_out_again() {
        let mut ring = ring(61_000..=61_001);
        assert!(ring.open(61_000) && !ring.open(61_000) && ring.is_open(61_000));
        ring.release(61_000, Left::Waiting, 20);
        assert_eq!((ring.take(both(9)), ring.take(both(9)), ring.open_count()), (Some(61_001), None, 1));
        assert_eq!((ring.take(both(20)), ring.closed_after(0)), (Some(61_000), 0));
    }

    #[test]
    fn kernel_tells_when_time_wait_began_and_that_it_is_over() {
        let mut ring = ring(61_000..=61_003);
        (61_000..=61_003).for_each(|port| assert!(ring.open(port)));
        for (port, since) in [(61_000, 1000), (61_001, 1001), (61_002, 1002), (61_003, 1003)] {
            ring.release(port, Left::Waiting, since);
        }
        // The first closed later than it seemed; the second waits for its peer; the others are gone, the last perhaps too new.
        let listed = HashMap::from([(61_000, Some(1010)), (61_001, None)]);
        ring.correct(&listed, 40, both(1002));
        let closed: Vec<_> = ring.each_closed().collect();
        assert_eq!(closed, [40, 1001, 1003, 1010]);
    }

    proptest! {
        /// Beside a plain queue: the order is that of release, and each port is in one place.
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec((0u8..3, any::<proptest::sample::Index>()), 0..200)) {
            let mut ring = ring(61_000..=61_015);
            let (mut queue, mut open) = ((61_000..=61_015).collect::<VecDeque<u16>>(), Vec::new());
            for (now, (step, which)) in steps.into_iter().enumerate() {
                if step == 0 || open.is_empty() {
                    let taken = ring.take(both(now as u64));
                    prop_assert_eq!(taken, queue.pop_front());
                    open.extend(taken);
                } else {
                    let port = open.swap_remove(which.index(open.len()));
                    let left = if step == 1 { Left::Waiting } else { Left::Free };
                    prop_assert!(ring.release(port, left, now as u64));
                    queue.push_back(port);
                }
                prop_assert_eq!(ring.open_count(), open.len());
                prop_assert_eq!(ring.held(both(now as u64)), open.len());
            }
        }
    }
}
