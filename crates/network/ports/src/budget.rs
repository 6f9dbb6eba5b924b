//! The ports from one address to one destination: how many are left, and when there will be none.
//!
//! Rules:
//! 1. Times are microseconds since the budget was made; TIME_WAIT of a port begins when its connection was closed, and holds
//!    the port for [`Terms::hold`] from then on.
//! 2. A port is in one of four places: open, waiting (both ours), foreign (seen in the kernel's list only), free. What we did
//!    not see (a reset that ended a TIME_WAIT, another program) is mended by [`Budget::correct`].
//! 3. Ports of the private range are in a [`Ring`] of their own. What is said of the kernel's search leaves them out; what is said
//!    of all ports has them in.

mod forecast;
mod private;
mod snapshot;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::foreign::Foreign;
use crate::port_bits::PortBits;
use crate::private_range::PrivateRange;
use crate::rate::Rate;
use crate::ring::Ring;
use crate::waiting::Waiting;

pub use snapshot::BudgetSnapshot;

/// How much of a budget is used, and what a client does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Below 45 %: dial as you like.
    #[default]
    Calm,
    /// From 45 % on: nothing is opened ahead of need.
    Careful,
    /// From 70 % on: callers wait for a connection that another gives back, where there is one.
    Tight,
    /// From 90 % on: no port is taken but by whom has none.
    Critical,
}

impl Level {
    /// The name used in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Careful => "careful",
            Self::Tight => "tight",
            Self::Critical => "critical",
        }
    }
}

/// From which share in use on each level holds, in percent.
const LEVELS: [(Level, u64); 3] = [(Level::Critical, 90), (Level::Tight, TIGHT), (Level::Careful, 45)];
/// From here on connections are shared rather than added.
const TIGHT: u64 = 70;
/// A level is left when so many points less are in use.
const HYSTERESIS: u64 = 10;

/// What holds for the ports of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How many the kernel chooses from.
    pub(crate) ports: u32,
    /// How long TIME_WAIT keeps one from the kernel's own search.
    pub(crate) hold: Duration,
    /// How long it keeps one from us: as long, or less where ports of our own are taken over.
    pub(crate) hold_for_us: Duration,
    /// Which ports are taken over: from this one on.
    pub(crate) take_from: u16,
    /// The ports that the kernel never chooses, and we do.
    pub(crate) private: Option<PrivateRange>,
    /// How long TIME_WAIT keeps one of them from us: all its time, where none can be taken over.
    pub(crate) private_hold: Duration,
    /// How long one of them rests that has no TIME_WAIT with us: its peer may have one.
    pub(crate) private_rest: Duration,
}

/// How a connection left its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// We closed first: in TIME_WAIT.
    Waiting,
    /// The peer did, or it was never connected: free.
    Free,
}

/// A socket towards the destination, as the kernel's list has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) port: u16,
    /// Of one in TIME_WAIT: for how long yet.
    pub(crate) rest: Option<Duration>,
}

/// The ports from one address to one destination.
#[derive(Debug)]
pub struct Budget {
    source: IpAddr,
    destination: SocketAddr,
    made: Instant,
    book: Mutex<Book>,
    /// Nanoseconds, smoothed; 0 before the first.
    search_ns: AtomicU64,
    /// The least that was.
    best_search_ns: AtomicU64,
}

#[derive(Debug)]
struct Book {
    terms: Terms,
    open: PortBits,
    /// Those that may be taken over, and those that may not.
    waiting: [Waiting; 2],
    private: Option<Ring>,
    foreign: Foreign,
    rate: Rate,
    level: Level,
    opened: u64,
    taken_over: u64,
    /// Until when no port is taken over, because the kernel or the peer would not have it.
    untakeable: u64,
    /// When somebody looked last for what we can't see.
    corrected: Option<u64>,
}

impl Budget {
    pub(crate) fn new(source: IpAddr, destination: SocketAddr, terms: Terms, now: Instant) -> Self {
        let book = Book {
            terms,
            open: PortBits::default(),
            waiting: Default::default(),
            private: terms.private.map(Ring::new),
            foreign: Foreign::default(),
            rate: Rate::default(),
            level: Level::Calm,
            opened: 0,
            taken_over: 0,
            untakeable: 0,
            corrected: None,
        };
        Self {
            source,
            destination,
            made: now,
            book: Mutex::new(book),
            search_ns: AtomicU64::new(0),
            best_search_ns: AtomicU64::new(u64::MAX),
        }
    }

