//! TIME_WAIT that a run has left: on our side it costs a local port, on the server's nothing but memory.

use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::ControlFlow;
use std::time::Duration;

use millstream::http::Url;
use millstream::sockets::{Diag, Query, Record, State};

/// How many connections of a run wait in TIME_WAIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeWait {
    /// We have closed first.
    pub(crate) ours: u64,
    /// The server has: seen only where it is on this host.
    pub(crate) theirs: u64,
}

/// `TCP_TIMEWAIT_LEN`, include/net/tcp.h.
const TIME_WAIT: Duration = Duration::from_secs(60);

impl TimeWait {
    /// Of a run to this URL that took so long. `None` where the kernel does not tell, or the name leads nowhere. Of a longer
    /// run than 60 s what is left of it.
    pub(crate) fn of(url: &Url, took: Duration) -> Option<Self> {
        let host = url.host().trim_matches(['[', ']']);
        let servers: Vec<SocketAddr> = (host, url.port()).to_socket_addrs().ok()?.collect();
        let mut found = Self::default();
        let query = Query::all().states([State::TimeWait]);
        let each = |record: &Record<'_>| {
            let is_of_this_run = record.timer().is_some_and(|timer| timer.expires + took >= TIME_WAIT);
            found.ours += u64::from(is_of_this_run && servers.contains(&record.remote()));
            found.theirs += u64::from(is_of_this_run && servers.contains(&record.local()));
            ControlFlow::Continue(())
        };
        Diag::open().ok()?.dump(&query, each).ok()?;
        Some(found)
    }
}
