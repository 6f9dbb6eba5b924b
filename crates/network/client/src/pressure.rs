//! What callers do when local ports for their destination are short: they wait in the pool's queue, and a keeper lets them dial as
//! ports come free.
//!
//! Rules:
//! 1. A dial that finds no port takes its place out of the pool ([`Permit::withdraw`](millstream_pool::Permit::withdraw)): so
//!    many connections there may be, and whoever wants one waits in the pool's queue, where a connection that another call gives
//!    back serves it as well. A search for a port where there is none looks at all of them in vain (connections.md F11).
//! 2. From then on the gate is closed: no dial calls `connect` but those that the keeper has allowed. The keeper asks the
//!    kernel's list of sockets, which searches nothing, and lets in as many as there are free ports and ports of ours to take over.
//! 3. Where ports are only getting scarce ([`Level::Tight`]), a dial that is not the only one takes its place out of the pool
//!    likewise.
//! 4. Each closing raises the count of closings. The keeper opens the gate only if none came since it looked: so there is one
//!    keeper while a gate is closed, and none else.
//! 5. With an open gate the pool's limit is whole again: the keeper raises it behind the opening, and whoever takes a place out
//!    behind that, refused while the gate was closed, puts the limit back. Else callers would wait that nobody lets in.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin, Phase, Seen};
use millstream_pool::{Bucket, Permit, Pooled};
use millstream_ports::{Level, Ports, Shortage};
use millstream_runtime::{Worker, now, spawn_local};

use crate::per_target::PerTarget;

/// The gates of all destinations that connections were made to.
pub(crate) type Gates = PerTarget<Gate>;

/// One destination, short of ports or not.
#[derive(Default)]
pub(crate) struct Gate {
    is_closed: AtomicBool,
    /// Did `connect` find no port? Else ports are scarce only.
    is_short: AtomicBool,
    /// Dials that the keeper has allowed.
    allowed: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    closings: u64,
    is_kept: bool,
    /// Where ports are short.
    addresses: Vec<SocketAddr>,
    /// What the kernel said last.
    shortage: Option<Arc<Shortage>>,
}

/// What a keeper watches over.
pub(crate) struct Watched<S: Pooled> {
    pub(crate) bucket: Arc<Bucket<S>>,
    pub(crate) ports: Ports,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) sources: Vec<IpAddr>,
    /// How many connections there may be when nothing is short.
    pub(crate) max_open: usize,
    pub(crate) home: Worker,
}

/// Before the first look at the kernel's list, and at least between two.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// At most between two.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A look is followed by a pause of this many times its length, so that looking takes a third of a thread at most.
const PAUSES: u32 = 2;
/// The kernel may find a port where its list shows none (`tcp_tw_reuse`): so often one dial is let in.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// When nobody has waited for so long, the gate opens, and whoever comes next finds out.
const QUIET: Duration = Duration::from_secs(1);
/// Of all ports so many percent must be free for the gate to open while callers wait.
const ENOUGH_PERCENT: u32 = 10;

impl Gate {
    /// Is it closed, for whatever reason?
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    /// May a dial call `connect`? Asked once for each.
    pub(crate) fn lets_dial(&self) -> bool {
        let one_less = |allowed: usize| allowed.checked_sub(1);
        !self.is_closed()
            || !self.is_short.load(Relaxed)
            || self.allowed.fetch_update(Relaxed, Relaxed, one_less).is_ok()
    }

