//! A thread's turn at a queue, which threads that have nothing to do may take from: short jobs must not lie behind one that turns out
//! long while another thread is idle.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::entry::Entry;
use crate::queue::Shared;
use crate::sync::{Mutex, lock};

/// The jobs of one thread's turn that have not begun.
pub(crate) struct Turn {
    index: usize,
    /// Whose turn it is, to be compared alone: a count up and down of the queue's `Arc` costs turns of a single job a tenth (bench `compute`).
    serving: AtomicPtr<Shared>,
    jobs: Mutex<Jobs>,
}

#[derive(Default)]
struct Jobs {
    /// Whose they are, where there were several.
    queue: Option<Arc<Shared>>,
    /// May others take from it?
    is_open: bool,
    jobs: VecDeque<Entry>,
}

impl Turn {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, serving: AtomicPtr::default(), jobs: Mutex::default() }
    }

    /// Its thread's number; that of a substitute is beyond all.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Begins, with these jobs; leaves `jobs` empty, and as large as it was.
    pub(crate) fn begin(&self, jobs: &mut VecDeque<Entry>, queue: &Arc<Shared>, is_open: bool) {
        self.serving.store(Arc::as_ptr(queue).cast_mut(), Relaxed);
        let kept = (jobs.len() > 1).then(|| queue.clone());
        let mut turn = lock(&self.jobs);
        std::mem::swap(&mut turn.jobs, jobs);
        turn.is_open = is_open;
        let old = std::mem::replace(&mut turn.queue, kept);
        drop(turn);
        drop(old);
    }

    pub(crate) fn next(&self) -> Option<Entry> {
        lock(&self.jobs).jobs.pop_front()
    }

    /// Is it this queue's turn? Asked by the turn's own thread, which keeps the queue while it lasts.
    pub(crate) fn is_of(&self, queue: &Arc<Shared>) -> bool {
        std::ptr::eq(self.serving.load(Relaxed), Arc::as_ptr(queue))
    }

    /// What has not begun, where there is any; the turn goes on without.
    pub(crate) fn take_rest(&self) -> Option<(Arc<Shared>, VecDeque<Entry>)> {
        let mut turn = lock(&self.jobs);
        if turn.jobs.is_empty() {
            return None;
        }
        Some((turn.queue.clone()?, std::mem::take(&mut turn.jobs)))
    }

    /// Ends it; what is left of it goes to `rest`, which is empty.
    pub(crate) fn end(&self, rest: &mut VecDeque<Entry>) {
        self.serving.store(std::ptr::null_mut(), Relaxed);
        let mut turn = lock(&self.jobs);
        std::mem::swap(&mut turn.jobs, rest);
        turn.is_open = false;
        let queue = turn.queue.take();
        drop(turn);
        drop(queue);
    }

    /// Takes the later half, if anybody may; `into` is empty.
    pub(crate) fn take_half(&self, into: &mut VecDeque<Entry>) -> Option<Arc<Shared>> {
        let mut turn = lock(&self.jobs);
        if !turn.is_open || turn.jobs.is_empty() {
            return None;
        }
        let queue = turn.queue.clone()?;
        let kept = turn.jobs.len() / 2;
        into.extend(turn.jobs.drain(kept..));
        Some(queue)
    }
}
