//! Remembers answers, and asks each question once at a time.
//!
//! Rules:
//! 1. `state` is touched under its lock only; a flight's own state under the flight's lock. Where both are held, that of
//!    the cache was taken first.
//! 2. Nothing of the user's runs under a lock: no resolver, clock, spawn hook or waker.
//! 3. A flight is in `state.flights` from its first caller until its outcome is known, or until its last caller leaves.
//!    Callers join it only there, under the cache's lock; so whoever finds one will be told how it ends.
//! 4. A flight's question is asked by one caller at a time, its driver, who owns the future: the task that was spawned,
//!    else the caller that is polled first. A driver that goes away puts the future back, half done as it is, and wakes
//!    the others: the first to be polled goes on with it.
//! 5. A question whose last caller has left is dropped outside of all locks, so that the next caller may already be asking
//!    anew: harmless, the old one is answered to nobody.

mod flight;
mod names;
mod options;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_base::{Deadline, Error, Result};

pub use flight::Lookup;
use flight::{Flight, Step};
use names::{Answer, Found, Names};
pub use options::{CacheOptions, Task};

use crate::{Resolve, Resolved, Resolving};

/// What a cache has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Names remembered now.
    pub names: usize,
    /// Questions under way now.
    pub asking: usize,
    /// Calls answered at once with what holds, failures included.
    pub hits: u64,
    /// Calls answered with what holds no more.
    pub stale: u64,
    /// Calls that had to wait.
    pub misses: u64,
    /// Questions asked.
    pub asked: u64,
    /// Questions that failed.
    pub failed: u64,
    /// Names forgotten to make room.
    pub evicted: u64,
}

