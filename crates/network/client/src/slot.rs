//! A session as the pool keeps it, with the watch that notices when its peer goes while it is idle.
//!
//! Rules:
//! 1. Before a session goes to stock its connection is asked for peer events with the watch's waker: whatever happens
//!    to it from then on calls [`Wake::wake`] on the reactor's thread.
//! 2. The watch borrows exactly its own session from the stock, looks what happened, and closes it or puts it back: a
//!    waker may be called late, for what its last holder has dealt with, and TLS has records that mean nothing to us.
//!    If the session is lent by then, nothing happens: its new holder sees the event itself.
//! 3. An event between the registration and the arrival in stock finds nothing there. It leaves `is_fired`, which
//!    [`park`] looks at afterwards.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use millstream_base::EngineId;
use millstream_pool::{Bucket, EntryId, EvictCause, Lent, Pooled};
use millstream_ports::Level;
use millstream_runtime::{Timer, Worker, now};
use millstream_transport::{Cause, ConnState, PeerEvent};

use crate::habits::Habits;
use crate::lease::shard;
use crate::pace::Pace;
use crate::{ResetIdle, Session};

/// A session as the pool keeps it.
pub(crate) struct Slot<S: Session> {
    pub(crate) session: S,
    pub(crate) timer: Timer,
    /// Whose reactor it belongs to.
    pub(crate) worker: Worker,
    waker: Waker,
    watch: Arc<Watch<S>>,
    habits: Arc<Habits>,
    resets: ResetIdle,
    /// When it went to stock, and for how long it may lie there, as far as its peer's patience is known.
    parked: Option<(Instant, Duration)>,
    /// Why it must go, once the watch or a checkout knows.
    verdict: Option<Cause>,
}

/// Notices what happens to an idle session.
pub(crate) struct Watch<S: Session> {
    is_fired: AtomicBool,
    home: OnceLock<Home<S>>,
}

/// Where a session lives.
struct Home<S: Session> {
    bucket: Weak<Bucket<Slot<S>>>,
    id: EntryId,
    engine: EngineId,
}

impl<S: Session> Slot<S> {
    pub(crate) fn new(session: S, worker: Worker, habits: Arc<Habits>, resets: ResetIdle) -> Self {
        let watch = Arc::new(Watch { is_fired: AtomicBool::new(false), home: OnceLock::new() });
        let (timer, waker) = (worker.wheel().timer(), Waker::from(watch.clone()));
        Self { session, timer, worker, waker, watch, habits, resets, parked: None, verdict: None }
    }

    /// Is a reset welcome, if it can lose nothing?
    fn wants_reset(&self) -> bool {
        let life = self.session.conn().life();
        let is_idle = life.state() == ConnState::Idle;
        let level = || life.table().ports().level(life.peer().as_tcp(), std::time::Instant::now());
        is_idle
            && match self.resets {
                ResetIdle::Never => false,
                ResetIdle::UnderPressure => level() >= Level::Tight,
                ResetIdle::Always => true,
            }
    }

    /// Rule 1: registers the watch. Gives a cause when the session is no good any more.
    #[inline]
    fn start_watch(&mut self) -> Option<Cause> {
        self.watch.is_fired.store(false, SeqCst);
        // Outside of the caller's budget: a task that has used it up would be told `Pending` and its waker, which is
        // the watch here, be called for nothing.
        let peek = std::future::poll_fn(|cx| self.session.conn_mut().poll_peer(cx));
        let mut peek = std::pin::pin!(tokio::task::unconstrained(peek));
        match peek.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => None,
            Poll::Ready(event) => Some(cause_of(&event)),
        }
    }
}

/// Tells the watch where the session lives; once, when it has its place in the pool.
pub(crate) fn settle<S: Session>(lent: &Lent<Slot<S>>, engine: EngineId) {
    let home = Home { bucket: Arc::downgrade(lent.bucket()), id: lent.id(), engine };
    // A second call would say the same.
    let _ = lent.watch.home.set(home);
}

/// Into the stock, watched, for no longer than `keep`.
#[inline]
pub(crate) fn park<S: Session>(mut lent: Lent<Slot<S>>, engine: EngineId, now: Instant, keep: Duration) {
    lent.timer.disarm();
    let life = lent.session.conn().life();
    if Pace::wants_use(life.messages()) && life.state() == ConnState::Busy {
        lent.habits.pace.used_for(now.saturating_duration_since(life.changed()));
    }
    life.set_state(ConnState::Idle, now);
    let keep = keep.min(lent.habits.keep());
    lent.parked = Some((now, keep));
    if let Some(cause) = lent.start_watch() {
        return end(lent, cause, EvictCause::PeerClosed);
    }
    let watch = lent.watch.clone();
    lent.give_back_until(shard(engine), now, keep);
    if watch.is_fired.load(SeqCst) {
        watch.look();
    }
}

/// Closes a session.
pub(crate) fn end<S: Session>(mut lent: Lent<Slot<S>>, cause: Cause, counted_as: EvictCause) {
    lent.verdict = Some(cause);
    lent.close(counted_as);
}

/// Has it lain idle for most of what its peer allows? Then it may be closed while a request is on its way.
#[inline]
pub(crate) fn is_late<S: Session>(lent: &Lent<Slot<S>>) -> bool {
    let idle = lent.idle_for();
    !idle.is_zero() && lent.parked.is_some_and(|(_, keep)| keep != Duration::MAX && idle > keep / 5 * 4)
}

/// Closes a session and keeps its place.
pub(crate) fn vacate<S: Session>(lent: Lent<Slot<S>>, cause: Cause) -> millstream_pool::Permit<Slot<S>> {
    let (mut slot, permit) = lent.detach();
    slot.session.conn_mut().see_end();
    slot.session.conn().end(cause);
    permit
}

fn cause_of(event: &PeerEvent) -> Cause {
    match event {
        PeerEvent::Fin => Cause::IdleTimeoutPeer,
        PeerEvent::Reset(_) => Cause::ResetIdle,
        PeerEvent::Data => Cause::ParseDesync,
    }
}

impl<S: Session> Watch<S> {
    /// Rule 2.
    #[cold]
    fn look(&self) {
        let Some(home) = self.home.get() else { return };
        let Some(mut lent) = home.bucket.upgrade().and_then(|bucket| bucket.lend_idle(home.id)) else {
            return;
        };
        let now = now();
        let (since, keep) = lent.parked.unwrap_or((now, Duration::MAX));
        let age = now.saturating_duration_since(since);
        match lent.session.conn_mut().try_peer() {
            Some(event) => {
                if matches!(event, PeerEvent::Fin) {
                    lent.habits.on_closed(age, now);
                }
                end(lent, cause_of(&event), EvictCause::PeerClosed);
            }
            None => park(lent, home.engine, now, keep.saturating_sub(age)),
        }
    }
}

impl<S: Session> Wake for Watch<S> {
    fn wake(self: Arc<Self>) {
        self.is_fired.store(true, SeqCst);
        self.look();
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
            EvictCause::PeerClosed => Cause::IdleTimeoutPeer,
            EvictCause::Drain => Cause::Shutdown,
            _ => Cause::Dropped,
        };
        self.session.conn_mut().see_end();
        let conn = self.session.conn();
        // Only what the pool evicts has been idle: else a message may be under way.
        if self.verdict.is_none() && self.wants_reset() {
            conn.reset_if_quiescent();
        }
        conn.end(self.verdict.unwrap_or(by_pool));
    }
}
