//! The threads, and the ring of queues that have something for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result, RunningMean};

use crate::clock::Clock;
use crate::entry::Entry;
use crate::lock;
use crate::options::QueueOptions;
use crate::queue::{Queue, Shared};
use crate::stats::{QueueStats, nanos};
use crate::turn::Turn;

/// Threads for computations. Clones are handles to the same; when the last one is dropped, what waits is refused, what runs sees its
/// token set and is waited for, and the threads end.
#[derive(Clone)]
pub struct Compute(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    queues: Mutex<BTreeMap<Arc<str>, Queue>>,
}

/// What threads and queues share.
pub(crate) struct Core {
    ring: Mutex<Ring>,
    comes: Condvar,
    /// One a thread.
    turns: Box<[Turn]>,
    pub(crate) clock: Clock,
    /// What a job takes, the mean over all queues of about the last eight turns.
    mean_ns: RunningMean,
    /// All tokens are set.
    pub(crate) is_closing: AtomicBool,
}

#[derive(Default)]
struct Ring {
    ready: VecDeque<Arc<Shared>>,
    sleeping: usize,
    /// One was woken and has not looked yet: it wakes the next if there is more.
    is_waking: bool,
    /// Turns that were shown to those who have nothing to do.
    shown: u64,
    is_closed: bool,
}

/// A turn of a queue of weight 1 is meant to take so long: short beside what a caller would notice, long beside the locks.
const TURN_NS: u64 = 20_000;
/// Jobs in a turn of a queue of weight 1 at most.
const MOST_JOBS: u64 = 64;
/// More threads than cores of any machine: a typing error, not a wish.
const MOST_THREADS: usize = 1024;

impl Compute {
    /// Starts `threads` threads, named `name-0` and so on, and `name-clock`, which keeps the deadlines.
    ///
    /// # Errors
    /// [`Kind::Invalid`] unless there are 1 to 1,024 threads; [`Kind::Io`] when one can't be started.
    pub fn new(threads: usize, name: &str) -> Result<Self> {
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(Error::invalid(format!(
                "compute threads must be 1 to {MOST_THREADS}, not {threads}"
            )));
        }
        let core = Arc::new(Core {
            ring: Mutex::default(),
            comes: Condvar::new(),
            turns: (0..threads).map(|_| Turn::default()).collect(),
            clock: Clock::default(),
            mean_ns: RunningMean::from_value(TURN_NS),
            is_closing: AtomicBool::new(false),
        });
        let (started, queues) = (Mutex::default(), Mutex::default());
        // Dropped on an error, it ends those that were started.
        let this = Self(Arc::new(Handle { core, threads: started, queues }));
        for index in 0..threads {
            let core = this.0.core.clone();
            this.start(format!("{name}-{index}"), move || core.work(index))?;
        }
        let core = this.0.core.clone();
        this.start(format!("{name}-clock"), move || core.clock.run())?;
        Ok(this)
    }

    fn start(&self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name).spawn(body).map_err(|error| {
            Error::new(Kind::Io, Origin::Local, "can't start a compute thread").with_source(error)
        })?;
        lock(&self.0.threads).push(thread);
        Ok(())
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.0.core.turns.len()
    }

    /// The queue of this name, made when it is first asked for, with [`QueueOptions::default`].
    pub fn queue(&self, name: &str) -> Queue {
        if let Some(queue) = lock(&self.0.queues).get(name) {
            return queue.clone();
        }
        self.make(name, QueueOptions::default())
    }

    /// The queue of this name with these options.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when there is one with others.
    pub fn queue_with(&self, name: &str, options: QueueOptions) -> Result<Queue> {
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

/// What a thread does next.
enum Next {
    Queue(Arc<Shared>),
    /// No queue has anything that is not in somebody's turn.
    Nothing,
    End,
}

impl Core {
    /// It has something to do.
    pub(crate) fn enqueue(&self, queue: Arc<Shared>) {
        let mut ring = lock(&self.ring);
        if ring.is_closed {
            return;
        }
        ring.ready.push_back(queue);
        self.wake_one(ring);
    }

    /// A turn has begun that others may take from.
    pub(crate) fn show_turn(&self) {
        let mut ring = lock(&self.ring);
        ring.shown += 1;
        self.wake_one(ring);
    }

    /// A thread's life.
    fn work(&self, index: usize) {
        let (own, mut batch) = (&self.turns[index], VecDeque::new());
        loop {
            let (next, shown) = self.next();
            match next {
                Next::Queue(queue) => queue.serve(self.quantum(), own, &mut batch),
                Next::Nothing => match self.take_from_another(index, &mut batch) {
                    Some(queue) => queue.help(own, &mut batch),
                    None => self.sleep(shown),
                },
                Next::End => return,
            }
        }
    }

    /// The queue whose turn it is, and how many turns were shown by now.
    fn next(&self) -> (Next, u64) {
        let mut ring = lock(&self.ring);
        let shown = ring.shown;
        if ring.is_closed {
            return (Next::End, shown);
        }
        let Some(queue) = ring.ready.pop_front() else { return (Next::Nothing, shown) };
        if !ring.ready.is_empty() {
            self.wake_one(ring);
        }
        (Next::Queue(queue), shown)
    }

    /// Wakes one that sleeps, unless another is on its way.
    fn wake_one(&self, mut ring: MutexGuard<'_, Ring>) {
        let wakes = ring.sleeping > 0 && !ring.is_waking;
        ring.is_waking |= wakes;
        drop(ring);
        if wakes {
            self.comes.notify_one();
        }
    }

    fn take_from_another(&self, index: usize, batch: &mut VecDeque<Entry>) -> Option<Arc<Shared>> {
        let (before, after) = self.turns.split_at(index);
        after.iter().skip(1).chain(before).find_map(|turn| turn.take_half(batch))
    }

    /// Until there is something that was not there when `shown` turns had been.
    fn sleep(&self, shown: u64) {
        let mut ring = lock(&self.ring);
        if ring.is_closed || !ring.ready.is_empty() || ring.shown != shown {
            return;
        }
        ring.sleeping += 1;
        ring = self.comes.wait(ring).unwrap_or_else(PoisonError::into_inner);
        ring.sleeping -= 1;
        ring.is_waking = false;
    }

    /// Jobs in a turn of a queue of weight 1: the same for all, so that shares are those of the weights.
    fn quantum(&self) -> usize {
        let jobs = (TURN_NS / self.mean_ns.value().max(1)).clamp(1, MOST_JOBS);
        usize::try_from(jobs).unwrap_or(1)
    }

    pub(crate) fn note_span(&self, jobs: usize, span: Duration) {
        if let Some(each) = nanos(span).checked_div(jobs as u64) {
            self.mean_ns.add(each);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.is_closing.store(true, Relaxed);
        let ready = {
            let mut ring = lock(&self.core.ring);
            ring.is_closed = true;
            std::mem::take(&mut ring.ready)
        };
        drop(ready);
        self.core.comes.notify_all();
        self.core.clock.close();
        std::mem::take(&mut *lock(&self.queues)).values().for_each(|queue| queue.0.close());
        let threads = std::mem::take(&mut *lock(&self.threads));
        // A job may drop the last handle: nobody waits for himself.
        let from_inside = threads.iter().any(|thread| thread.thread().id() == thread::current().id());
        if !from_inside {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}
