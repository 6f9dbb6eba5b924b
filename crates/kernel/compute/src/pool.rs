//! The pool as its users see it: threads, and queues by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use millstream_base::{Error, Result};

use crate::options::QueueOptions;
use crate::queue::{Queue, Shared};
use crate::ring::Core;
use crate::seat::Seat;
use crate::stats::QueueStats;
use crate::sync::{Mutex, lock};

/// Threads for computations. Clones are handles to the same; when the last one is dropped, what waits is refused, what runs sees its
/// token set and is waited for, and the threads end. On a thread of a pool or an engine nothing is waited for: see
/// [`mark_own_thread`](crate::mark_own_thread).
#[derive(Clone)]
pub struct Compute(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    queues: Mutex<BTreeMap<Arc<str>, Queue>>,
}

/// More threads than cores of any machine: a typing error, not a wish.
const MOST_THREADS: usize = 1024;
/// What tells a thread of the pool's own that its time is over: only the pool's end does.
static NEVER: AtomicBool = AtomicBool::new(false);

impl Compute {
    /// Starts `threads` threads, named `name-0` and so on, and `name-clock`, which keeps the deadlines.
    ///
    /// # Errors
    /// [`Kind::Invalid`](millstream_base::Kind::Invalid) unless there are 1 to 1,024 threads; [`Kind::Io`](millstream_base::Kind::Io) when one can't be started.
    pub fn new(threads: usize, name: &str) -> Result<Self> {
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(Error::invalid(format!(
                "compute threads must be 1 to {MOST_THREADS}, not {threads}"
            )));
        }
        // Dropped on an error, it ends those that were started.
        let this =
            Self(Arc::new(Handle { core: Arc::new(Core::new(threads, name)), queues: Mutex::default() }));
        for index in 0..threads {
            let core = this.0.core.clone();
            let seat = move || Seat::new(core.clone(), core.turn(index));
            this.0
                .core
                .start(&index.to_string(), move || seat().take(|core, turn| core.work(turn, &NEVER)))?;
        }
        let core = this.0.core.clone();
        this.0.core.start("clock", move || core.clock.run())?;
        Ok(this)
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.0.core.threads()
    }

    /// The queue of this name, made when it is first asked for, with [`QueueOptions::default`].
    pub fn queue(&self, name: &str) -> Queue {
        if let Some(queue) = lock(&self.0.queues).get(name) {
            return queue.clone();
        }
        self.make(name, QueueOptions::default())
    }

    /// The queue of this name with these options, cut to what their setters allow.
    ///
    /// # Errors
    /// [`Kind::Invalid`](millstream_base::Kind::Invalid) when there is one with others.
    pub fn queue_with(&self, name: &str, options: QueueOptions) -> Result<Queue> {
        let options = options.within_limits();
        let queue = self.make(name, options.clone());
        if *queue.options() == options {
            return Ok(queue);
        }
        Err(Error::invalid(format!("the compute queue {name:?} has other options already")))
    }

    /// The numbers of all queues, by name.
    pub fn stats(&self) -> Vec<(Arc<str>, QueueStats)> {
        let queues: Vec<_> = lock(&self.0.queues).values().cloned().collect();
        queues.iter().map(|queue| (queue.0.name.clone(), queue.stats())).collect()
    }

    fn make(&self, name: &str, options: QueueOptions) -> Queue {
        let mut queues = lock(&self.0.queues);
        let name: Arc<str> = name.into();
        let new = || Queue(Arc::new(Shared::new(name.clone(), options, self.0.core.clone())));
        queues.entry(name.clone()).or_insert_with(new).clone()
    }
}

impl std::fmt::Debug for Compute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compute({} threads, {} queues)", self.threads(), lock(&self.0.queues).len())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
        std::mem::take(&mut *lock(&self.queues)).values().for_each(|queue| queue.0.close());
        self.core.join();
    }
}
