//! The budgets of a process, and where the next connection gets its port from.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use millstream_sockets::{Diag, Query, Result, State, Sysctls, TimerKind};

use crate::budget::{Seen, TIME_WAIT, Terms};
use crate::held::Before;
use crate::local_ports::DEFAULT_RANGE;
use crate::private_range::PrivateRange;
use crate::source;
use crate::takeover::{self, Takeover};
use crate::{Budget, BudgetSnapshot, Choice, Held, Level, LocalPorts};

/// The budgets of all destinations, and of all addresses that connections are made from. Clones share them.
///
/// ```
/// use millstream_ports::{Left, Level, Ports};
/// use std::time::Instant;
///
/// let (ports, now) = (Ports::default(), Instant::now());
/// let budget = ports.budget([10, 9, 0, 1].into(), ([10, 9, 0, 2], 80).into(), now).expect("there is room");
/// budget.opened(40_000, now);
/// budget.closed(40_000, Left::Waiting, now);
/// assert_eq!((budget.snapshot(now).time_wait, budget.level(now)), (1, Level::Calm));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ports(Arc<Inner>);

/// The budgets to one destination, one for each source. A list is never changed, but replaced when a source comes: so who looks
/// through it has it without a copy, and without the lock.
type List = Arc<[Arc<Budget>]>;

#[derive(Debug)]
struct Inner {
    budgets: Mutex<HashMap<SocketAddr, List>>,
    host: Mutex<Option<Host>>,
    /// How old a TIME_WAIT of ours must be to be taken over, in microseconds; [`NEVER`] if none is.
    min_age: AtomicU64,
    private: Mutex<Option<PrivateRange>>,
    is_takeover_possible: OnceLock<bool>,
    takeover: Takeover,
    /// When the budgets were last gone through for unused ones.
    forgotten: Mutex<Option<Instant>>,
    dice: AtomicU32,
}

/// What the host is set to, for now.
#[derive(Clone, Copy, Debug)]
struct Host {
    ports: u32,
    /// The middle of the range.
    middle: u16,
    tw_reuse: u64,
    tw_reuse_delay: Duration,
}

const NEVER: u64 = u64::MAX;
/// How old a TIME_WAIT of ours must be to be taken over, unless something else is said: the kernel's own default
/// (`tcp_tw_reuse_delay`).
pub const DEFAULT_MIN_AGE: Duration = Duration::from_secs(1);
/// Destinations that have a budget: about 8 MiB, twice that with a private range. When there are more, those without connections and TIME_WAIT go.
const DESTINATIONS_MAX: usize = 4096;

impl Default for Inner {
    fn default() -> Self {
        Self {
            budgets: Mutex::default(),
            host: Mutex::default(),
            min_age: AtomicU64::new(micros(DEFAULT_MIN_AGE)),
            private: Mutex::default(),
            is_takeover_possible: OnceLock::new(),
            takeover: Takeover::default(),
            forgotten: Mutex::default(),
            dice: AtomicU32::new(0x9e37_79b9),
        }
    }
}

impl Ports {
    /// Takes over ports of ours, in the upper half of the host's range, that have been in TIME_WAIT for at least `min_age`, once
    /// 70 % of a budget are held; with `None` never. [`DEFAULT_MIN_AGE`] by default. Where the kernel does not allow it, nothing
    /// is taken over whatever this says.
    pub fn set_takeover(&self, min_age: Option<Duration>) {
        self.0.min_age.store(min_age.map_or(NEVER, micros), Relaxed);
        self.set_terms(Instant::now());
    }

