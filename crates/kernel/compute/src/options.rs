//! What a queue allows.

use std::time::Duration;

use tokio::sync::Semaphore;

/// What a full queue does with one more job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The caller waits for a place, first come first served. The job enters the queue when its
    /// [`Computing`](crate::Computing) is polled or waited for.
    #[default]
    Wait,
    /// The caller gets [`Kind::Limit`](millstream_base::Kind::Limit) at once.
    Refuse,
}

/// What a queue may do. Fields that are set themselves are cut as the setters do when a queue is made of them.
///
/// ```
/// use millstream_compute::QueueOptions;
/// let serial = QueueOptions::default().max_parallel(1).weight(4);
/// assert_eq!((serial.max_parallel, serial.weight, serial.depth), (Some(1), 4, None));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Its share of the threads' turns beside other queues that have jobs; 1 to 1,000, 1 unless set.
    pub weight: u32,
    /// Jobs that run at once; 1 makes it serial: one after the other, in order. As many as there are threads unless set.
    pub max_parallel: Option<usize>,
    /// Jobs that lie in the queue, those that run not counted; no limit unless set.
    pub depth: Option<usize>,
    /// What happens at that limit.
    pub when_full: WhenFull,
    /// How long a job may take from when it was given until its output is there; no limit unless set.
    pub deadline: Option<Duration>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { weight: 1, max_parallel: None, depth: None, when_full: WhenFull::Wait, deadline: None }
    }
}

impl QueueOptions {
    /// Sets [`weight`](Self::weight); outside of 1 to 1,000 it is cut to that.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { weight, ..self }.within_limits()
    }

    /// Sets [`max_parallel`](Self::max_parallel); at least 1.
    #[must_use]
    pub fn max_parallel(self, most: usize) -> Self {
        Self { max_parallel: Some(most), ..self }.within_limits()
    }

    /// Sets [`depth`](Self::depth); outside of 1 to 2^61 - 1 (on 64 bits) it is cut to that.
    #[must_use]
    pub fn depth(self, most: usize) -> Self {
        Self { depth: Some(most), ..self }.within_limits()
    }

    /// Sets [`when_full`](Self::when_full).
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// Sets [`deadline`](Self::deadline).
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// The same, each field cut to what a queue can do: below it would never run a job, above it would never leave the threads to
    /// others, or count further than a semaphore can.
    pub(crate) fn within_limits(self) -> Self {
        Self {
            weight: self.weight.clamp(1, MOST_WEIGHT),
            max_parallel: self.max_parallel.map(|most| most.max(1)),
            depth: self.depth.map(|most| most.clamp(1, Semaphore::MAX_PERMITS)),
            ..self
        }
    }
}

/// A turn of such a queue may take 0.1 s, a thousand slices: a guess, more than any share needs to be.
const MOST_WEIGHT: u32 = 1000;
