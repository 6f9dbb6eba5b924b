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
    /// A port of ours, taken over from TIME_WAIT: bind it with `SO_REUSEADDR`, then connect. It counts as open already.
    Take(Held),
}

/// A port in use, until it is kept for a connection. Dropped, it counts as closed by us.
#[derive(Debug)]
pub struct Held {
    pub(crate) budget: Option<Arc<Budget>>,
    pub(crate) port: u16,
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

    /// The peer was slow to answer for a port taken over: for 60 s none of this budget is.
    pub fn was_slow(&self, now: Instant) {
        self.budget.iter().for_each(|budget| budget.forbid_taking(REFUSED_FOR, now));
    }

    /// Whoever gets the budget says when the port is closed.
    pub fn keep(mut self) -> Option<Arc<Budget>> {
        self.budget.take()
    }

    /// It was never connected: the port is free.
    pub fn give_up(mut self, now: Instant) {
        if let Some(budget) = self.budget.take() {
            budget.closed(self.port, Left::Free, now);
        }
    }

    /// The kernel, or the peer, does not let it be taken over: it waits on, and for 60 s none of this budget is taken over.
    pub fn refused(mut self, now: Instant) {
        if let Some(budget) = self.budget.take() {
            budget.put_back(self.port, now, now);
            budget.forbid_taking(REFUSED_FOR, now);
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
