//! A session as the pool keeps it, with the watch that notices when its peer goes while it is idle.
//!
//! Rules:
//! 1. Before a session goes to stock its connection is asked for peer events with the watch's waker: whatever happens
//!    to it from then on calls [`Wake::wake`] on the reactor's thread.
//! 2. The watch takes exactly its own session out of the stock. If the session is lent by then, nothing happens: its
//!    new holder sees the event itself.
//! 3. An event between the registration and the arrival in stock finds nothing there. It leaves `is_fired`, which
//!    [`crate::Lease::release`] looks at afterwards.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};

use millstream_pool::{Bucket, EntryId, EvictCause, Pooled};
use millstream_runtime::Timer;
use millstream_transport::{Cause, PeerEvent};

use crate::Session;

/// A session as the pool keeps it.
pub(crate) struct Slot<S: Session> {
    pub(crate) session: S,
    pub(crate) timer: Timer,
    waker: Waker,
    watch: Arc<Watch<S>>,
    /// Why it must go, once the watch or a checkout knows.
    pub(crate) verdict: Option<Cause>,
}

/// Notices what happens to an idle session.
pub(crate) struct Watch<S: Session> {
    is_fired: AtomicBool,
    home: OnceLock<(Weak<Bucket<Slot<S>>>, EntryId)>,
}

impl<S: Session> Slot<S> {
    pub(crate) fn new(session: S, timer: Timer) -> Self {
        let watch = Arc::new(Watch { is_fired: AtomicBool::new(false), home: OnceLock::new() });
        Self { session, timer, waker: Waker::from(watch.clone()), watch, verdict: None }
    }

    /// Tells the watch where the session lives; once, when it has its place in the pool.
    pub(crate) fn settle(&self, bucket: &Arc<Bucket<Self>>, id: EntryId) {
        // A second call would say the same.
        let _ = self.watch.home.set((Arc::downgrade(bucket), id));
    }

    /// Closes a session that was taken out of the pool.
    pub(crate) fn session_end(self, cause: Cause) {
        self.session.conn().end(cause);
    }

    pub(crate) fn watch(&self) -> Arc<Watch<S>> {
        self.watch.clone()
    }

    /// Rule 1: registers the watch. Gives a cause when the session is no good any more.
    #[inline]
    pub(crate) fn start_watch(&mut self) -> Option<Cause> {
        self.watch.is_fired.store(false, SeqCst);
        match self.session.conn_mut().poll_peer(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => None,
            Poll::Ready(event) => Some(cause_of(&event)),
        }
    }
}

fn cause_of(event: &PeerEvent) -> Cause {
    match event {
        PeerEvent::Fin => Cause::IdleTimeoutPeer,
        PeerEvent::Reset(_) => Cause::ResetIdle,
        PeerEvent::Data => Cause::ParseDesync,
    }
}

impl<S: Session> Watch<S> {
    /// Rule 3: takes the session back out if something happened to it on its way to the stock.
    #[inline]
    pub(crate) fn after_return(&self) {
        if self.is_fired.load(SeqCst) {
            self.take();
        }
    }

    fn take(&self) {
        let Some((bucket, id)) = self.home.get() else { return };
        // Dropping what was taken closes it: `Pooled::evicted`.
        drop(bucket.upgrade().and_then(|bucket| bucket.take_idle(*id)));
    }
}

impl<S: Session> Wake for Watch<S> {
    fn wake(self: Arc<Self>) {
        self.is_fired.store(true, SeqCst);
        self.take();
    }
}

impl<S: Session> Pooled for Slot<S> {
    /// Has the reactor seen anything? Free of syscalls when it has not.
    fn is_usable(&mut self) -> bool {
        match self.session.conn_mut().try_peer() {
            None => true,
            Some(_) => {
                self.verdict = Some(Cause::StaleOnCheckout);
                false
            }
        }
    }

    fn evicted(mut self, cause: EvictCause) {
        let by_pool = match cause {
            EvictCause::IdleTimeout => Cause::IdleTimeoutLocal,
            EvictCause::Lifetime => Cause::Lifetime,
            EvictCause::Capacity => Cause::CapacityEvict,
            EvictCause::StaleOnCheckout => Cause::StaleOnCheckout,
            EvictCause::Drain => Cause::Shutdown,
            EvictCause::PeerClosed => {
                // What the watch saw stands in the kernel still.
                self.session.conn_mut().try_peer().map_or(Cause::IdleTimeoutPeer, |event| cause_of(&event))
            }
            _ => Cause::Dropped,
        };
        self.session.conn().end(self.verdict.unwrap_or(by_pool));
    }
}
