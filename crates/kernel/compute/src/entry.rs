//! What waits in a queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millstream_base::Error;
use rayon::ThreadBuilder;

use crate::cell::{Computation, discard};
use crate::queue::Shared;
use crate::stats::Ran;
use crate::team;

/// A job object for [`Queue::submit`](crate::Queue::submit). It has its own state, and its own way to tell of its end.
pub trait Job: Send + Sync {
    /// Runs on a thread of the pool. A panic is contained, and counted in [`QueueStats::panicked`](crate::QueueStats::panicked).
    fn run(self: Arc<Self>);

    /// Called instead of [`run`](Self::run) when the pool ends before the job's turn; does nothing unless it is written. To return
    /// quickly: the pool's end waits for it.
    fn abandon(self: Arc<Self>) {}
}

/// One that waits in a queue.
pub(crate) enum Entry {
    /// With the place of its output.
    Computation(Arc<dyn Computation>),
    Job(Arc<dyn Job>),
    /// One that runs in a team of the queue's threads.
    Parallel(Arc<dyn Computation>),
    /// A further thread for a team.
    Helper(Box<ThreadBuilder>),
}

impl Entry {
    /// Runs it on this thread, as this queue's.
    pub(crate) fn run(self, queue: &Arc<Shared>) {
        match self {
            Self::Computation(computation) => computation.run(queue),
            Self::Job(job) => match catch_unwind(AssertUnwindSafe(|| job.run())) {
                Ok(()) => queue.counts.ran(Ran::Whole),
                Err(payload) => {
                    queue.counts.ran(Ran::Panicked);
                    discard(payload);
                }
            },
            Self::Parallel(computation) => team::run(computation, queue),
            Self::Helper(helper) => team::help(*helper),
        }
    }

    /// Does it hold one of the places that the queue's depth limits?
    pub(crate) fn has_place(&self) -> bool {
        !matches!(self, Self::Helper(_))
    }

    /// It will never run.
    pub(crate) fn refuse(self, error: Error) {
        match self {
            Self::Computation(computation) | Self::Parallel(computation) => computation.refuse(error),
            Self::Helper(helper) => team::help_late(*helper),
            Self::Job(job) => {
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job.abandon())) {
                    discard(payload);
                }
            }
        }
    }
}