/// Answers of a resolver, remembered for as long as they hold. Clones share them.
///
/// Needs no runtime: of the callers that miss the first to be polled asks, the others wait for its answer, and if it goes
/// away one of them goes on. After its time an answer is given out a while longer while one caller, or [`CacheOptions::spawn`], asks again.
///
/// ```
/// # use millstream_upstream::{Resolve, Resolved, Resolving};
/// # struct Table;
/// # impl Resolve for Table {
/// #     fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
/// #         let here = [std::net::IpAddr::from([127, 0, 0, 1])];
/// #         Box::pin(async move { Ok(Resolved::new(here, std::time::Duration::from_secs(60))) })
/// #     }
/// # }
/// # async fn call() -> millstream_base::Result<()> {
/// use millstream_upstream::{Cache, CacheOptions};
/// let cache = Cache::new(Table, CacheOptions::default());
/// let first = cache.lookup("db.example").await?;
/// assert!(cache.lookup("DB.example").is_known());
/// # drop(first);
/// # Ok(()) }
/// # let mut call = std::pin::pin!(call());
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(call.as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
pub struct Cache<R> {
    resolver: Arc<R>,
    shared: Arc<Shared>,
}

/// All but the resolver.
struct Shared {
    options: CacheOptions,
    state: Mutex<State>,
}

struct State {
    names: Names,
    flights: HashMap<Arc<str>, Arc<Flight>>,
    stats: CacheStats,
}

impl<R: Resolve> Cache<R> {
    /// In front of this resolver.
    pub fn new(resolver: R, options: CacheOptions) -> Self {
        let state = State {
            names: Names::new(options.max_names.max(1)),
            flights: HashMap::new(),
            stats: CacheStats::default(),
        };
        Self { resolver: Arc::new(resolver), shared: Arc::new(Shared { options, state: Mutex::new(state) }) }
    }

    /// The addresses of `host`: a name, or the text of an address, with or without brackets, which is not asked for.
    ///
    /// Ready at the first poll when the answer is known. Dropping it loses nothing: another caller goes on with the
    /// question, and if there is none it is given up.
    ///
    /// # Errors
    ///
    /// What the resolver says, or said a moment ago; [`Kind::Invalid`](millstream_base::Kind::Invalid) for what can't
    /// be a name.
    pub fn lookup(&self, host: &str) -> Lookup {
        if let Some(ip) = literal(host) {
            return self.known(Ok(Resolved::new([ip], self.shared.options.ttl_max)));
        }
        let host = match name(host) {
            Ok(host) => host,
            Err(error) => return self.known(Err(error)),
        };
        let now = (self.shared.options.clock)();
        let mut state = self.shared.lock();
        match state.names.find(&host, now) {
            Found::Fresh(answer, ttl) => {
                state.stats.hits += 1;
                drop(state);
                self.known(answer.result(&host, ttl))
            }
            Found::Stale(addresses, wants_refresh) => {
                let old = Resolved::new(addresses, Duration::ZERO);
                state.stats.stale += 1;
                if !wants_refresh || state.flights.contains_key(&*host) {
                    drop(state);
                    return self.known(Ok(old));
                }
                self.ask(state, &host, Some(old))
            }
            Found::Missing => {
                state.stats.misses += 1;
                self.ask(state, &host, None)
            }
        }
    }

    /// Forgets a name: it has been seen to lead nowhere.
    pub fn forget(&self, host: &str) {
        if let Ok(host) = name(host) {
            self.shared.lock().names.remove(&host);
        }
    }

    /// The numbers now.
    pub fn stats(&self) -> CacheStats {
        let state = self.shared.lock();
        CacheStats { names: state.names.len(), asking: state.flights.len(), ..state.stats }
    }

    fn known(&self, result: Result<Resolved>) -> Lookup {
        Lookup::new(&self.shared, Step::Known(result))
    }

    /// Joins the flight of this name, or starts one: rule 4.
    fn ask(&self, mut state: MutexGuard<'_, State>, host: &str, old: Option<Resolved>) -> Lookup {
        if let Some(flight) = state.flights.get(host) {
            return Lookup::new(&self.shared, Step::Flying(flight.join(old)));
        }
        let name: Arc<str> = host.into();
        let (resolver, asked) = (Arc::clone(&self.resolver), Arc::clone(&name));
        let question: Resolving<'static> = Box::pin(async move { resolver.resolve(&asked).await });
        state.stats.asked += 1;
        let Some(spawn) = &self.shared.options.spawn else {
            let flight = Flight::parked(Arc::clone(&name), question);
            let caller = flight.join(old);
            state.flights.insert(name, flight);
            drop(state);
            return Lookup::new(&self.shared, Step::Flying(caller));
        };
        let (flight, driver) = Flight::driven(Arc::clone(&name), question);
        state.flights.insert(name, Arc::clone(&flight));
        let caller = match old {
            Some(old) => Step::Known(Ok(old)),
            None => Step::Flying(flight.join(None)),
        };
        drop(state);
        let driver = Lookup::new(&self.shared, Step::Flying(driver));
        spawn(Box::pin(async move { drop(driver.await) }));
        Lookup::new(&self.shared, caller)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the outcome of a flight, which nobody can join from here on.
    fn land(&self, flight: &Arc<Flight>, answer: &Answer, ttl: Duration) {
        let now = (self.options.clock)();
        let mut state = self.lock();
        state.flights.remove(flight.host());
        match answer {
            Answer::Addresses(_) => {
                let ttl = ttl.clamp(self.options.ttl_min, self.options.ttl_max);
                let fresh = Deadline::after(now, ttl).moment();
                let end = Deadline::after(fresh, self.options.stale).moment();
                state.names.put(flight.host(), answer.clone(), fresh, end);
            }
            Answer::Failure(failure) => {
                state.stats.failed += 1;
                if failure.is_lasting() {
                    let until = Deadline::after(now, self.options.negative).moment();
                    state.names.put_failure(flight.host(), answer.clone(), now, until);
                }
            }
        }
        state.stats.evicted = state.names.evicted();
    }
}

impl<R: Resolve> Resolve for Cache<R> {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(self.lookup(host))
    }
}

impl<R> Clone for Cache<R> {
    fn clone(&self) -> Self {
        Self { resolver: Arc::clone(&self.resolver), shared: Arc::clone(&self.shared) }
    }
}

impl<R: Resolve> fmt::Debug for Cache<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// The name as it is asked for: DNS does not tell upper from lower case.
fn name(host: &str) -> Result<Cow<'_, str>> {
    let is_odd = |byte: u8| byte <= b' ' || byte == 0x7f;
    if host.is_empty() || host.len() > NAME_BYTES || host.bytes().any(is_odd) {
        return Err(Error::invalid("not a host name"));
    }
    Ok(match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    })
}

/// The longest name of DNS in text, with the dot at its end: RFC 1035 section 2.3.4.
const NAME_BYTES: usize = 254;