    /// From where.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Where to.
    pub fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// A connection on this port is being opened.
    pub fn opened(&self, port: u16, now: Instant) {
        let now = self.micros(now);
        let mut book = self.lock(now);
        book.opened += 1;
        if let Some(ring) = book.ring_of(port) {
            if ring.open(port) {
                book.rate.note(now, 1);
            }
            return;
        }
        // The kernel has given us one that waited: `tcp_tw_reuse`, or a reset has ended it.
        let was_ours = book.waiting.iter_mut().any(|waiting| waiting.remove(port));
        if book.open.insert(port) && !was_ours {
            book.rate.note(now, 1);
        }
    }

    /// The connection on this port is over.
    pub fn closed(&self, port: u16, left: Left, now: Instant) {
        let now = self.micros(now);
        let mut book = self.lock(now);
        if book.release(port, left, now) && left == Left::Free {
            book.rate.note(now, -1);
        }
    }

    /// How many ports are left.
    pub(crate) fn free(&self, now: Instant) -> u32 {
        let now = self.micros(now);
        let book = self.lock(now);
        book.ports().saturating_sub(book.used(now)) as u32
    }

    /// How many ports of ours could be taken over from TIME_WAIT now.
    pub(crate) fn takeable(&self, now: Instant) -> u32 {
        let now = self.micros(now);
        let book = self.lock(now);
        let since = now.saturating_sub(micros(book.hold(now)));
        let private = book.takeable_private(now);
        (book.waiting[TAKEABLE].len() - book.waiting[TAKEABLE].later_than(since) + private) as u32
    }

    /// How many ports may be taken before it gets tight.
    pub(crate) fn room(&self, now: Instant) -> u32 {
        let now = self.micros(now);
        let book = self.lock(now);
        (book.ports() * TIGHT).div_ceil(100).saturating_sub(book.used(now)) as u32
    }

    /// How much is in use, all in all.
    pub fn level(&self, now: Instant) -> Level {
        let now = self.micros(now);
        self.lock(now).level(now)
    }

    /// `connect` took so long until it had a port and had sent its SYN.
    pub(crate) fn searched(&self, span: Duration) {
        let new = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
        // Two at once: one of them counts.
        let mean = match self.search_ns.load(Relaxed) {
            0 => new,
            mean => mean - mean / SEARCHES + new / SEARCHES,
        };
        self.search_ns.store(mean, Relaxed);
        self.best_search_ns.fetch_min(mean, Relaxed);
    }

    /// Is the kernel's search short of free ports, and are there ports of ours that wait?
    pub(crate) fn could_take(&self, is_out: bool, now: Instant) -> bool {
        let now = self.micros(now);
        let book = self.lock(now);
        (is_out || book.is_mostly_held(now)) && book.waiting[TAKEABLE].len() > 0
    }

    /// The port of ours to take over next, if the kernel's search gets short of free ones; from here on it is open. The caller
    /// makes sure that its TIME_WAIT is one, binds it and connects, and tells what came of it.
    pub(crate) fn take(&self, is_out: bool, now: Instant) -> Option<u16> {
        let now = self.micros(now);
        let mut book = self.lock(now);
        let is_short = is_out || book.is_mostly_held(now);
        if now < book.untakeable || !is_short || book.terms.hold_for_us >= book.terms.hold {
            return None;
        }
        let since = now.checked_sub(micros(book.terms.hold_for_us))?;
        let port = book.waiting[TAKEABLE].take(since)?;
        book.open.insert(port);
        book.opened += 1;
        Some(port)
    }

    /// A port that was to be taken over can't be yet: it waits since this moment.
    pub(crate) fn put_back(&self, port: u16, since: Instant, now: Instant) {
        let (since, now) = (self.micros(since), self.micros(now));
        let mut book = self.lock(now);
        if book.release(port, Left::Waiting, since) {
            book.untake(port, now);
        }
    }

