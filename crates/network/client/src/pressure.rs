//! What callers do when there is no local port for their destination: they wait, one of them tries.
//!
//! A `connect` without a free port searches the whole range in vain. So the first that fails closes a gate: whoever has not
//! called `connect` yet does not, and waits in line (connections.md F11). The first in line asks the kernel's list of sockets,
//! which searches nothing, until it shows a free port, and tries then. A port comes free when a connection of the destination
//! ends, when a TIME_WAIT is over, or when another program lets go of one; a connection that a call gives back meanwhile serves
//! as well.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_ports::Shortage;
use millstream_runtime::{Worker, now};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::per_target::PerTarget;

/// The gates of all destinations that connections were made to.
pub(crate) type Gates = PerTarget<Gate>;

/// One destination, short of ports or not.
pub(crate) struct Gate {
    is_closed: AtomicBool,
    turn: Semaphore,
    known: Mutex<Known>,
}

/// What is known of a shortage.
#[derive(Default)]
struct Known {
    /// Where `connect` failed, if it is one address only.
    destination: Option<SocketAddr>,
    /// When it failed last.
    failed: Option<Instant>,
    /// What the kernel said last.
    shortage: Option<Arc<Shortage>>,
    /// From when on the kernel may be asked, or `connect` called, again; and how long it was till then.
    due: Option<(Instant, Duration)>,
}

/// Between two looks for a connection that was given back: nothing tells of one, and it costs less than a microsecond.
const TICK: Duration = Duration::from_millis(1);
/// Before the first look at the kernel's list.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// No longer than this between two looks, or, where the kernel can't be asked, between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A look is followed by a pause of this many times its length.
const PAUSES: u32 = 10;
/// The kernel may find a port where its list shows none (`tcp_tw_reuse`): so often it is asked to.
const TRY_EVERY: Duration = Duration::from_secs(1);

impl Default for Gate {
    fn default() -> Self {
        Self { is_closed: AtomicBool::new(false), turn: Semaphore::new(1), known: Mutex::default() }
    }
}

impl Gate {
    /// Had somebody no port, and has nobody found one since?
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    /// There was no port for any of these addresses.
    pub(crate) fn close(&self, addresses: impl Iterator<Item = SocketAddr>) {
        let mut addresses = addresses.fuse();
        let destination = addresses.next().filter(|_| addresses.next().is_none());
        let now = now();
        let mut known = self.lock();
        (known.destination, known.failed) = (destination, Some(now));
        known.due.get_or_insert((now + FIRST_PAUSE, FIRST_PAUSE));
        drop(known);
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

    /// Waits for the turn to try; `None` when `limit` passes first. Dropping the turn gives it to the next in line.
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn turn(&self, home: &Worker, limit: Deadline) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.turn.try_acquire() {
            return Some(permit);
        }
        until(home, limit, self.turn.acquire()).await?.ok()
    }

    /// Is it worth a `connect` now? For whose turn it is. Asks the kernel's list, on a thread of its own, when it is time to.
    pub(crate) async fn may_connect(&self, home: &Worker) -> bool {
        if !self.is_closed() {
            return true;
        }
        let begun = now();
        let (destination, before, due) = {
            let known = self.lock();
            (known.destination, known.shortage.clone(), known.due)
        };
        if due.is_some_and(|(due, _)| begun < due) {
            return false;
        }
        // Who holds the ports is asked once: it takes a walk over the processes.
        let is_first = before.is_none();
        let looked = match (destination, home.engine()) {
            (Some(at), Some(engine)) => {
                let look = move || if is_first { Shortage::look_closely(at) } else { Shortage::look(at) };
                engine.blocking(look).await.ok().and_then(|seen| seen.ok())
            }
            _ => None,
        };
        let now = now();
        let pause = match looked {
            Some(_) if is_first => FIRST_PAUSE,
            Some(_) => now.saturating_duration_since(begun) * PAUSES,
            None => due.map_or(FIRST_PAUSE, |(_, pause)| pause * 2),
        };
        let pause = pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let mut known = self.lock();
        known.due = Some((now + pause, pause));
        let Some(mut shortage) = looked else { return true };
        if let Some(before) = before {
            shortage.holders.clone_from(&before.holders);
        }
        let is_time = known.failed.is_none_or(|failed| now.saturating_duration_since(failed) >= TRY_EVERY);
        let is_free = shortage.free() > 0;
        known.shortage = Some(Arc::new(shortage));
        is_free || is_time
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits before the next look at the stock; false when `limit` has passed by then.
///
/// # Errors
/// When the engine has stopped.
pub(crate) async fn tick(home: &Worker, limit: Deadline) -> Result<bool> {
    // By the runtime's clock: the wheel's steps are sixteen times as long.
    home.spawn(async || tokio::time::sleep(TICK).await).await?;
    Ok(!limit.is_past(now()))
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
