//! A session lent to one call.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use millstream_base::{Deadline, EngineId, Error, Kind, Origin};
use millstream_pool::{EvictCause, Lent};
use millstream_runtime::{Stage, Timer, Worker};
use millstream_transport::{Cause, Conn};

use crate::dialer::PermitOf;
use crate::farewell;
use crate::slot::{self, Slot};
use crate::{Protocol, Session};

/// A session lent to one call. Release it when the exchange is over; dropping it closes the connection, since nobody
/// knows then what is still on its way.
pub struct Lease<P: Protocol> {
    lent: Option<Lent<Slot<P::Session>>>,
    engine: EngineId,
}

impl<P: Protocol> Lease<P> {
    pub(crate) fn new(lent: Lent<Slot<P::Session>>, engine: EngineId) -> Self {
        Self { lent: Some(lent), engine }
    }

    #[inline]
    fn lent(&self) -> &Lent<Slot<P::Session>> {
        self.lent.as_ref().expect("only consuming methods take it")
    }

    #[inline]
    fn lent_mut(&mut self) -> &mut Lent<Slot<P::Session>> {
        self.lent.as_mut().expect("only consuming methods take it")
    }

    /// Did the connection serve a call before this one?
    pub fn is_reused(&self) -> bool {
        self.lent().is_reused()
    }

    /// How long it had been idle before this call.
    pub fn idle_for(&self) -> Duration {
        self.lent().idle_for()
    }

    /// Is it near the end of its lifetime? Who tells the peer that this call is the connection's last has it close first, and
    /// keep TIME_WAIT.
    #[inline]
    pub fn is_ending(&self, now: Instant) -> bool {
        self.lent().is_ending(now)
    }

    /// Gives it up where the peer may close it at any moment, and keeps its place.
    pub(crate) fn vacate_if_late(mut self) -> Result<Self, PermitOf<P>> {
        match self.lent.take_if(|lent| slot::is_late(lent)) {
            Some(lent) => Err(slot::vacate(lent, Cause::IdleTimeoutLocal)),
            None => Ok(self),
        }
    }

    /// The connection.
    #[inline]
    pub fn conn(&self) -> &Conn {
        self.lent().session.conn()
    }

    /// The bytes.
    #[inline]
    pub fn conn_mut(&mut self) -> &mut Conn {
        self.lent_mut().session.conn_mut()
    }

    /// Whose reactor the connection belongs to.
    pub fn worker(&self) -> &Worker {
        &self.lent().worker
    }

    /// The call's one deadline at the moment: first byte, silence, or the whole.
    #[inline]
    pub fn timer(&self) -> &Timer {
        &self.lent().timer
    }

    /// Arms the timer for a step of at most `limit` within the call's `deadline`.
    #[inline]
    pub fn arm(&self, now: Instant, limit: Duration, deadline: Deadline) {
        self.timer().arm(deadline.earlier(Deadline::after(now, limit)).moment());
    }

    /// The exchange is over and the session may serve another.
    #[inline]
    pub fn release(self, now: Instant) {
        self.release_for(now, Duration::MAX);
    }

    /// The same, for a peer that closes an idle connection after `keep`.
    pub fn release_for(mut self, now: Instant, keep: Duration) {
        if let Some(lent) = self.lent.take() {
            slot::park(lent, self.engine, now, keep);
        }
    }

    /// The session can't serve another call: closes it for this reason.
    pub fn close(mut self, cause: Cause) {
        if let Some(lent) = self.lent.take() {
            slot::end(lent, cause, EvictCause::Closed);
        }
    }

    /// The same for a session whose peer is about to close, because we or it said so: its FIN is waited for, 250 ms at most
    /// and not by the caller. Who closes first has to keep TIME_WAIT, and a server has no use for the port. The place in the
    /// pool is free when the connection is closed.
    pub fn close_behind_peer(mut self, cause: Cause) {
        if let Some(lent) = self.lent.take() {
            farewell::close_behind_peer(lent, cause);
        }
    }

    /// What a failed read or write means; also that the engine has stopped, and its reactor with it.
    #[cold]
    pub fn sort(&self, error: std::io::Error) -> Error {
        let error = Error::from(error);
        if error.kind() == Kind::Io && is_stopped(&self.lent().worker) { stopped() } else { error }
    }
}

fn is_stopped(worker: &Worker) -> bool {
    worker.engine().is_none_or(|engine| engine.stage() == Stage::Stopped)
}

/// The error of every call on an engine that has stopped.
pub(crate) fn stopped() -> Error {
    Error::new(Kind::Cancelled, Origin::Local, "the engine has stopped")
}

/// The part of the stock that belongs to the current thread; strangers share the first.
#[inline]
pub(crate) fn shard(engine: EngineId) -> usize {
    millstream_base::Slot::index_in(engine).unwrap_or(0)
}

impl<P: Protocol> Drop for Lease<P> {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            let cause = if is_stopped(&lent.worker) { Cause::Shutdown } else { Cause::Cancelled };
            slot::end(lent, cause, EvictCause::Dropped);
        }
    }
}

impl<P: Protocol> Deref for Lease<P> {
    type Target = P::Session;

    #[inline]
    fn deref(&self) -> &P::Session {
        &self.lent().session
    }
}

impl<P: Protocol> DerefMut for Lease<P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut P::Session {
        &mut self.lent_mut().session
    }
}

impl<P: Protocol> fmt::Debug for Lease<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("is_reused", &self.is_reused()).finish_non_exhaustive()
    }
}