    /// Gives out these ports first, and to nobody but this process: those never used before others, then the one that was released
    /// first, once that is as long ago as [`set_takeover`](Self::set_takeover) says. Unlike ports that the kernel chooses, they are
    /// taken over in whole, and from the first dial on: no other program misses them. When none of them is ready, the kernel's search
    /// finds one as without them. With `None`, as by default, there are none.
    ///
    /// Towards each destination, and from each source, all of them can be used at a time. The kernel must leave them alone: take them
    /// from outside `net.ipv4.ip_local_port_range`, or put them into `net.ipv4.ip_local_reserved_ports`. Another program that binds
    /// one is noticed, and the port left alone for a minute.
    ///
    /// Where it is not known yet whether the kernel lets TIME_WAIT be taken over, that is tried out here, on loopback: 5 ms at most.
    /// If it does not, or while a destination minds, a port is used again once its TIME_WAIT is over.
    ///
    /// # Errors
    /// When the range is empty, has ports below 1024, or such as the kernel chooses: then all stays as it was.
    ///
    /// ```
    /// let ports = millstream_ports::Ports::default();
    /// ports.set_private_range(Some(2000..=2999)).expect("Linux's default range begins at 32768");
    /// assert!(ports.set_private_range(Some(80..=2999)).is_err());
    /// ports.set_private_range(None).expect("none is fine");
    /// ```
    pub fn set_private_range(&self, range: Option<RangeInclusive<u16>>) -> Result<()> {
        let range = range.map(|range| PrivateRange::new(&range, &Sysctls::read())).transpose()?;
        if range.is_some() {
            self.0.is_takeover_possible.get_or_init(takeover::is_possible);
        }
        *self.0.private.lock().unwrap_or_else(PoisonError::into_inner) = range;
        self.set_terms(Instant::now());
        Ok(())
    }

    /// How many ports the private range has.
    pub fn private_count(&self) -> u32 {
        self.private().map_or(0, PrivateRange::len)
    }

    /// The budget from here to there; none where 4,096 destinations have one already: who dials so many is short of ports
    /// towards none of them.
    pub fn budget(&self, source: IpAddr, destination: SocketAddr, now: Instant) -> Option<Arc<Budget>> {
        let find = |all: &HashMap<SocketAddr, List>| {
            all.get(&destination)?.iter().find(|one| one.source() == source).cloned()
        };
        if let Some(found) = find(&self.lock()) {
            return Some(found);
        }
        let terms = self.terms(source);
        let mut all = self.lock();
        if let Some(found) = find(&all) {
            return Some(found);
        }
        if all.len() >= DESTINATIONS_MAX && !self.forget_unused(&mut all, now) {
            return None;
        }
        let budget = Arc::new(Budget::new(source, destination, terms, now));
        let list = all.entry(destination).or_default();
        *list = list.iter().cloned().chain([budget.clone()]).collect();
        Some(budget)
    }

    /// Makes room among the budgets, once a second at most. Is there any?
    fn forget_unused(&self, all: &mut HashMap<SocketAddr, List>, now: Instant) -> bool {
        let mut forgotten = self.0.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        if forgotten.is_some_and(|last| now < last + Duration::from_secs(1)) {
            return false;
        }
        *forgotten = Some(now);
        all.retain(|_, budgets| budgets.iter().any(|one| !one.is_unused(now)));
        all.len() < DESTINATIONS_MAX
    }

    /// The budgets to this destination, from each address that connections to it were made from.
    pub fn towards(&self, destination: SocketAddr) -> Arc<[Arc<Budget>]> {
        self.lock().get(&destination).cloned().unwrap_or_default()
    }

    /// Of all budgets to these destinations, the calmest: what a client may do now.
    pub fn level(&self, destinations: impl IntoIterator<Item = SocketAddr>, now: Instant) -> Level {
        let calmest = |one| self.towards(one).iter().map(|budget| budget.level(now)).min();
        destinations.into_iter().filter_map(calmest).min().unwrap_or_default()
    }

    /// How many connections may be added to these destinations before ports get tight ([`Level::Tight`]): as many as the one with
    /// most room has.
    pub fn room(&self, destinations: impl IntoIterator<Item = SocketAddr>, now: Instant) -> u32 {
        let most = |one| self.towards(one).iter().map(|budget| budget.room(now)).max();
        destinations.into_iter().filter_map(most).max().unwrap_or(u32::MAX)
    }

    /// How many ports of ours towards these destinations could be taken over from TIME_WAIT now.
    pub fn takeable(&self, destinations: impl IntoIterator<Item = SocketAddr>, now: Instant) -> u32 {
        let sum = |one| self.towards(one).iter().map(|budget| budget.takeable(now)).sum::<u32>();
        destinations.into_iter().map(sum).sum()
    }

