//! What the host's TCP stack says: sockets by `sock_diag`, counters, sysctls, and who holds what. Usable alone.
//!
//! Everything here looks at the network namespace of the thread that calls, and most of it needs no rights.
//!
//! ```
//! use millstream_sockets::{Diag, Query, State};
//! use std::ops::ControlFlow;
//!
//! let mut waiting = 0;
//! let query = Query::all().states([State::TimeWait]);
//! Diag::open()?.dump(&query, |record| {
//!     waiting += usize::from(record.timer().is_some());
//!     ControlFlow::Continue(())
//! })?;
//! # Ok::<(), millstream_sockets::Error>(())
//! ```
//!
//! | question | answered by | cost |
//! | --- | --- | --- |
//! | which sockets are there, in which state, for how long yet | [`Diag::dump`] | a walk over the host's sockets |
//! | what of this one connection, or this listener's queue | [`Diag::find`], [`Diag::listener`] | one lookup |
//! | which sockets end | [`Destroyed`] | nothing until one does |
//! | does anything go wrong | [`Counters`] | four small files |
//! | how is the host set | [`Sysctls`] | a small file each |
//! | whose is it | [`Holders`] | a walk over all processes' descriptors |

mod counters;
mod destroyed;
mod diag;
mod error;
mod holders;
mod info;
mod netlink;
mod query;
mod record;
mod state;
mod sysctls;

pub use counters::{Counters, Deltas};
pub use destroyed::Destroyed;
pub use diag::Diag;
pub use error::{Error, Result};
pub use holders::{Holders, Process};
pub use info::TcpInfo;
pub use query::Query;
pub use record::{Entry, Record, Timer, TimerKind};
pub use state::{State, States};
pub use sysctls::{PortSet, Sysctls};

/// What the fuzz target `sock_diag` calls: whatever the bytes, no panic.
pub fn fuzz_messages(bytes: &[u8]) {
    let mut rest = netlink::Messages::new(bytes);
    while let Some(message) = rest.next() {
        if let Some(record) = Record::parse(message.body) {
            let entry = record.to_entry();
            assert_eq!((entry.local(), entry.remote()), (record.local(), record.remote()));
            let _ = record.info().map(|info| info.rtt());
        }
    }
}
