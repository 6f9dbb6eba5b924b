//! A session lent to one call.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use millstream_base::{Deadline, EngineId};
use millstream_pool::{EvictCause, Lent};
use millstream_runtime::Timer;
use millstream_transport::{Cause, Conn, ConnState};

use crate::slot::Slot;
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

    /// The bytes.
    #[inline]
    pub fn conn_mut(&mut self) -> &mut Conn {
        self.lent_mut().session.conn_mut()
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
        let Some(mut lent) = self.lent.take() else { return };
        lent.timer.disarm();
        lent.session.conn().life().set_state(ConnState::Idle, now);
        if let Some(cause) = lent.start_watch() {
            return end(lent, cause);
        }
        let watch = lent.watch();
        lent.give_back_until(shard(self.engine), now, keep);
        watch.after_return();
    }

    /// The session can't serve another call: closes it for this reason.
    pub fn close(mut self, cause: Cause) {
        if let Some(lent) = self.lent.take() {
            end(lent, cause);
        }
    }
}

fn end<S: Session>(mut lent: Lent<Slot<S>>, cause: Cause) {
    lent.verdict = Some(cause);
    lent.close(EvictCause::Closed);
}

/// The part of the stock that belongs to the current thread; strangers share the first.
#[inline]
pub(crate) fn shard(engine: EngineId) -> usize {
    millstream_base::Slot::index_in(engine).unwrap_or(0)
}

impl<P: Protocol> Drop for Lease<P> {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            end(lent, Cause::Cancelled);
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
