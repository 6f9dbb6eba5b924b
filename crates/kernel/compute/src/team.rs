//! Several threads of the pool at one computation: a rayon pool for as long as that takes, whose workers are jobs of its queue.
//!
//! Rules:
//! 1. The thread that forms a team works for it to its end, or has a substitute do so: one thread is enough for progress.
//! 2. The others are helpers in the queue. They come when a thread takes them, and end at once if the team has ended by then. Each comes
//!    once: rayon's `broadcast` waits for all. So those that wait when the pool ends get threads of their own, until the team ends.
//! 3. A team ends when its rayon pool has been dropped and nothing is left in it.

use std::sync::Arc;
use std::thread;

use millstream_base::{Error, Kind, Origin, Result};
use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use crate::cell::{Computation, Work, discard};
use crate::entry::Entry;
use crate::own::mark_own_thread;
use crate::queue::Shared;
use crate::seat::Seat;
use crate::stats::Ran;
use crate::{CancelToken, Computing, Queue};

impl Queue {
    /// Has the pool's threads run `work` together: rayon's parallel iterators, `join` and `scope` within it use those of this pool that
    /// are free, as many as [`max_parallel`](crate::QueueOptions::max_parallel) allows, and none besides.
    ///
    /// It begins with one thread, when it is the queue's turn; others join it before anything else of the queue. They stay until it
    /// ends, also while it has nothing for them: long steps that are not parallel are better given to [`run`](Self::run).
    ///
    /// ```
    /// use millstream_compute::Compute;
    /// use millstream_compute::rayon::prelude::*;
    ///
    /// let compute = Compute::new(2, "example")?;
    /// let sum = compute.queue("sums").parallel(|| (1..=1_000_000_u64).into_par_iter().sum::<u64>());
    /// assert_eq!(sum.wait()?, 500_000_500_000);
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    pub fn parallel<T, F>(&self, work: F) -> Computing<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.parallel_with(move |_| work())
    }

    /// The same for work that asks the token now and then whether to go on; copies of it may be asked on all threads.
    pub fn parallel_with<T, F>(&self, work: F) -> Computing<T>
    where
        F: FnOnce(CancelToken<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_parallel(move |token| Ok(work(token)))
    }

    /// The same for work that may fail.
    pub(crate) fn try_parallel<T, F>(&self, work: F) -> Computing<T>
    where
        F: FnOnce(CancelToken<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let work = Work::new(work);
        self.enter(work.clone(), Entry::Parallel, work)
    }
}

/// Runs it with a team on this thread.
pub(crate) fn run(computation: Arc<dyn Computation>, queue: &Arc<Shared>) {
    if computation.is_cancelled() {
        return computation.run(queue);
    }
    match form(queue) {
        Ok((pool, worker)) => {
            let queue = queue.clone();
            pool.spawn(move || computation.run(&queue));
            drop(pool);
            worker.run();
        }
        Err(error) => computation.refuse(error),
    }
}

/// Works for a team until it ends.
pub(crate) fn help(helper: ThreadBuilder) {
    give_back_turn();
    helper.run();
}

/// The same where the pool ends. Without a thread the team does without, as far as it can.
pub(crate) fn help_late(helper: ThreadBuilder) {
    drop(thread::Builder::new().name("compute-late".to_owned()).spawn(|| {
        mark_own_thread();
        helper.run();
    }));
}

/// A team, and its first worker, which is the caller's to run.
pub(crate) fn form(queue: &Arc<Shared>) -> Result<(ThreadPool, ThreadBuilder)> {
    give_back_turn();
    let (mut first, mut helpers, counted) = (None, Vec::new(), queue.clone());
    let pool = ThreadPoolBuilder::new()
        .num_threads(queue.most_threads())
        // Of what was spawned and nobody waits for.
        .panic_handler(move |payload| {
            counted.counts.ran(Ran::Panicked);
            discard(payload);
        })
        .spawn_handler(|worker| {
            match first {
                None => first = Some(worker),
                Some(_) => helpers.push(worker),
            }
            Ok(())
        })
        .build();
    let (Ok(pool), Some(first)) = (pool, first) else {
        return Err(Error::new(Kind::Io, Origin::Local, "no team could be formed"));
    };
    queue.push_helpers(helpers);
    Ok((pool, first))
}

/// A team's thread is busy for long.
fn give_back_turn() {
    if let Some(seat) = Seat::current() {
        seat.give_back();
    }
}
