//! What a budget tells of itself.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::Level;

/// A copy of a [`Budget`](crate::Budget) at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BudgetSnapshot {
    /// From where.
    pub source: IpAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// How many ports there are: those that the kernel chooses from, and those of the private range.
    pub ports: u32,
    /// How many of them are the private range's ([`Ports::set_private_range`](crate::Ports::set_private_range)).
    pub private: u32,
    /// Open, or being opened.
    pub open: u32,
    /// Ours in TIME_WAIT.
    pub time_wait: u32,
    /// Those of other programs, when somebody looked last.
    pub foreign: u32,
    /// How many are left: TIME_WAIT that can be taken over counts as free.
    pub free: u32,
    /// What that means.
    pub level: Level,
    /// Ports used up a second, less those that came free without TIME_WAIT.
    pub per_second: f64,
    /// Until none is left, at that rate; none if that never happens.
    pub exhausted_in: Option<Duration>,
    /// What `connect` takes to find a port and send its SYN, mean of about the last 32; zero before the first.
    pub search_time: Duration,
    /// The least that this mean has been.
    pub best_search_time: Duration,
    /// Connections opened so far.
    pub opened: u64,
    /// How many of them on a port that was taken over from TIME_WAIT.
    pub taken_over: u64,
}

impl fmt::Display for BudgetSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, ports, open, time_wait, foreign, .. } = self;
        let held = open + time_wait + foreign;
        write!(
            f,
            "from {source}: {held} of {ports} held ({open} open, {time_wait} in TIME_WAIT, {foreign} by others)"
        )
    }
}
