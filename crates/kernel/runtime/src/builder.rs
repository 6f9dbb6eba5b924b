//! How an engine is made.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use millstream_base::{Error, Kind, Origin, Result};

use crate::engine::Inner;
use crate::worker::{Worker, run_thread};
use crate::{Engine, watchdog};

/// Settings of an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineBuilder {
    workers: usize,
    name: String,
    pin: bool,
}

impl Default for EngineBuilder {
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self { workers, name: "millstream".to_owned(), pin: false }
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

    /// Starts the workers.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a worker count out of range, [`Kind::Io`] when a thread can't be started.
    pub fn build(self) -> Result<Engine> {
        if !(1..=MOST_WORKERS).contains(&self.workers) {
            return Err(Error::invalid(format!("workers must be 1 to {MOST_WORKERS}, not {}", self.workers)));
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
        let index = worker.index();
        let (said, started) = sync_channel::<io::Result<()>>(1);
        let thread = thread::Builder::new().name(format!("{}-{index}", self.name)).spawn(move || {
            if let Some(core) = core {
                pin_to(core);
            }
            let failed = said.clone();
            // The worker's first job. Dropped with the inbox when there is no worker to run it.
            let _ = worker.run(move || drop(said.send(Ok(()))));
            if let Err(error) = run_thread(&worker, id) {
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
