//! One accepted connection in the hands of its protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use millstream_runtime::{Stage, Timer, Worker};
use millstream_transport::{Cause, Conn, ConnState, Life};

use crate::server::Shared;
use crate::stats::Event;
use crate::{Context, ServerOptions};

/// One accepted connection in the hands of its protocol: the bytes, one deadline, and what the server says.
///
/// Dropping it closes the connection and gives its place to another.
pub struct Session {
    _broken_off: BrokenOff, // first: it says why, before the connection ends
    /// The bytes.
    pub conn: Conn,
    timer: Timer,
    context: Option<Context>,
    place: Place,
}

/// What a connection holds for as long as it lives: rule of the server's limit.
pub(crate) struct Place {
    reserved: Reserved,
    seat: usize,
}

impl Place {
    /// Sits down on the reserved place's worker, where a drain and the limit find it by its timer.
    pub(crate) fn enter(conn: &Conn, timer: &Timer, reserved: Reserved) -> Self {
        let seats = &reserved.shared.seats[reserved.worker().index()];
        let seat = seats.enter(conn.shared_life(), timer.alarm());
        Self { reserved, seat }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.reserved.shared
    }

    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.shared().draining.load(Relaxed)
    }

    fn worker(&self) -> &Worker {
        self.reserved.worker()
    }
}

impl Session {
    /// A newcomer whose protocol begins now.
    pub(crate) fn begin(conn: Conn, timer: Timer, place: Place) -> Self {
        let context = place.shared().options.context.as_ref().map(|make| make(&conn));
        let _broken_off = BrokenOff { life: conn.shared_life(), worker: place.worker().clone() };
        Self { _broken_off, conn, timer, context, place }
    }

    /// The connection's one deadline: idle, head or body, whatever the protocol waits for now.
    #[inline]
    pub fn timer(&self) -> &Timer {
        &self.timer
    }

    /// The bytes and the deadline, to use at the same time.
    pub fn conn_and_timer(&mut self) -> (&mut Conn, &Timer) {
        (&mut self.conn, &self.timer)
    }

    /// The connection waits for a message from `now` on, until the idle timeout and its grace are over.
    #[inline]
    pub fn on_idle(&self, now: Instant) {
        self.conn.life().set_state(ConnState::Idle, now);
        self.timer.arm_after(now, self.options().idle_timeout + IDLE_GRACE);
    }

    /// A message is under way from `now` on. The deadline is the protocol's to set.
    #[inline]
    pub fn on_busy(&self, now: Instant) {
        self.conn.life().set_state(ConnState::Busy, now);
    }

    /// Why an idle session whose timer has expired must go.
    pub fn idle_cause(&self) -> Cause {
        if self.timer.is_rung() { Cause::CapacityEvict } else { Cause::IdleTimeoutLocal }
    }

    /// Does the server drain? Then no message may follow the present one. The task is woken when it begins.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.place.is_draining()
    }

    /// The value made for this connection, if the server makes one.
    pub fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// The server's settings.
    #[inline]
    pub fn options(&self) -> &ServerOptions {
        &self.place.shared().options
    }

    /// The worker it lives on.
    pub fn worker(&self) -> &Worker {
        self.place.worker()
    }

    /// Ends it for this reason.
    pub fn close(self, cause: Cause) {
        if cause == Cause::CapacityEvict {
            self.place.shared().stats.count(Event::EvictedIdle);
        }
        self.conn.close(cause);
    }
}

/// Says why a session that its protocol did not end is dropped.
struct BrokenOff {
    life: Arc<Life>,
    worker: Worker,
}

impl Drop for BrokenOff {
    fn drop(&mut self) {
        if self.life.cause().is_some() {
            return;
        }
        if std::thread::panicking() {
            self.life.end(Cause::Panic);
        } else if self.worker.engine().is_none_or(|engine| engine.stage() == Stage::Stopped) {
            self.life.end(Cause::Shutdown);
        }
    }
}

/// An idle connection is closed this much later than announced, so that a request on its way still finds it open:
/// Node and others do the same (`keepAliveTimeoutBuffer`).
const IDLE_GRACE: Duration = Duration::from_secs(1);

impl Drop for Place {
    fn drop(&mut self) {
        self.shared().seats[self.worker().index()].leave(self.seat);
    }
}

/// A place below the connection limit, and one in the load of the worker it is settled on. Dropping it gives both back.
pub(crate) struct Reserved {
    shared: Arc<Shared>,
    worker: Option<Worker>,
}

impl Reserved {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, worker: None }
    }

    pub(crate) fn worker(&self) -> &Worker {
        self.worker.as_ref().expect("the acceptor settles a connection before it opens it")
    }

    /// Counts it into the load of this worker, once.
    pub(crate) fn settle(&mut self, worker: &Worker) {
        debug_assert!(self.worker.is_none(), "a connection has one worker");
        worker.add_load();
        self.worker = Some(worker.clone());
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.drop_load();
        }
        self.shared.release();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("conn", &self.conn).finish_non_exhaustive()
    }
}