    /// Where the next connection gets its port from: the private range, if there is one and a port of it is ready; else the kernel's
    /// search while 70 % are not held; else the port of ours that has been in TIME_WAIT for longest, if one has been for long enough.
    /// `is_out`: the search has just found none.
    pub fn choose(
        &self,
        source: Option<IpAddr>,
        destination: SocketAddr,
        is_out: bool,
        now: Instant,
    ) -> Choice {
        if let Some(held) = self.choose_private(source, destination, now) {
            return Choice::Take(held);
        }
        let fits = |budget: &&Arc<Budget>| source.is_none_or(|source| budget.source() == source);
        for budget in self.towards(destination).iter().filter(fits) {
            // Tried out when there is something to gain, and not before: it makes two connections.
            if self.0.is_takeover_possible.get().is_none() && budget.could_take(is_out, now) {
                self.0.is_takeover_possible.get_or_init(takeover::is_possible);
                self.set_terms(now);
            }
            let Some(min_age) = self.min_age() else { continue };
            if let Some((port, before)) = self.0.takeover.take(budget, min_age, is_out, now) {
                return Choice::Take(Held { budget: Some(budget.clone()), port, before });
            }
        }
        Choice::Search
    }

    fn choose_private(&self, source: Option<IpAddr>, destination: SocketAddr, now: Instant) -> Option<Held> {
        self.private()?;
        // Not any address that somebody else dialled from: the kernel's, for whoever names none.
        let source = source.or_else(|| source::towards(destination)).filter(source::is_bindable)?;
        let budget = self.budget(source, destination, now)?;
        let (port, before) = self.0.takeover.take_private(&budget, now)?;
        Some(Held { budget: Some(budget), port, before })
    }

    /// A port that the kernel's search found.
    pub fn hold(&self, local: SocketAddr, destination: SocketAddr, now: Instant) -> Held {
        let budget = self.budget(local.ip(), destination, now);
        budget.iter().for_each(|budget| budget.opened(local.port(), now));
        Held { budget, port: local.port(), before: Before::Free }
    }

    /// These source addresses in the order in which to try them: first that of two picked at random which has more free ports
    /// towards the destination ("power of two choices": M. Mitzenmacher, 2001), then the others, the freest first.
    pub fn rank(&self, sources: &[IpAddr], destination: SocketAddr, now: Instant) -> Vec<IpAddr> {
        let free = |source: &IpAddr| {
            self.budget(*source, destination, now).map_or(u32::MAX, |budget| budget.free(now))
        };
        let mut ranked: Vec<(u32, IpAddr)> = sources.iter().map(|source| (free(source), *source)).collect();
        let count = ranked.len();
        if count > 2 {
            let (first, second) = (self.roll(count), self.roll(count - 1));
            let second = if second < first { second } else { second + 1 };
            let winner = if ranked[first].0 >= ranked[second].0 { first } else { second };
            ranked.swap(0, winner);
            ranked[1..].sort_by_key(|(free, _)| std::cmp::Reverse(*free));
            // A full one is no first choice, whatever the dice say.
            if ranked[0].0 == 0 {
                ranked.rotate_left(1);
            }
        } else {
            ranked.sort_by_key(|(free, _)| std::cmp::Reverse(*free));
        }
        ranked.into_iter().map(|(_, source)| source).collect()
    }

    /// Is this connection open, with nothing on its way in either direction: all that was sent acknowledged, all that came read?
    /// Asks the kernel, in some microseconds; false where it does not say.
    pub fn is_quiescent(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.0.takeover.is_quiescent(local, remote)
    }

    /// Copies of all budgets, by destination and source.
    pub fn snapshots(&self, now: Instant) -> Vec<BudgetSnapshot> {
        let mut all: Vec<_> = self.all().iter().map(|budget| budget.snapshot(now)).collect();
        all.sort_by_key(|one| (one.destination, one.source));
        all
    }

    /// Is it time for [`look`](Self::look)? Each 30 s, each 3 s from 45 % on; never while nothing is in use.
    pub fn wants_look(&self, now: Instant) -> bool {
        self.all().iter().any(|budget| budget.wants_look(now))
    }

