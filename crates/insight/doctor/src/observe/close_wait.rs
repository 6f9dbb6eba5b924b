//! Which connections their peers have closed, and our side has not.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use millstream_base::Error;
use millstream_sockets::{Diag, Query, State};

use super::dump::failed;

/// The local and remote addresses of all sockets in CLOSE_WAIT, of the thread's network namespace: for a program that wants to
/// know which of its own connections it has forgotten.
///
/// # Errors
/// When the kernel gives no list of sockets.
pub fn closed_by_peers() -> Result<HashSet<(SocketAddr, SocketAddr)>, Error> {
    let mut all = HashSet::new();
    let dumped = Diag::open().and_then(|mut diag| {
        diag.dump(&Query::all().states([State::CloseWait]), |record| {
            all.insert((record.local(), record.remote()));
            ControlFlow::Continue(())
        })
    });
    dumped.map_err(failed)?;
    Ok(all)
}