    /// A port that was to be taken over is somebody else's by now. One of the private range is asked for again in a minute.
    pub(crate) fn lost(&self, port: u16, now: Instant) {
        let now = self.micros(now);
        let mut book = self.lock(now);
        if book.release(port, Left::Free, now + micros(LOST_FOR)) {
            book.untake(port, now);
        }
    }

    /// A connection has a port that was taken over from TIME_WAIT.
    pub(crate) fn took_over(&self, now: Instant) {
        self.lock(self.micros(now)).taken_over += 1;
    }

    /// Taking over failed, or its SYN was not answered at once: for so long none is taken over.
    pub(crate) fn forbid_taking(&self, span: Duration, now: Instant) {
        let now = self.micros(now);
        self.lock(now).untakeable = now + micros(span);
    }

    /// What holds from now on.
    pub(crate) fn set_terms(&self, terms: Terms, now: Instant) {
        self.lock(self.micros(now)).set_terms(terms);
    }

    /// Mends what was not seen, by the kernel's list of all sockets from here to there.
    pub(crate) fn correct(&self, seen: &[Seen], now: Instant) {
        let now = self.micros(now);
        let mut book = self.lock(now);
        let hold = micros(TIME_WAIT);
        let mut ours = std::collections::HashMap::new();
        let mut foreign = Foreign::default();
        for one in seen {
            let rest = one.rest.map(micros);
            if book.is_ours_when_it_waits(one.port) {
                ours.insert(one.port, rest);
            } else if !book.open.has(one.port) {
                foreign.add(rest.map(|rest| now + rest));
            }
        }
        foreign.sort();
        book.foreign = foreign;
        // One that is not listed has ended; one that is no TIME_WAIT yet may be a new one by the time the list was made.
        for waiting in &mut book.waiting {
            waiting.revise(|port, since| match ours.get(&port) {
                Some(Some(rest)) => Some((now + rest).saturating_sub(hold)),
                Some(None) => Some(since),
                None => None,
            });
        }
        book.correct_private(&ours, now);
        book.corrected = Some(now);
    }

    /// Nobody can look now: that is as good as a look that found nothing.
    pub(crate) fn skip_look(&self, now: Instant) {
        let now = self.micros(now);
        self.lock(now).corrected = Some(now);
    }

    /// Is it worth a look for what we can't see? After [`LOOK_EVERY`], if anything is in use; from 45 % on after a tenth of it.
    pub(crate) fn wants_look(&self, now: Instant) -> bool {
        let now = self.micros(now);
        let mut book = self.lock(now);
        let pause = if book.level(now) == Level::Calm { LOOK_EVERY } else { LOOK_EVERY / 10 };
        let is_used = book.open() + book.waiting(now) > 0 || book.foreign.has_open();
        is_used && book.corrected.is_none_or(|last| now >= last + micros(pause))
    }

    /// Has it neither connections nor ports of ours in TIME_WAIT?
    pub(crate) fn is_unused(&self, now: Instant) -> bool {
        let now = self.micros(now);
        let book = self.lock(now);
        book.open() + book.waiting(now) == 0
    }

    /// A copy as it stands now.
    pub fn snapshot(&self, now: Instant) -> BudgetSnapshot {
        let now = self.micros(now);
        let mut book = self.lock(now);
        let search_time = Duration::from_nanos(self.search_ns.load(Relaxed));
        BudgetSnapshot {
            source: self.source,
            destination: self.destination,
            ports: book.ports() as u32,
            private: book.terms.private.map_or(0, PrivateRange::len),
            open: book.open() as u32,
            time_wait: book.waiting(now) as u32,
            foreign: book.foreign.at(now) as u32,
            free: book.ports().saturating_sub(book.used(now)) as u32,
            level: book.level(now),
            per_second: book.rate.per_second(now),
            exhausted_in: book.exhausted_in(now),
            search_time,
            best_search_time: Duration::from_nanos(self.best_search_ns.load(Relaxed)).min(search_time),
            opened: book.opened,
            taken_over: book.taken_over,
        }
    }