    /// Mends the budgets by the kernel's list of all sockets: ports of other programs, and TIME_WAIT that has ended before its
    /// time. Reads the host's settings again. Takes milliseconds on a host with many sockets: nothing for a worker.
    ///
    /// # Errors
    /// When the kernel gives no list; the budgets stay as they are.
    pub fn look(&self, now: Instant) -> Result<()> {
        let mut seen: HashMap<(SocketAddr, IpAddr), Vec<Seen>> = HashMap::new();
        for budget in self.all() {
            seen.insert((budget.destination(), budget.source()), Vec::new());
        }
        // Those in LAST_ACK and SYN_RECV are gone in a moment, or a server's.
        let states = State::ALL.iter().copied();
        let states = states.filter(|one| !matches!(one, State::Listen | State::LastAck | State::SynRecv));
        let looked = Diag::open().and_then(|mut diag| {
            diag.dump(&Query::all().states(states), |record| {
                if let Some(seen) = seen.get_mut(&(record.remote(), record.local().ip())) {
                    let timer = record.timer().filter(|timer| timer.kind == TimerKind::TimeWait);
                    let rest = timer.map(|timer| timer.expires).filter(|_| record.state() == State::TimeWait);
                    seen.push(Seen { port: record.local().port(), rest });
                }
                ControlFlow::Continue(())
            })
        });
        if looked.is_err() {
            self.all().iter().for_each(|budget| budget.skip_look(now)); // not each second anew
            return looked;
        }
        *self.0.host.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.set_terms(now);
        for ((destination, source), seen) in seen {
            self.budget(source, destination, now).iter().for_each(|budget| budget.correct(&seen, now));
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<Budget>> {
        self.lock().values().flat_map(|list| list.iter()).cloned().collect()
    }

    fn min_age(&self) -> Option<Duration> {
        let micros = self.0.min_age.load(Relaxed);
        (micros != NEVER).then(|| Duration::from_micros(micros))
    }

    fn private(&self) -> Option<PrivateRange> {
        *self.0.private.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_terms(&self, now: Instant) {
        self.all().iter().for_each(|budget| budget.set_terms(self.terms(budget.source()), now));
    }

    fn terms(&self, source: IpAddr) -> Terms {
        let mut host = self.0.host.lock().unwrap_or_else(PoisonError::into_inner);
        let host = host.get_or_insert_with(Host::read);
        let hold = if host.reuses(source) { host.tw_reuse_delay.min(TIME_WAIT) } else { TIME_WAIT };
        let is_possible = self.0.is_takeover_possible.get().copied().unwrap_or(false);
        let min_age = self.min_age().filter(|_| is_possible);
        Terms {
            ports: host.ports,
            hold,
            hold_for_us: min_age.map_or(hold, |age| age.min(hold)),
            take_from: host.middle,
            private: self.private(),
            private_hold: min_age.map_or(TIME_WAIT, |age| age.min(TIME_WAIT)),
            private_rest: self.min_age().unwrap_or(DEFAULT_MIN_AGE).min(TIME_WAIT),
        }
    }

    fn roll(&self, sides: usize) -> usize {
        // Xorshift (G. Marsaglia, 2003); two threads that roll at once may get the same.
        let mut dice = self.0.dice.load(Relaxed);
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        self.0.dice.store(dice, Relaxed);
        dice as usize % sides
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, List>> {
        self.0.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn read() -> Self {
        let sysctls = Sysctls::read();
        Self {
            middle: middle(sysctls.local_port_range.clone().unwrap_or(DEFAULT_RANGE)),
            ports: sysctls.local_port_count().unwrap_or(LocalPorts::DEFAULT.count()),
            tw_reuse: sysctls.tcp_tw_reuse.unwrap_or(0),
            tw_reuse_delay: Duration::from_millis(sysctls.tcp_tw_reuse_delay_ms.unwrap_or(1000)),
        }
    }

    /// Does the kernel's search take over a TIME_WAIT from this address after the delay?
    fn reuses(&self, source: IpAddr) -> bool {
        self.tw_reuse == 1 || self.tw_reuse == 2 && source.is_loopback()
    }
}

/// Ports from here on are taken over, those below are not: a port that was bound is lost to every automatic `connect` on the host
/// for as long as it is held, whatever the destination (decision 16). So half of all are left to others, however many destinations
/// we have.
fn middle(range: RangeInclusive<u16>) -> u16 {
    let half = (range.end() - range.start()) / 2;
    range.start().saturating_add(half).saturating_add(1)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(NEVER - 1)
}