    /// There was no port (`is_short`), or there are few. Called before the place is taken out of the pool.
    pub(crate) fn close<S: Pooled>(self: &Arc<Self>, is_short: bool, watched: impl FnOnce() -> Watched<S>) {
        let is_first = {
            let mut known = self.lock();
            known.closings += 1;
            if is_short {
                self.is_short.store(true, Relaxed);
            }
            self.is_closed.store(true, Relaxed);
            !std::mem::replace(&mut known.is_kept, true)
        };
        if is_first {
            let (gate, watched) = (self.clone(), watched());
            self.lock().addresses.clone_from(&watched.addresses);
            let home = watched.home.clone();
            // An error means that the engine has stopped: nobody dials any more.
            let _ = home.run(move || drop(spawn_local(gate.keep(watched))));
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

    /// The error of whoever has waited in vain: it tells who has the ports, which takes a look if nobody looked yet.
    #[cold]
    pub(crate) async fn full_error(&self, home: &Worker, ports: &Ports, sources: &[IpAddr]) -> Error {
        let (is_known, addresses) = {
            let known = self.lock();
            (known.shortage.is_some(), known.addresses.clone())
        };
        if !is_known {
            self.look(home, ports, &addresses, sources).await;
        }
        self.error()
    }

    /// Lets callers dial as ports come free, until there are enough or nobody waits.
    async fn keep<S: Pooled>(self: Arc<Self>, watched: Watched<S>) {
        let Watched { bucket, ports, addresses, sources, max_open, home } = watched;
        let (mut pause, mut tried, mut waited) = (FIRST_PAUSE, now(), now());
        // How many closings there were when dials were let in last.
        let mut let_in_at = None;
        loop {
            // By the runtime's clock: the wheel's steps are eight times as long.
            tokio::time::sleep(pause).await;
            let closings = self.lock().closings;
            let waiting = bucket.waiting();
            let begun = now();
            if waiting > 0 {
                waited = begun;
            }
            let is_quiet = begun.saturating_duration_since(waited) >= QUIET;
            let seen = if waiting > 0 { self.look(&home, &ports, &addresses, &sources).await } else { None };
            let is_tight = ports.level(addresses.iter().copied(), Instant::now()) >= Level::Tight;
            let room = ports.room(addresses.iter().copied(), Instant::now()) as usize;
            let (free, budget) = seen.as_ref().map_or((0, 0), |seen| (seen.free(), seen.budget));
            let has_enough = free > 0 && free * 100 >= budget * ENOUGH_PERCENT && !is_tight;
            if (is_quiet || has_enough) && self.open(closings, &bucket, max_open) {
                return;
            }
            let now = now();
            pause = (now.saturating_duration_since(begun) * PAUSES).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let is_time = now.saturating_duration_since(tried) >= TRY_EVERY;
            let places = bucket.places();
            // A dial that failed although ports are free by the list: others have bound them.
            let is_in_vain = let_in_at.is_some_and(|before| closings > before);
            let takeable = ports.takeable(addresses.iter().copied(), Instant::now());
            let more = match (free + takeable) as usize {
                _ if is_in_vain && !is_time => 0,
                0 => usize::from(is_time && waiting > 0),
                free if places > 0 => free.min(room).min(waiting),
                free => free.min(waiting),
            };
            if more > 0 {
                (tried, let_in_at) = (now, Some(self.lock().closings));
                self.allowed.store(more, Relaxed);
                bucket.set_max_open((places + more).min(max_open));
            }
        }
    }

    /// Opens the gate, unless it was closed again since `closings` were counted.
    fn open<S: Pooled>(&self, closings: u64, bucket: &Arc<Bucket<S>>, max_open: usize) -> bool {
        {
            let mut known = self.lock();
            if known.closings != closings {
                return false;
            }
            *known = Known { closings, ..Known::default() };
            self.is_short.store(false, Relaxed);
            self.is_closed.store(false, Relaxed);
        }
        // Rule 5: behind the opening. Who takes a place out behind this sees that the gate is open: both hold the queue's lock.
        bucket.set_max_open(max_open);
        true
    }

    /// Takes a dial's place out of the pool: rules 1 and 5.
    pub(crate) fn withdraw<S: Pooled>(&self, permit: Permit<S>, max_open: usize) {
        let bucket = permit.bucket().clone();
        permit.withdraw();
        if !self.is_closed() {
            bucket.set_max_open(max_open);
        }
    }

    /// What the kernel's list says, asked on a thread of its own: the address with the most free ports.
    async fn look(
        &self,
        home: &Worker,
        ports: &Ports,
        addresses: &[SocketAddr],
        sources: &[IpAddr],
    ) -> Option<Arc<Shortage>> {
        let before = self.lock().shortage.clone();
        let (addresses, sources) = (addresses.to_vec(), sources.to_vec());
        // Who holds the ports is asked once: it takes a walk over the processes.
        let is_first = before.is_none();
        let private = ports.private_count().saturating_mul(sources.len().max(1) as u32);
        let look = move || {
            let look = |at: &SocketAddr| {
                let seen = if is_first {
                    Shortage::look_closely(*at, &sources)
                } else {
                    Shortage::look(*at, &sources)
                };
                seen.map(|seen| seen.with_private(private))
            };
            addresses.iter().filter_map(|at| look(at).ok()).max_by_key(Shortage::free)
        };
        let mut seen = home.engine()?.blocking(look).await.ok()??;
        if let Some(before) = before {
            seen.holders.clone_from(&before.holders);
        }
        let seen = Arc::new(seen);
        self.lock().shortage = Some(seen.clone());
        Some(seen)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use millstream_pool::{EvictCause, Grant, Pool, PoolOptions};

    use super::*;

    struct Nothing;

    impl Pooled for Nothing {
        fn is_usable(&mut self) -> bool {
            true
        }

        fn evicted(self, _cause: EvictCause) {}
    }

    /// A dial that was refused while the gate was closed takes its place out when the gate has opened, and its keeper gone.
    #[test]
    fn place_withdrawn_behind_an_open_gate_is_put_back() {
        let mut options = PoolOptions::default();
        options.max_open = 1;
        let pool = Pool::<&str, Nothing>::new(options);
        let (bucket, gate) = (pool.bucket(&"here"), Gate::default());
        let permit = || bucket.try_reserve().expect("there is a place");
        gate.is_closed.store(true, Relaxed);
        gate.withdraw(permit(), 1);
        assert_eq!((bucket.max_open(), bucket.places()), (0, 0), "the keeper gives it back");
        assert!(gate.open(0, &bucket, 1) && !gate.is_closed());
        gate.withdraw(permit(), 1);
        assert_eq!((bucket.max_open(), bucket.places()), (1, 0), "nobody else would");
        let mut checkout = std::pin::pin!(bucket.checkout(0, Instant::now()));
        let polled = checkout.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(matches!(polled, std::task::Poll::Ready(Ok(Grant::Dial(_)))));
    }
}