    fn micros(&self, moment: Instant) -> u64 {
        // A second ahead, so that what began before the budget was made has a time, too.
        micros(moment.saturating_duration_since(self.made)) + micros(TIME_WAIT)
    }

    /// The numbers, without what has come free by `now`.
    fn lock(&self, now: u64) -> MutexGuard<'_, Book> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = now.checked_sub(micros(book.terms.hold)) {
            book.waiting.iter_mut().for_each(|waiting| waiting.expire(since));
        }
        book
    }
}

impl Book {
    /// All that there are.
    fn ports(&self) -> u64 {
        u64::from(self.terms.ports) + u64::from(self.terms.private.map_or(0, PrivateRange::len))
    }

    fn open(&self) -> usize {
        self.open.len() + self.private.as_ref().map_or(0, Ring::open_count)
    }

    /// Ports of ours in TIME_WAIT.
    fn waiting(&self, now: u64) -> usize {
        self.waiting_for_search() + self.waiting_private(now)
    }

    /// Those of them that the kernel would choose from.
    fn waiting_for_search(&self) -> usize {
        self.waiting.iter().map(Waiting::len).sum()
    }

    /// It is open no longer, since this moment; false if it was not.
    fn release(&mut self, port: u16, left: Left, since: u64) -> bool {
        if let Some(ring) = self.ring_of(port) {
            return ring.release(port, left, since);
        }
        let was_open = self.open.remove(port);
        if was_open && left == Left::Waiting {
            self.wait(port, since);
        }
        was_open
    }

    /// A port that was taken did not become a connection's.
    fn untake(&mut self, port: u16, now: u64) {
        self.opened -= 1;
        if self.ring_of(port).is_some() {
            self.rate.note(now, -1);
        }
    }

    fn wait(&mut self, port: u16, since: u64) {
        let which = if port >= self.terms.take_from { TAKEABLE } else { 1 - TAKEABLE };
        self.waiting[which].add(port, since);
    }

    /// Ports that the kernel's search does not find.
    fn held(&self, now: u64) -> u64 {
        (self.open.len() + self.waiting_for_search()) as u64 + self.foreign.at(now)
    }

    /// Does the kernel's search get long?
    fn is_mostly_held(&self, now: u64) -> bool {
        self.held(now) * 100 >= u64::from(self.terms.ports) * TAKE_FROM
    }

    /// Ports that we can't have, in any way.
    fn used(&self, now: u64) -> u64 {
        let private = self.held_private(now);
        if now < self.untakeable {
            return self.held(now) + private;
        }
        let young = self.waiting[TAKEABLE].later_than(now.saturating_sub(micros(self.terms.hold_for_us)));
        let held = (self.open.len() + young + self.waiting[1 - TAKEABLE].len()) as u64;
        held + self.foreign.at(now) + private
    }

    fn level(&mut self, now: u64) -> Level {
        let (used, ports) = (self.used(now) * 100, self.ports());
        let holds = |(level, percent): &(Level, u64)| {
            let percent = if self.level >= *level { percent - HYSTERESIS } else { *percent };
            used >= ports * percent
        };
        self.level = LEVELS.iter().find(|one| holds(one)).map_or(Level::Calm, |(level, _)| *level);
        self.level
    }

    /// For how long a port that waits is lost for us.
    fn hold(&self, now: u64) -> Duration {
        if now < self.untakeable { self.terms.hold } else { self.terms.hold_for_us }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX >> 17)
}

/// Where in [`Book::waiting`] the ports are that may be taken over.
const TAKEABLE: usize = 0;
/// `TCP_TIMEWAIT_LEN`, include/net/tcp.h.
pub(crate) const TIME_WAIT: Duration = Duration::from_secs(60);
/// After how long a port of the private range is asked for again that another socket has: a guess, which costs a lookup.
const LOST_FOR: Duration = TIME_WAIT;
/// The kernel's search finds its own way to free ports below this share in use, in percent; above it grows long, and ports of
/// ours that wait are taken over first.
const TAKE_FROM: u64 = TIGHT;
/// How often other programs' ports are counted: the kernel walks over its whole table for it.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// What one search weighs in their mean: a 32nd.
const SEARCHES: u64 = 32;
