//! How long answers are kept, how many, and by what clock.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A lookup to be run to its end by whoever is given it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long answers are kept, how many, and by what clock.
#[non_exhaustive]
#[derive(Clone)]
pub struct CacheOptions {
    /// An answer holds for no less. 1 s unless set: a TTL of 0 would ask for each call.
    pub ttl_min: Duration,
    /// An answer holds for no more. 1 h unless set.
    pub ttl_max: Duration,
    /// A failure holds for so long. 5 s unless set.
    pub negative: Duration,
    /// An answer that holds no more is given out for so long while a new one is asked for. 30 s unless set.
    pub stale: Duration,
    /// Names remembered. 10,000 unless set.
    pub max_names: usize,
    pub(super) clock: Arc<dyn Fn() -> Instant + Send + Sync>,
    pub(super) spawn: Option<Arc<dyn Fn(Task) + Send + Sync>>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(60 * 60),
            negative: Duration::from_secs(5),
            stale: Duration::from_secs(30),
            max_names: 10_000,
            clock: Arc::new(Instant::now),
            spawn: None,
        }
    }
}

impl CacheOptions {
    /// Sets the bounds between which an answer's own time is taken.
    #[must_use]
    pub fn ttl(self, ttl_min: Duration, ttl_max: Duration) -> Self {
        Self { ttl_min, ttl_max: ttl_max.max(ttl_min), ..self }
    }

    /// Sets [`negative`](Self::negative).
    #[must_use]
    pub fn negative(self, negative: Duration) -> Self {
        Self { negative, ..self }
    }

    /// Sets [`stale`](Self::stale).
    #[must_use]
    pub fn stale(self, stale: Duration) -> Self {
        Self { stale, ..self }
    }

    /// Sets [`max_names`](Self::max_names); at least 1.
    #[must_use]
    pub fn max_names(self, max_names: usize) -> Self {
        Self { max_names: max_names.max(1), ..self }
    }

    /// Sets what says the time. [`Instant::now`] unless set.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Hands lookups to this instead of to the caller that needs them first. Then a caller that goes away, or is not
    /// polled, delays nobody, and no caller waits while an older answer may be given out. A task that is dropped
    /// unfinished is finished by a caller.
    #[must_use]
    pub fn spawn(self, spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self { spawn: Some(Arc::new(spawn)), ..self }
    }
}

impl fmt::Debug for CacheOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheOptions")
            .field("ttl", &(self.ttl_min..=self.ttl_max))
            .field("negative", &self.negative)
            .field("stale", &self.stale)
            .field("max_names", &self.max_names)
            .field("spawn", &self.spawn.is_some())
            .finish_non_exhaustive()
    }
}
