//! Why a checkout may fail.

use millstream_base::{Error, Kind, Origin, Phase, Seen};

#[cold]
pub(crate) fn closed() -> Error {
    Error::new(Kind::Cancelled, Origin::Local, "the pool is closed")
        .with_phase(Phase::Checkout)
        .with_seen(Seen::No)
}

#[cold]
pub(crate) fn too_many_waiters(most: usize) -> Error {
    Error::new(
        Kind::Limit,
        Origin::Local,
        format!("callers waiting for a connection over {most} (max_waiters)"),
    )
    .with_phase(Phase::Checkout)
    .with_seen(Seen::No)
}
