//! A thread's turn at a queue, which threads that have nothing to do may take from: short jobs must not lie behind one that turns out
//! long while another thread is idle.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::entry::Entry;
use crate::lock;
use crate::queue::Shared;

/// The jobs of one thread's turn that have not begun.
#[derive(Default)]
pub(crate) struct Turn(Mutex<Jobs>);

#[derive(Default)]
struct Jobs {
    /// Whose they are; `None` where nobody may take from them.
    open_to_all: Option<Arc<Shared>>,
    jobs: VecDeque<Entry>,
}

impl Turn {
    /// Begins, with these jobs; leaves `jobs` empty, and as large as it was.
    pub(crate) fn begin(&self, jobs: &mut VecDeque<Entry>, open_to_all: Option<Arc<Shared>>) {
        let mut turn = lock(&self.0);
        std::mem::swap(&mut turn.jobs, jobs);
        let old = std::mem::replace(&mut turn.open_to_all, open_to_all);
        drop(turn);
        drop(old);
    }

    pub(crate) fn next(&self) -> Option<Entry> {
        lock(&self.0).jobs.pop_front()
    }

    /// Ends it; what is left of it goes to `rest`, which is empty.
    pub(crate) fn end(&self, rest: &mut VecDeque<Entry>) {
        let mut turn = lock(&self.0);
        std::mem::swap(&mut turn.jobs, rest);
        let queue = turn.open_to_all.take();
        drop(turn);
        drop(queue);
    }

    /// Takes the later half, if anybody may; `into` is empty.
    pub(crate) fn take_half(&self, into: &mut VecDeque<Entry>) -> Option<Arc<Shared>> {
        let mut turn = lock(&self.0);
        let queue = turn.open_to_all.clone().filter(|_| !turn.jobs.is_empty())?;
        let kept = turn.jobs.len() / 2;
        into.extend(turn.jobs.drain(kept..));
        Some(queue)
    }
}
