//! A thread's seat in a pool, and who serves in its place while it blocks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use millstream_base::Result;
use rayon::ThreadBuilder;

use crate::queue::Shared;
use crate::ring::Core;
use crate::turn::Turn;

thread_local! {
    static SEAT: RefCell<Option<Seat>> = const { RefCell::new(None) };
}

/// What a thread of a pool serves from.
#[derive(Clone)]
pub(crate) struct Seat {
    core: Arc<Core>,
    turn: Arc<Turn>,
    /// Another serves in its place.
    is_absent: Rc<Cell<bool>>,
}

impl Seat {
    pub(crate) fn new(core: Arc<Core>, turn: Arc<Turn>) -> Self {
        Self { core, turn, is_absent: Rc::default() }
    }

    /// Has the calling thread sit here while `body` runs.
    pub(crate) fn take(self, body: impl FnOnce(&Core, &Turn)) {
        SEAT.with(|seat| seat.replace(Some(self.clone())));
        body(&self.core, &self.turn);
        SEAT.with(|seat| seat.take());
    }

    /// The calling thread's.
    pub(crate) fn current() -> Option<Self> {
        SEAT.try_with(|seat| seat.borrow().clone()).ok().flatten()
    }

    /// Does it serve this queue now?
    pub(crate) fn is_serving(&self, queue: &Arc<Shared>) -> bool {
        self.turn.is_of(queue)
    }

    /// What has not begun goes back: what has begun takes long, and nothing is to lie behind it.
    pub(crate) fn give_back(&self) {
        if let Some((queue, rest)) = self.turn.take_rest() {
            queue.take_back(rest);
        }
    }

    /// Has another thread serve any queue, until what this returns is dropped.
    fn leave(self) -> Result<Absence> {
        self.give_back();
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        self.core.substitute(move |core, turn| core.work(turn, &told))?;
        Ok(Absence::new(self, is_over))
    }

    /// Has another thread work for a team in this one's place: in the same turn, so that it is there also in a serial queue. It ends
    /// with the team.
    pub(crate) fn leave_to(self, worker: ThreadBuilder, queue: &Arc<Shared>) -> Result<Absence> {
        self.give_back();
        let queue = queue.clone();
        self.core.substitute(move |_, turn| {
            turn.begin(&mut VecDeque::new(), &queue, false);
            worker.run();
            turn.end(&mut VecDeque::new());
        })?;
        Ok(Absence::new(self, Arc::default()))
    }
}

/// Runs `work`, which blocks. Where a thread of a pool does so, another serves in its place meanwhile.
///
/// # Errors
/// [`Kind::Limit`](millstream_base::Kind::Limit) where too many do so already; [`Kind::Io`](millstream_base::Kind::Io) where no thread
/// can be started. `work` has not run then.
pub(crate) fn blocking<R>(work: impl FnOnce() -> R) -> Result<R> {
    let _absence = match Seat::current() {
        Some(seat) if !seat.is_absent.get() => Some(seat.leave()?),
        _ => None,
    };
    Ok(work())
}

/// While it is there, another serves in its thread's place.
pub(crate) struct Absence {
    seat: Seat,
    is_over: Arc<AtomicBool>,
    /// Its thread was absent before.
    was_absent: bool,
}

impl Absence {
    fn new(seat: Seat, is_over: Arc<AtomicBool>) -> Self {
        let was_absent = seat.is_absent.replace(true);
        Self { seat, is_over, was_absent }
    }
}

impl Drop for Absence {
    fn drop(&mut self) {
        self.seat.is_absent.set(self.was_absent);
        self.is_over.store(true, Relaxed);
        self.seat.core.wake_all();
    }
}
