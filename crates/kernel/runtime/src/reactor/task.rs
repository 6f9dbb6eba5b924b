//! Tasks that stay on their worker.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};

use slab::Slab;

use super::home::{CURRENT, HERE, Here, Home};
use crate::beat::Label;
use crate::local::panic_error;
use crate::worker::Worker;

/// The tasks of a worker, and which of them are to be polled.
#[derive(Default)]
pub(super) struct Tasks {
    /// `None` while it is polled.
    list: Slab<Option<Task>>,
    ready: VecDeque<usize>,
}

struct Task {
    waker: Waker,
    flag: Arc<Flag>,
    label: Label,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// What a task's wakers share.
struct Flag {
    home: Arc<Home>,
    key: usize,
    queued: AtomicBool,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        // Rule 4. The poll clears it by a read-modify-write: of a wake and a poll at the same time, the poll sees what the
        // waker did, or the waker sees it cleared.
        if self.queued.swap(true, AcqRel) {
            return;
        }
        let pushed = HERE.try_with(|here| {
            let is_here = self.home.is_here();
            if is_here {
                here.push(self.key);
            }
            is_here
        });
        if pushed != Ok(true) {
            let key = self.key;
            self.home.leave_note(|notes| notes.woken.push(key));
        }
    }
}

impl Here {
    /// Queues a task whose flag says so, and has the driver come.
    #[inline]
    fn push(&self, key: usize) {
        self.tasks.borrow_mut().ready.push_back(key);
        if !self.is_awake.replace(true)
            && let Some(home) = &*self.home.borrow()
        {
            home.wake_driver();
        }
    }
}

impl Tasks {
    pub(super) const fn new() -> Self {
        Self { list: Slab::new(), ready: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are to be polled.
    #[inline]
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Queues a task that an event concerns, unless it is queued.
    pub(super) fn queue(&mut self, key: usize) {
        if let Some(Some(task)) = self.list.get(key)
            && !task.flag.queued.swap(true, AcqRel)
        {
            self.ready.push_back(key);
        }
    }

    /// The task an event concerns, out of the list; none if it is queued and so has its turn soon.
    #[inline]
    fn take_idle(&mut self, key: usize) -> Option<Task> {
        self.list.get_mut(key)?.take_if(|task| !task.flag.queued.load(Relaxed))
    }

    /// Queues what another thread woke; its flag is set already.
    pub(super) fn queue_woken(&mut self, keys: Vec<usize>) {
        self.ready.extend(keys);
    }

    /// The next task to poll, out of the list.
    #[inline]
    fn take_next(&mut self) -> Option<(usize, Task)> {
        while let Some(key) = self.ready.pop_front() {
            // It may have ended since.
            if let Some(task) = self.list.get_mut(key).and_then(Option::take) {
                return Some((key, task));
            }
        }
        None
    }
}

/// Starts a task on the reactor of this thread.
///
/// # Panics
/// Outside a worker.
pub(crate) fn spawn(label: Label, future: Pin<Box<dyn Future<Output = ()>>>) {
    HERE.with(|here| {
        let home = here.home.borrow().clone().expect("tasks are spawned on a worker");
        let key = {
            let mut tasks = here.tasks.borrow_mut();
            let entry = tasks.list.vacant_entry();
            let key = entry.key();
            let flag = Arc::new(Flag { home, key, queued: AtomicBool::new(true) });
            let waker = Waker::from(flag.clone());
            entry.insert(Some(Task { waker, flag, label, future }));
            key
        };
        here.push(key);
    });
}

/// Polls the task that waits longest; says whether there was one.
pub(super) fn run_next(here: &Here, worker: &Worker) -> bool {
    let next = here.tasks.borrow_mut().take_next();
    let Some((key, task)) = next else { return false };
    task.flag.queued.swap(false, AcqRel); // rule 4
    run(here, worker, key, task);
    true
}

/// Polls a task at once, because of an event. Whoever wakes it meanwhile queues it, so nothing is lost, and nothing
/// atomic is needed.
#[inline]
pub(super) fn run_now(here: &Here, worker: &Worker, key: usize) {
    let task = here.tasks.borrow_mut().take_idle(key);
    if let Some(task) = task {
        run(here, worker, key, task);
    }
}

#[inline]
fn run(here: &Here, worker: &Worker, key: usize, mut task: Task) {
    CURRENT.set((task.waker.data().addr(), key));
    worker.0.beat.begin(task.label);
    let poll =
        AssertUnwindSafe(|| task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready());
    let is_done = catch_unwind(poll).unwrap_or_else(|panic| {
        panic_error(&*panic);
        true
    });
    worker.0.beat.end();
    CURRENT.set((0, 0));
    if is_done {
        end(here, key, task);
    } else if let Some(place) = here.tasks.borrow_mut().list.get_mut(key) {
        *place = Some(task);
    }
}

#[cold]
fn end(here: &Here, key: usize, task: Task) {
    here.tasks.borrow_mut().list.try_remove(key);
    // The future's own drop is user code as well.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(task))) {
        panic_error(&*panic);
    }
}
