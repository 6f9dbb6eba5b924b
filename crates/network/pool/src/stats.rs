//! Why sessions end, and the numbers of a bucket or a pool.

use std::ops::AddAssign;

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Why the pool let go of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EvictCause {
    /// It lay unused for as long as it may.
    IdleTimeout,
    /// It is as old as it may become.
    Lifetime,
    /// More are open, or idle, than may be.
    Capacity,
    /// It was found unusable when somebody was to get it.
    StaleOnCheckout,
    /// Its watch saw the peer close, or speak, while it was idle.
    PeerClosed,
    /// Its holder closed it at the end of a message: a header, a limit, the protocol's own wish.
    Closed,
    /// Its holder closed it after an error.
    Failed,
    /// Its holder was dropped without a word: the call was cancelled.
    Dropped,
    /// Its holder took it out of the pool: an upgrade.
    Detached,
    /// The bucket or the pool was told to close what it has.
    Drain,
}

impl EvictCause {
    /// All causes.
    pub const ALL: [EvictCause; 10] = [
        Self::IdleTimeout,
        Self::Lifetime,
        Self::Capacity,
        Self::StaleOnCheckout,
        Self::PeerClosed,
        Self::Closed,
        Self::Failed,
        Self::Dropped,
        Self::Detached,
        Self::Drain,
    ];

    /// Its name for labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle_timeout",
            Self::Lifetime => "lifetime",
            Self::Capacity => "capacity",
            Self::StaleOnCheckout => "stale_on_checkout",
            Self::PeerClosed => "peer_closed",
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Detached => "detached",
            Self::Drain => "drain",
        }
    }
}

impl std::fmt::Display for EvictCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The numbers of a bucket, or summed over a pool, at one moment. While callers come and go the parts may be off by
/// what is moving; once nothing moves they are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions there are: idle, lent, or on the way to a waiter.
    pub open: usize,
    /// Places held by [`Permit`](crate::Permit)s: sessions being opened, or being closed by somebody outside.
    pub reserved: usize,
    /// Sessions in stock.
    pub idle: usize,
    /// Sessions with a caller.
    pub lent: usize,
    /// Callers waiting.
    pub waiting: usize,
    /// Sessions ever put in.
    pub dialled: u64,
    /// Checkouts ever served with a session that was there already.
    pub reused: u64,
    evicted: [u64; EvictCause::ALL.len()],
}

impl Stats {
    /// Sessions that ever ended for this cause.
    pub fn evicted(&self, cause: EvictCause) -> u64 {
        self.evicted[cause as usize]
    }

    /// Sessions that ever ended.
    pub fn evicted_total(&self) -> u64 {
        self.evicted.iter().sum()
    }

    /// What stays of a bucket that is forgotten: all that was in stock ends for this cause.
    pub(crate) fn ended(mut self, cause: EvictCause) -> Self {
        self.evicted[cause as usize] += self.idle as u64;
        Self { open: 0, reserved: 0, idle: 0, lent: 0, waiting: 0, ..self }
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.open += other.open;
        self.reserved += other.reserved;
        self.idle += other.idle;
        self.lent += other.lent;
        self.waiting += other.waiting;
        self.dialled += other.dialled;
        self.reused += other.reused;
        for (sum, more) in self.evicted.iter_mut().zip(other.evicted) {
            *sum += more;
        }
    }
}

/// What a bucket counts itself: once or twice in a session's life, so that one shared cell is cheap enough.
#[derive(Debug)]
pub(crate) struct Counts {
    dialled: AtomicU64,
    evicted: [AtomicU64; EvictCause::ALL.len()],
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self { dialled: AtomicU64::new(0), evicted: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    pub(crate) fn dialled(&self) {
        self.dialled.fetch_add(1, Relaxed);
    }

    pub(crate) fn evicted(&self, cause: EvictCause) {
        self.evicted[cause as usize].fetch_add(1, Relaxed);
    }

    /// Sessions there are.
    pub(crate) fn alive(&self) -> usize {
        let ended = self.evicted.iter().map(|count| count.load(Relaxed)).sum();
        usize::try_from(self.dialled.load(Relaxed).saturating_sub(ended)).unwrap_or(usize::MAX)
    }

    /// The numbers, given those that live elsewhere.
    pub(crate) fn stats(&self, places: usize, idle: usize, waiting: usize, reused: u64) -> Stats {
        let evicted = std::array::from_fn(|cause| self.evicted[cause].load(Relaxed));
        let dialled = self.dialled.load(Relaxed);
        let alive = dialled.saturating_sub(evicted.iter().sum());
        let open = usize::try_from(alive).unwrap_or(usize::MAX);
        Stats {
            open,
            reserved: places.saturating_sub(open),
            idle,
            lent: open.saturating_sub(idle),
            waiting,
            dialled,
            reused,
            evicted,
        }
    }
}
