//! What callers do when there is no local port for their destination: they wait, one of them tries.
//!
//! A `connect` without a free port searches the whole range in vain. So the first that fails closes a gate: whoever has not
//! called `connect` yet does not, and waits in line (connections.md F11). The first in line asks the kernel's list of sockets,
//! which searches nothing, until it shows a free port, and tries then. A port comes free when a connection of the destination
//! ends, when a TIME_WAIT is over, or when another program lets go of one; a connection that a call gives back meanwhile serves
//! as well.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_base::{Deadline, Error, Kind, Origin, Phase, Seen};
use millstream_ports::Shortage;
use millstream_runtime::{Worker, now};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Target;

/// The gate of each destination that had no port.
#[derive(Default)]
pub(crate) struct Pressure(Mutex<HashMap<Target, Arc<Gate>>>);

/// One destination, short of ports or not.
pub(crate) struct Gate {
    is_closed: AtomicBool,
    turn: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Where `connect` failed, if it is one address only.
    destination: Option<SocketAddr>,
    /// What the kernel said last.
    shortage: Option<Arc<Shortage>>,
}

/// Whose turn it is to try. Dropping it gives the turn to the next in line.
pub(crate) struct Turn<'a> {
    gate: &'a Gate,
    _permit: SemaphorePermit<'a>,
    pause: Duration,
    /// When `connect` failed last.
    tried: Instant,
    described: bool,
}

/// Between two looks, at least. A connection's end is seen that soon.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// No longer than this between two looks, or, where the kernel does not show its sockets, between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A look may take this part of the time.
const LOOKS_PART: u32 = 10;
/// The kernel may find a port where its list shows none (`tcp_tw_reuse`): so often it is asked to.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Destinations remembered; when there are more, those that are not short go.
const MOST_GATES: usize = 10_000;

impl Pressure {
    /// The gate of this destination. Asked for when a connection is made.
    pub(crate) fn gate(&self, target: &Target) -> Arc<Gate> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(target) {
            return gate.clone();
        }
        if gates.len() >= MOST_GATES {
            gates.retain(|_, gate| gate.is_closed() || Arc::strong_count(gate) > 1);
        }
        gates.entry(target.clone()).or_insert_with(|| Arc::new(Gate::new())).clone()
    }
}

impl Gate {
    fn new() -> Self {
        Self { is_closed: AtomicBool::new(false), turn: Semaphore::new(1), known: Mutex::default() }
    }

    /// Had somebody no port, and has nobody found one since?
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    /// There was no port for any of these addresses.
    pub(crate) fn close(&self, addresses: impl Iterator<Item = SocketAddr>) {
        let mut addresses = addresses.fuse();
        let destination = addresses.next().filter(|_| addresses.next().is_none());
        self.lock().destination = destination;
        self.is_closed.store(true, Relaxed);
    }

    /// There was one.
    pub(crate) fn open(&self) {
        if self.is_closed() {
            self.is_closed.store(false, Relaxed);
            *self.lock() = Known::default();
        }
    }

    /// The error of whoever gives up, or does not try.
    #[cold]
    pub(crate) fn error(&self) -> Error {
        let shortage = self.lock().shortage.clone();
        let text =
            shortage.map_or("no local port is free for this destination".to_owned(), |one| one.to_string());
        Error::new(Kind::PortsExhausted, Origin::Local, text).with_phase(Phase::Connect).with_seen(Seen::No)
    }

    /// Waits for the turn; `None` when `limit` passes first.
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn turn(&self, home: &Worker, limit: Deadline) -> Option<Turn<'_>> {
        let turn =
            |permit, pause, tried| Turn { gate: self, _permit: permit, pause, tried, described: false };
        if let Ok(permit) = self.turn.try_acquire() {
            return Some(turn(permit, FIRST_PAUSE, now()));
        }
        let permit = until(home, limit, self.turn.acquire()).await?.ok()?;
        // It worked for the one before, or something else went wrong: worth a try at once.
        let long_ago = now().checked_sub(TRY_EVERY).unwrap_or_else(now);
        Some(turn(permit, Duration::ZERO, long_ago))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits before the next try; false when `limit` has passed by then.
    pub(crate) async fn pause(&mut self, home: &Worker, limit: Deadline) -> bool {
        if !self.pause.is_zero() {
            let rest = Deadline::after(now(), self.pause);
            until(home, rest.earlier(limit), std::future::pending::<()>()).await;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        !limit.is_past(now())
    }

    /// Is it worth a `connect`? Asks the kernel's list, on a thread of its own.
    pub(crate) async fn may_connect(&mut self, home: &Worker) -> bool {
        let destination = self.gate.lock().destination;
        let (Some(destination), Some(engine)) = (destination, home.engine()) else { return true };
        let closely = !self.described;
        let begun = now();
        let look =
            move || if closely { Shortage::look_closely(destination) } else { Shortage::look(destination) };
        let Ok(Ok(mut shortage)) = engine.blocking(look).await else { return true };
        let is_time = begun.saturating_duration_since(self.tried) >= TRY_EVERY;
        let is_free = shortage.free() > 0;
        let mut known = self.gate.lock();
        if let Some(before) = known.shortage.as_ref().filter(|_| !closely) {
            shortage.holders.clone_from(&before.holders);
        }
        known.shortage = Some(Arc::new(shortage));
        drop(known);
        self.described = true;
        if is_free || is_time {
            self.tried = begun;
            return true;
        }
        let took = now().saturating_duration_since(begun);
        self.pause = (took * LOOKS_PART).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        false
    }
}

/// The output, unless the moment comes first. On any runtime: the timer is a worker's.
async fn until<T>(home: &Worker, limit: Deadline, work: impl Future<Output = T>) -> Option<T> {
    let timer = home.wheel().timer();
    timer.arm(limit.moment());
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => timer.poll_expired(cx).map(|()| None),
    })
    .await
}
