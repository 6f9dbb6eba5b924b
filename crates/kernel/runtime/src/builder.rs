//! How an engine is made.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use millstream_base::{Error, Kind, Origin, Result};
use millstream_compute::mark_own_thread;

use crate::engine::Inner;
use crate::worker::{Worker, run_thread};
use crate::{Engine, watchdog};

/// Settings of an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineBuilder {
    workers: usize,
    name: String,
    pin: bool,
    time: Time,
}

/// What the workers' clocks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Runs,
    #[cfg(feature = "test-util")]
    Paused,
}

impl Default for EngineBuilder {
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self { workers, name: "millstream".to_owned(), pin: false, time: Time::Runs }
    }
}

impl EngineBuilder {
    /// How many workers; by default one for each core the process may use. At least 1, at most 1,024.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// The prefix of the threads' names, `millstream` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Pins worker `i` to the `i`-th core the process may use. Off by default: right for a host that runs nothing else.
    #[must_use]
    pub fn pin(mut self) -> Self {
        self.pin = true;
        self
    }

    /// For tests: time stands still, and jumps to the next timer as soon as the worker has nothing else to do; or
    /// [`advance`](crate::advance) moves it. All that waits for a moment on the worker follows. Makes it one worker, for each has a
    /// clock of its own. Feature `test-util`.
    ///
    /// What other threads do takes no time: who waits for them, with a timer running beside, sees the timer fire first.
    /// Moments come from [`now`](crate::now) on the worker; `Instant::now` goes on.
    ///
    /// ```
    /// use millstream_runtime::{Engine, now, sleep};
    /// use std::time::Duration;
    /// let engine = Engine::builder().start_paused().build()?;
    /// engine.run(async |_| {
    ///     let (hour, before) = (Duration::from_secs(3600), now());
    ///     sleep(hour).await; // takes no time
    ///     assert_eq!(now() - before, hour);
    /// })?;
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn start_paused(mut self) -> Self {
        (self.workers, self.time) = (1, Time::Paused);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a worker count out of range, or above 1 with paused time; [`Kind::Io`] when a thread can't be started.
    pub fn build(self) -> Result<Engine> {
        if !(1..=MOST_WORKERS).contains(&self.workers) {
            return Err(Error::invalid(format!("workers must be 1 to {MOST_WORKERS}, not {}", self.workers)));
        }
        if self.time != Time::Runs && self.workers > 1 {
            return Err(Error::invalid("with paused time there is one worker"));
        }
        let inner = Arc::new_cyclic(|weak| {
            let workers = (0..self.workers).map(|index| Worker::new(index, weak.clone())).collect();
            Inner::new(workers)
        });
        let engine = Engine(inner);
        let cores = if self.pin { allowed_cores() } else { Vec::new() };
        for worker in engine.workers() {
            let core = cores.get(worker.index() % cores.len().max(1)).copied();
            self.start(&engine, worker.clone(), core)?;
        }
        watchdog::start(&engine, &self.name)?;
        Ok(engine)
    }

    fn start(&self, engine: &Engine, worker: Worker, core: Option<usize>) -> Result<()> {
        let id = engine.id();
        let (index, time) = (worker.index(), self.time);
        let (said, started) = sync_channel::<io::Result<()>>(1);
        let thread = thread::Builder::new().name(format!("{}-{index}", self.name)).spawn(move || {
            mark_own_thread();
            if let Some(core) = core {
                pin_to(core);
            }
            let failed = said.clone();
            // The worker's first job. Dropped with the inbox when there is no worker to run it.
            let _ = worker.run(move || drop(said.send(Ok(()))));
            if let Err(error) = run_thread(&worker, id, time) {
                let _ = failed.send(Err(error));
            }
        });
        engine.0.add_thread(thread.map_err(|error| not_started(index, error))?);
        // Nobody left to say anything: the thread panicked.
        let died = |_| Err(io::Error::other("its thread panicked"));
        started.recv().unwrap_or_else(died).map_err(|error| not_started(index, error))
    }
}

fn not_started(index: usize, error: io::Error) -> Error {
    Error::new(Kind::Io, Origin::Local, format!("can't start worker {index}")).with_source(error)
}

/// More threads than cores of any machine: a typing error, not a wish.
const MOST_WORKERS: usize = 1024;

fn allowed_cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

fn pin_to(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(core, %error, "worker not pinned");
    }
}
