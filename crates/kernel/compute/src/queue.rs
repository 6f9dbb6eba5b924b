//! A named queue: its jobs, and how many of them run.
//!
//! Rules:
//! 1. `is_ready` is true exactly while the pool's ring holds the queue, or somebody is about to put it there. Whoever makes a queue
//!    servable (a job came, a thread is done) and finds it false sets it, and puts it into the ring after the lock.
//! 2. `running` counts threads that serve the queue. It is never above `max_parallel`, so a serial queue is served by one thread at a
//!    time, in order.
//! 3. Two locks are never held at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin, Result};
use rayon::ThreadBuilder;
use tokio::sync::Semaphore;

use crate::cell::{Computation, Outcome, Work, stopped};
use crate::entry::{Entry, Job};
use crate::options::{QueueOptions, WhenFull};
use crate::ring::Core;
use crate::stats::{Counts, QueueStats};
use crate::sync::{Mutex, MutexGuard, elapsed, lock};
use crate::turn::Turn;
use crate::{CancelToken, Computing, team};

/// A named queue of a [`Compute`](crate::Compute). Clones are the same queue.
#[derive(Clone)]
pub struct Queue(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) options: QueueOptions,
    core: Arc<Core>,
    inner: Mutex<Inner>,
    /// Free places, where there is a limit.
    places: Option<Arc<Semaphore>>,
    pub(crate) counts: Counts,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Entry>,
    /// Jobs that ever came.
    came: u64,
    /// When some of those that wait came, by their number.
    stamps: VecDeque<(u64, Instant)>,
    running: usize,
    is_ready: bool,
    is_closed: bool,
}

/// One job in so many is stamped where many wait; where none does, each.
const STAMPED: u64 = 16;

impl Inner {
    /// The next job comes.
    fn stamp(&mut self) {
        if self.jobs.is_empty() || self.came.is_multiple_of(STAMPED) {
            self.stamps.push_back((self.came, Instant::now()));
        }
        self.came += 1;
    }

    /// How long the oldest stamped job has waited of those that were taken.
    fn longest_wait(&mut self) -> Option<Duration> {
        let first = self.came - self.jobs.len() as u64;
        let taken = self.stamps.partition_point(|(number, _)| *number < first);
        let oldest = self.stamps.drain(..taken).next()?;
        Some(oldest.1.elapsed())
    }
}

