//! What a pool may keep, and for how long.

use std::time::Duration;

/// What a pool may keep, and for how long. Every limit is per key unless it says otherwise.
///
/// ```
/// use millstream_pool::PoolOptions;
/// use std::time::Duration;
/// let options = PoolOptions::default().max_open(64).idle_timeout(Duration::from_secs(20));
/// assert_eq!((options.max_open, options.max_idle), (64, None));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Parts of the stock; one a worker, so that workers do not meet at one lock. At least 1.
    pub shards: usize,
    /// Sessions open or being opened. 1,024 unless set: half of what a port range of 2,048 could hold.
    pub max_open: usize,
    /// Sessions idle; `None` means as many as may be open, so that no burst throws away what the next one needs.
    pub max_idle: Option<usize>,
    /// Callers waiting. 65,536 unless set: as many as a server takes connections.
    pub max_waiters: usize,
    /// When the oldest caller has waited for longer than this, and each caller served within 100 ms has seen it so, the
    /// newest is served first until the oldest is younger: under lasting overload most are served at once then, and some not at all,
    /// where all would wait as long as they can. Never unless set ([`Duration::MAX`]).
    pub newest_first_after: Duration,
    /// How long a session may lie unused. 60 s unless set.
    pub idle_timeout: Duration,
    /// How old a session may become. 30 min unless set, so that name changes and new peers are noticed.
    pub lifetime: Duration,
    /// Each session's lifetime differs by up to this share, so that those opened together do not end together.
    /// 0.2 unless set.
    pub lifetime_jitter: f64,
    /// Keys in the whole pool; only those in use right now may pass it. 65,536 unless set.
    pub max_keys: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            max_open: 1024,
            max_idle: None,
            max_waiters: 65_536,
            newest_first_after: Duration::MAX,
            idle_timeout: Duration::from_secs(60),
            lifetime: Duration::from_secs(30 * 60),
            lifetime_jitter: 0.2,
            max_keys: 65_536,
        }
    }
}

impl PoolOptions {
    /// Sets [`shards`](Self::shards).
    #[must_use]
    pub fn shards(self, shards: usize) -> Self {
        Self { shards, ..self }
    }

    /// Sets [`max_open`](Self::max_open).
    #[must_use]
    pub fn max_open(self, max_open: usize) -> Self {
        Self { max_open, ..self }
    }

    /// Sets [`max_idle`](Self::max_idle).
    #[must_use]
    pub fn max_idle(self, max_idle: usize) -> Self {
        Self { max_idle: Some(max_idle), ..self }
    }

    /// Sets [`max_waiters`](Self::max_waiters).
    #[must_use]
    pub fn max_waiters(self, max_waiters: usize) -> Self {
        Self { max_waiters, ..self }
    }

    /// Sets [`newest_first_after`](Self::newest_first_after).
    #[must_use]
    pub fn newest_first_after(self, newest_first_after: Duration) -> Self {
        Self { newest_first_after, ..self }
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// Sets [`lifetime`](Self::lifetime).
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Sets [`lifetime_jitter`](Self::lifetime_jitter); outside of 0 to 1 it is cut to that.
    #[must_use]
    pub fn lifetime_jitter(self, lifetime_jitter: f64) -> Self {
        Self { lifetime_jitter: lifetime_jitter.clamp(0.0, 1.0), ..self }
    }

    /// Sets [`max_keys`](Self::max_keys).
    #[must_use]
    pub fn max_keys(self, max_keys: usize) -> Self {
        Self { max_keys, ..self }
    }
}
