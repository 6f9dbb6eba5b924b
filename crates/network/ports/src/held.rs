//! A port from when it is chosen until its connection has it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::takeover::REFUSED_FOR;
use crate::{Budget, Left};

/// Where a connection gets its port from.
#[derive(Debug)]
pub enum Choice {
    /// The kernel looks for one.
    Search,
    /// A port of the private range, or one of ours taken over from TIME_WAIT: bind it with `SO_REUSEADDR`, then connect. It counts
    /// as open already.
    Take(Held),
}

/// A port in use, until it is kept for a connection. Dropped, it counts as closed by us.
#[derive(Debug)]
pub struct Held {
    pub(crate) budget: Option<Arc<Budget>>,
    pub(crate) port: u16,
    pub(crate) before: Before,
}

/// What the kernel said of a port before it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing: it is free.
    Free,
    /// It is in TIME_WAIT.
    TimeWait,
}

impl Held {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From where.
    pub fn source(&self) -> Option<IpAddr> {
        self.budget.as_ref().map(|budget| budget.source())
    }

    /// The search for it, and all else that `connect` does at once, took so long.
    pub fn found_in(&self, span: Duration) {
        self.budget.iter().for_each(|budget| budget.searched(span));
    }

    /// The peer was slow to answer: if the port was taken over, for 60 s none of this budget is.
    pub fn was_slow(&self, now: Instant) {
        if self.before == Before::TimeWait {
            self.budget.iter().for_each(|budget| budget.forbid_taking(REFUSED_FOR, now));
        }
    }

    /// Whoever gets the budget says when the port is closed.
    pub fn keep(mut self) -> Option<Arc<Budget>> {
        if self.before == Before::TimeWait {
            self.budget.iter().for_each(|budget| budget.took_over(Instant::now()));
        }
        self.budget.take()
    }

    /// It was never connected: the port is free.
    pub fn give_up(mut self, now: Instant) {
        if let Some(budget) = self.budget.take() {
            budget.closed(self.port, Left::Free, now);
        }
    }

    /// `connect` said `EADDRNOTAVAIL`: the kernel does not let its TIME_WAIT be taken over. It waits on, and for 60 s none of this
    /// budget is taken over. A port that was in no TIME_WAIT is somebody else's.
    pub fn refused(mut self, now: Instant) {
        let Some(budget) = self.budget.take() else { return };
        if self.before == Before::Free && budget.is_private(self.port, now) {
            budget.lost(self.port, now);
        } else {
            budget.put_back(self.port, now, now);
            budget.forbid_taking(REFUSED_FOR, now);
        }
    }

    /// `bind` said `EADDRINUSE`: another socket has it, without `SO_REUSEADDR`. One of the private range is left alone for a minute;
    /// any other is as if it had been [refused](Self::refused).
    pub fn in_use(mut self, now: Instant) {
        if self.budget.as_ref().is_some_and(|budget| budget.is_private(self.port, now)) {
            self.budget.take().iter().for_each(|budget| budget.lost(self.port, now));
        } else {
            self.refused(now);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.take() {
            budget.closed(self.port, Left::Waiting, Instant::now());
        }
    }
}
