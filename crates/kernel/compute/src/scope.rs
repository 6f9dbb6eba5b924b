//! Work that borrows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{Error, Result};
use rayon::{Scope, ThreadPool};

use crate::cell::{Cell, Computation, Outcome, cancelled, discard, panicked};
use crate::entry::Entry;
use crate::queue::Shared;
use crate::seat::{Seat, blocking};
use crate::stats::Ran;
use crate::{Queue, team};

impl Queue {
    /// Has the pool's threads run `work` and all that it spawns, which may borrow what the caller has; blocks the calling thread until
    /// all has ended. Parallel iterators in it use the same threads, as in [`parallel`](Self::parallel).
    ///
    /// Not for a worker of an engine. On a thread of the pool another one serves in its place meanwhile, as with
    /// [`Computing::wait`](crate::Computing::wait). The queue's deadline holds until it begins.
    ///
    /// ```
    /// use millstream_compute::Compute;
    ///
    /// let compute = Compute::new(2, "example")?;
    /// let mut halves = [vec![3, 1, 2], vec![6, 5, 4]];
    /// let [low, high] = &mut halves;
    /// compute.queue("sorts").scope(|scope| {
    ///     scope.spawn(|_| low.sort());
    ///     scope.spawn(|_| high.sort());
    /// })?;
    /// assert_eq!(halves, [[1, 2, 3], [4, 5, 6]]);
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Kind::Panic`](millstream_base::Kind::Panic) with the text of the first panic, when all has ended. Else as
    /// [`Computing::wait`](crate::Computing::wait), and nothing of `work` has run.
    pub fn scope<'scope, T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&Scope<'scope>) -> T + Send,
        T: Send,
    {
        let ran = match Seat::current() {
            // A thread in its place is one in the queue's turn, so it need not wait for one: a serial queue would never have it.
            Some(seat) if seat.is_serving(&self.0) => {
                let (pool, worker) = team::form(&self.0)?;
                let _absence = seat.leave_to(worker, &self.0)?;
                run(&pool, work)
            }
            _ => blocking(|| self.lead().map(|pool| run(&pool, work)))??,
        };
        match ran {
            Ok(output) => {
                self.0.counts.ran(Ran::Whole);
                Ok(output)
            }
            Err(payload) => {
                self.0.counts.ran(Ran::Panicked);
                let error = panicked(&*payload);
                discard(payload);
                Err(error)
            }
        }
    }

    /// Waits until a thread has formed a team.
    fn lead(&self) -> Result<ThreadPool> {
        let lead = Arc::new(Lead(Cell::default()));
        self.enter(lead.clone(), Entry::Computation, lead).wait()
    }
}

/// The team's end of it; `pool` is dropped by then, or soon.
fn run<'scope, T: Send>(
    pool: &ThreadPool,
    work: impl FnOnce(&Scope<'scope>) -> T + Send,
) -> std::thread::Result<T> {
    catch_unwind(AssertUnwindSafe(|| pool.scope(work)))
}

/// A computation whose output is a team. It works for it as long as there is one.
struct Lead(Cell<ThreadPool>);

impl Computation for Lead {
    fn run(&self, queue: &Arc<Shared>) {
        if self.is_cancelled() {
            queue.counts.ran(Ran::Skipped);
            return self.0.finish(Err(cancelled()));
        }
        match team::form(queue) {
            Ok((pool, worker)) => {
                self.0.finish(Ok(pool));
                worker.run();
            }
            Err(error) => self.0.finish(Err(error)),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn refuse(&self, error: Error) {
        self.0.finish(Err(error));
    }

    fn expire(&self, limit: Duration) {
        self.0.expire(limit);
    }
}

impl Outcome<ThreadPool> for Lead {
    fn cell(&self) -> &Cell<ThreadPool> {
        &self.0
    }
}
