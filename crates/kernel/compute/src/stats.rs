//! What a queue counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use millstream_base::RunningMean;

/// The numbers of a queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Jobs that wait for a thread.
    pub depth: usize,
    /// Threads that serve the queue.
    pub running: usize,
    /// Jobs that ran to their end.
    pub done: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs that were cancelled, or late, before they began.
    pub skipped: u64,
    /// Jobs refused since the queue was full.
    pub refused: u64,
    /// Time that threads spent with the queue's jobs.
    pub run_time: Duration,
    /// How long jobs wait for a thread: the mean of about the last eight turns.
    pub wait: Duration,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Whole,
    Panicked,
    /// It was cancelled before it began.
    Skipped,
}

/// Counted once a job, by the thread that ran it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    done: AtomicU64,
    panicked: AtomicU64,
    skipped: AtomicU64,
    refused: AtomicU64,
    run_ns: AtomicU64,
    wait_ns: RunningMean,
}

impl Counts {
    pub(crate) fn ran(&self, ran: Ran) {
        let count = match ran {
            Ran::Whole => &self.done,
            Ran::Panicked => &self.panicked,
            Ran::Skipped => &self.skipped,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn took(&self, span: Duration) {
        self.run_ns.fetch_add(nanos(span), Relaxed);
    }

    pub(crate) fn waited(&self, span: Duration) {
        self.wait_ns.add(nanos(span));
    }

    pub(crate) fn stats(&self, depth: usize, running: usize) -> QueueStats {
        let load = |count: &AtomicU64| count.load(Relaxed);
        QueueStats {
            depth,
            running,
            done: load(&self.done),
            panicked: load(&self.panicked),
            skipped: load(&self.skipped),
            refused: load(&self.refused),
            run_time: Duration::from_nanos(load(&self.run_ns)),
            wait: Duration::from_nanos(self.wait_ns.value()),
        }
    }
}

/// As far as they go: 584 years.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