impl Queue {
    /// Has a thread run `work`, when it is the queue's turn, and gives its output.
    ///
    /// Callable from any thread; the job is in the queue when this returns, unless that is full.
    ///
    /// ```
    /// use millstream_compute::Compute;
    /// let compute = Compute::new(2, "example")?;
    /// let sum = compute.queue("sums").run(|| (1..=100).sum::<u64>());
    /// assert_eq!(sum.wait()?, 5050);
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    pub fn run<T, F>(&self, work: F) -> Computing<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_with(move |_| work())
    }

    /// The same for work that takes long: it asks the token now and then whether to go on.
    pub fn run_with<T, F>(&self, work: F) -> Computing<T>
    where
        F: FnOnce(CancelToken<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_run(move |token| Ok(work(token)))
    }

    /// The same for work that may fail.
    pub(crate) fn try_run<T, F>(&self, work: F) -> Computing<T>
    where
        F: FnOnce(CancelToken<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let work = Work::new(work);
        self.enter(work.clone(), Entry::Computation, work)
    }

    /// Has a thread run a job object, which the caller may keep and give again. Nothing is allocated for it, no output comes back; what
    /// it has to tell, it tells itself. Weight and [`max_parallel`](QueueOptions::max_parallel) hold as for others,
    /// [`deadline`](QueueOptions::deadline) does not.
    ///
    /// ```
    /// use std::sync::{Arc, mpsc};
    /// use millstream_compute::{Compute, Job};
    ///
    /// struct Tell(mpsc::Sender<u32>);
    ///
    /// impl Job for Tell {
    ///     fn run(self: Arc<Self>) {
    ///         self.0.send(7).unwrap();
    ///     }
    /// }
    ///
    /// let (tell, told) = mpsc::channel();
    /// let compute = Compute::new(2, "example")?;
    /// compute.queue("jobs").submit(Arc::new(Tell(tell)))?;
    /// assert_eq!(told.recv(), Ok(7));
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Kind::Limit`] when the queue is full, whatever [`when_full`](QueueOptions::when_full) says; [`Kind::Cancelled`] when the pool
    /// has ended. The job neither runs then, nor is it told.
    pub fn submit(&self, job: Arc<dyn Job>) -> Result<()> {
        let shared = &self.0;
        if let Some(places) = &shared.places {
            match places.try_acquire() {
                // Given back when a thread begins the job.
                Ok(permit) => permit.forget(),
                Err(_) if places.is_closed() => return Err(stopped()),
                Err(_) => return Err(shared.full()),
            }
        }
        shared.push(Entry::Job(job)).map_err(|_| stopped())
    }

    /// Has a computation wait for its turn, or its caller for a place.
    pub(crate) fn enter<T>(
        &self,
        computation: Arc<dyn Computation>,
        entry: fn(Arc<dyn Computation>) -> Entry,
        outcome: Arc<dyn Outcome<T>>,
    ) -> Computing<T> {
        let shared = &self.0;
        if let Some(places) = &shared.places {
            match places.try_acquire() {
                // Given back when a thread begins the job.
                Ok(permit) => permit.forget(),
                Err(_) if places.is_closed() => return Computing::refused(stopped()),
                Err(_) if shared.options.when_full == WhenFull::Refuse => {
                    return Computing::refused(shared.full());
                }
                Err(_) => {
                    shared.set_deadline(&computation);
                    let place = Box::pin(places.clone().acquire_owned());
                    return Computing::outside(place, shared.clone(), entry(computation), outcome);
                }
            }
        }
        shared.set_deadline(&computation);
        shared.push_or_refuse(entry(computation));
        Computing::queued(outcome)
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it may do.
    pub fn options(&self) -> &QueueOptions {
        &self.0.options
    }

    /// How many threads may serve it at once.
    pub fn threads(&self) -> usize {
        self.0.most_threads()
    }

    /// Its numbers now.
    pub fn stats(&self) -> QueueStats {
        self.0.stats()
    }

    /// Does its pool end, or has it ended? For jobs that have no [`CancelToken`]; once true, always true.
    #[inline]
    pub fn is_ending(&self) -> bool {
        self.0.is_closing().load(Relaxed)
    }
}

/// Are they the same queue?
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Queue {}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("name", &self.0.name).field("stats", &self.stats()).finish()
    }
}

impl Shared {
    pub(crate) fn new(name: Arc<str>, options: QueueOptions, core: Arc<Core>) -> Self {
        let places = options.depth.map(|depth| Arc::new(Semaphore::new(depth)));
        Self { name, options, core, inner: Mutex::default(), places, counts: Counts::default() }
    }

    pub(crate) fn is_closing(&self) -> &AtomicBool {
        &self.core.is_closing
    }

    /// Has it wait for its turn; comes back where the pool has ended.
    pub(crate) fn push(self: &Arc<Self>, entry: Entry) -> Result<(), Entry> {
        let mut inner = lock(&self.inner);
        if inner.is_closed {
            return Err(entry);
        }
        inner.stamp();
        inner.jobs.push_back(entry);
        self.let_go(inner);
        Ok(())
    }

    pub(crate) fn push_or_refuse(self: &Arc<Self>, entry: Entry) {
        if let Err(entry) = self.push(entry) {
            entry.refuse(stopped());
        }
    }

    /// Has more threads serve the queue for a team, before all others: its turn has come.
    pub(crate) fn push_helpers(self: &Arc<Self>, helpers: Vec<ThreadBuilder>) {
        let mut inner = lock(&self.inner);
        if inner.is_closed {
            drop(inner);
            return helpers.into_iter().for_each(team::help_late);
        }
        // Each shifts the numbers of those that wait by one: their stamps are looked at so much too early.
        inner.came += helpers.len() as u64;
        helpers.into_iter().for_each(|helper| inner.jobs.push_front(Entry::Helper(Box::new(helper))));
        self.let_go(inner);
    }

    /// Threads that may serve it at once.
    pub(crate) fn most_threads(&self) -> usize {
        self.core.threads().min(self.options.max_parallel.unwrap_or(usize::MAX))
    }

    /// Ends the lock; rule 1.
    fn let_go(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        let becomes_ready = self.becomes_ready(&mut inner);
        drop(inner);
        if becomes_ready {
            self.core.enqueue(self.clone());
        }
    }

    /// What a thread does when it is this queue's turn: as many jobs as its weight says, or as fit into a slice of time.
    pub(crate) fn serve(self: &Arc<Self>, quantum: usize, turn: &Turn, batch: &mut VecDeque<Entry>) {
        let mut inner = lock(&self.inner);
        inner.is_ready = false;
        let count = (quantum * self.options.weight as usize).min(inner.jobs.len());
        batch.extend(inner.jobs.drain(..count));
        let waited = inner.longest_wait();
        inner.running += 1;
        self.let_go(inner);
        if let Some(waited) = waited {
            self.counts.waited(waited);
        }
        self.run_turn(turn, batch);
    }

    /// What a thread does with jobs that it has taken from another's turn.
    pub(crate) fn help(self: &Arc<Self>, turn: &Turn, batch: &mut VecDeque<Entry>) {
        lock(&self.inner).running += 1;
        self.run_turn(turn, batch);
    }

    fn run_turn(self: &Arc<Self>, turn: &Turn, batch: &mut VecDeque<Entry>) {
        let is_open = batch.len() > 1 && self.options.max_parallel.is_none();
        turn.begin(batch, self, is_open);
        if is_open {
            self.core.show_turn();
        }
        let (ran, span) = self.run_jobs(turn);
        turn.end(batch);
        self.core.note_span(ran, span);
        let mut inner = lock(&self.inner);
        inner.running -= 1;
        self.put_back(inner, batch);
    }

    /// What was taken and has not begun comes back to the front.
    pub(crate) fn take_back(self: &Arc<Self>, mut rest: VecDeque<Entry>) {
        self.put_back(lock(&self.inner), &mut rest);
    }

    fn put_back(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>, rest: &mut VecDeque<Entry>) {
        while let Some(job) = rest.pop_back() {
            inner.jobs.push_front(job);
        }
        let closed = if inner.is_closed { std::mem::take(&mut inner.jobs) } else { VecDeque::new() };
        self.let_go(inner);
        closed.into_iter().for_each(|job| job.refuse(stopped()));
    }

    /// Runs jobs until the slice is over; looks at the clock after the first, the second, the fourth and so on.
    fn run_jobs(self: &Arc<Self>, turn: &Turn) -> (usize, Duration) {
        let limit = SLICE * self.options.weight;
        let begun = Instant::now();
        let (mut ran, mut look_at) = (0, 1);
        while let Some(job) = turn.next() {
            if let Some(places) = self.places.as_ref().filter(|_| job.has_place()) {
                places.add_permits(1);
            }
            job.run(self);
            ran += 1;
            if ran == look_at {
                look_at *= 2;
                if elapsed(begun) > limit {
                    break;
                }
            }
        }
        let span = elapsed(begun);
        self.counts.took(span);
        (ran, span)
    }

    /// Rule 1 and 2. The caller puts it into the ring.
    fn becomes_ready(&self, inner: &mut Inner) -> bool {
        let most = self.options.max_parallel.unwrap_or(usize::MAX);
        let becomes = !inner.is_ready && !inner.jobs.is_empty() && inner.running < most && !inner.is_closed;
        inner.is_ready |= becomes;
        becomes
    }

    /// Refuses what waits and what comes.
    pub(crate) fn close(&self) {
        let jobs = {
            let mut inner = lock(&self.inner);
            inner.is_closed = true;
            std::mem::take(&mut inner.jobs)
        };
        if let Some(places) = &self.places {
            places.close();
        }
        jobs.into_iter().for_each(|job| job.refuse(stopped()));
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let (depth, running) = {
            let inner = lock(&self.inner);
            (inner.jobs.len(), inner.running)
        };
        self.counts.stats(depth, running)
    }

    fn set_deadline(&self, job: &Arc<dyn Computation>) {
        if let Some(limit) = self.options.deadline {
            self.core.clock.add(job, limit);
        }
    }

    #[cold]
    fn full(&self) -> Error {
        self.counts.refused();
        let depth = self.options.depth.unwrap_or_default();
        let text = format!("the compute queue {:?} is full: {depth} jobs wait", self.name);
        Error::new(Kind::Limit, Origin::Local, text)
    }
}

/// A turn of a queue of weight 1 ends after so long, however many jobs it may still run: five times what it is meant to take.
const SLICE: Duration = Duration::from_micros(100);
