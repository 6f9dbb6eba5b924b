//! The ring of queues that have something for the threads, and a thread's life.
//!
//! Rules:
//! 1. A thread sleeps only where, under the ring's lock, nothing is ready and no turn was shown that it has not looked at. Who makes
//!    something ready, or shows a turn, does so under that lock and wakes one; who is woken and takes a queue wakes the next.
//! 2. A substitute is woken at its end; the wake may have been meant for another, so it wakes one more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result, RunningMean};

use crate::clock::Clock;
use crate::entry::Entry;
use crate::own::{is_own_thread, mark_own_thread};
use crate::queue::Shared;
use crate::seat::Seat;
use crate::stats::nanos;
use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use crate::turn::Turn;

/// What threads and queues share.
pub(crate) struct Core {
    ring: Mutex<Ring>,
    comes: Condvar,
    name: Box<str>,
    /// One a thread.
    turns: Box<[Arc<Turn>]>,
    /// Those of threads that serve in the place of one that blocks.
    substitutes: Mutex<Vec<Arc<Turn>>>,
    /// Set before the first of them shows a turn, and so, by the ring's lock, before anybody sleeps who has not seen it.
    had_substitutes: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
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
/// Threads that serve in the place of blocked ones at most: a guess, far more than nested waits of sane programs need, and few enough
/// that their stacks do not matter.
const MOST_SUBSTITUTES: usize = 256;

/// What a thread does next.
enum Next {
    Queue(Arc<Shared>),
    /// No queue has anything that is not in somebody's turn.
    Nothing,
    End,
}

impl Core {
    pub(crate) fn new(threads: usize, name: &str) -> Self {
        Self {
            ring: Mutex::default(),
            comes: Condvar::new(),
            name: name.into(),
            turns: (0..threads).map(|index| Arc::new(Turn::new(index))).collect(),
            substitutes: Mutex::default(),
            had_substitutes: AtomicBool::new(false),
            threads: Mutex::default(),
            clock: Clock::default(),
            mean_ns: RunningMean::from_value(TURN_NS),
            is_closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.turns.len()
    }

    pub(crate) fn turn(&self, index: usize) -> Arc<Turn> {
        self.turns[index].clone()
    }

    /// Starts a thread, named after the pool.
    pub(crate) fn start(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let named = thread::Builder::new().name(format!("{}-{name}", self.name));
        let marked = move || {
            mark_own_thread();
            body();
        };
        let thread = named.spawn(marked).map_err(|error| {
            Error::new(Kind::Io, Origin::Local, "can't start a compute thread").with_source(error)
        })?;
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// Starts a thread that serves in the place of one that blocks.
    pub(crate) fn substitute(
        self: &Arc<Self>,
        body: impl FnOnce(&Self, &Turn) + Send + 'static,
    ) -> Result<()> {
        let turn = Arc::new(Turn::new(self.turns.len()));
        let mut substitutes = lock(&self.substitutes);
        if substitutes.len() >= MOST_SUBSTITUTES {
            let text = format!("{MOST_SUBSTITUTES} compute threads wait for computations already");
            return Err(Error::new(Kind::Limit, Origin::Local, text));
        }
        substitutes.push(turn.clone());
        drop(substitutes);
        self.had_substitutes.store(true, Relaxed);
        let listed = Listed { core: self.clone(), turn };
        self.start("spare", move || Seat::new(listed.core.clone(), listed.turn.clone()).take(body))
    }

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

    /// A thread's life, until it is over, or the pool's is.
    pub(crate) fn work(&self, own: &Turn, is_over: &AtomicBool) {
        let mut batch = VecDeque::new();
        while !is_over.load(Relaxed) {
            let (next, shown) = self.next();
            match next {
                Next::Queue(queue) => queue.serve(self.quantum(), own, &mut batch),
                Next::Nothing => match self.take_from_another(own, &mut batch) {
                    Some(queue) => queue.help(own, &mut batch),
                    None => self.sleep(shown, is_over),
                },
                Next::End => return,
            }
        }
        // Rule 2.
        self.wake_one(lock(&self.ring));
    }

    /// Has whoever sleeps look whether it is over.
    pub(crate) fn wake_all(&self) {
        drop(lock(&self.ring));
        self.comes.notify_all();
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

    fn take_from_another(&self, own: &Turn, batch: &mut VecDeque<Entry>) -> Option<Arc<Shared>> {
        let (before, after) = self.turns.split_at(own.index());
        let fixed = after.iter().skip(1).chain(before).find_map(|turn| turn.take_half(batch));
        if fixed.is_some() || !self.had_substitutes.load(Relaxed) {
            return fixed;
        }
        let substitutes = lock(&self.substitutes).clone();
        substitutes.iter().find_map(|turn| turn.take_half(batch))
    }

    /// Until there is something that was not there when `shown` turns had been.
    fn sleep(&self, shown: u64, is_over: &AtomicBool) {
        let mut ring = lock(&self.ring);
        if ring.is_closed || !ring.ready.is_empty() || ring.shown != shown || is_over.load(Relaxed) {
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
    /// No thread takes anything more.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Relaxed);
        let ready = {
            let mut ring = lock(&self.ring);
            ring.is_closed = true;
            std::mem::take(&mut ring.ready)
        };
        drop(ready);
        self.comes.notify_all();
        self.clock.close();
    }

    /// Waits for all threads, unless a pool's or an engine's own thread calls it: those are waited for themselves.
    pub(crate) fn join(&self) {
        if is_own_thread() {
            return;
        }
        loop {
            // A substitute may come while others are waited for.
            let threads = std::mem::take(&mut *lock(&self.threads));
            if threads.is_empty() {
                return;
            }
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}

/// In the list of substitutes until it is dropped.
struct Listed {
    core: Arc<Core>,
    turn: Arc<Turn>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.core.substitutes).retain(|turn| !Arc::ptr_eq(turn, &self.turn));
    }
}
