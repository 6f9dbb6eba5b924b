//! A thread's turn at a queue, which threads that have nothing to do may take from: short jobs must not lie behind one that turns out
//! long while another thread is idle.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::Entry;
use crate::queue::Shared;
use crate::sync::{Mutex, lock};

/// The jobs of one thread's turn that have not begun.
pub(crate) struct Turn {
    index: usize,
    jobs: Mutex<Jobs>,
}

#[derive(Default)]
struct Jobs {
    /// Whose they are, while it lasts.
    queue: Option<Arc<Shared>>,
    /// May others take from it?
    is_open: bool,
    jobs: VecDeque<Entry>,
}

impl Turn {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, jobs: Mutex::default() }
    }

    /// Its thread's number; that of a substitute is beyond all.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Begins, with these jobs; leaves `jobs` empty, and as large as it was.
    pub(crate) fn begin(&self, jobs: &mut VecDeque<Entry>, queue: Arc<Shared>, is_open: bool) {
        let mut turn = lock(&self.jobs);
        std::mem::swap(&mut turn.jobs, jobs);
        turn.is_open = is_open;
        let old = turn.queue.replace(queue);
        drop(turn);
        drop(old);
    }

    pub(crate) fn next(&self) -> Option<Entry> {
        lock(&self.jobs).jobs.pop_front()
    }

    /// Whose turn it is.
    pub(crate) fn queue(&self) -> Option<Arc<Shared>> {
        lock(&self.jobs).queue.clone()
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
