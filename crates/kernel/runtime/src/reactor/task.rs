//! Tasks that stay on their worker.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};

use tokio::task::coop::has_budget_remaining;

use super::home::{CURRENT, HERE, Here, Home};
use super::work::{Work, place};
use crate::beat::Label;
use crate::local::panic_error;
use crate::worker::Worker;

/// The tasks of a worker, and which of them are to be polled.
#[derive(Default)]
pub(super) struct Tasks {
    /// `None` while it is polled. The place of a task that has ended keeps what the next can use.
    list: Vec<Option<Task>>,
    free: Vec<usize>,
    ready: VecDeque<usize>,
    /// Whose timer has come, of those that wait in the worker's own timers.
    due: VecDeque<usize>,
    /// Places that nobody needs any more, to be given back bit by bit.
    unneeded: Vec<Option<Task>>,
}

struct Task {
    waker: Waker,
    flag: Arc<Flag>,
    label: Label,
    is_over: bool,
    /// `None` when it is over and was large.
    work: Option<Pin<Box<dyn Work>>>,
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
        self.awake();
    }

    /// Has the driver come.
    #[inline]
    fn awake(&self) {
        if !self.is_awake.replace(true)
            && let Some(home) = &*self.home.borrow()
        {
            home.wake_driver();
        }
    }
}

impl Task {
    /// Another task in the place of one that is over: in its memory too, if it is of the same kind.
    fn renew(&mut self, label: Label, future: impl Future<Output = ()> + 'static) {
        (self.label, self.is_over) = (label, false);
        let mut future = Some(future);
        if let Some(work) = &mut self.work {
            work.as_mut().begin(&mut future);
        }
        if let Some(future) = future {
            self.work = Some(place(future));
        }
    }
}

impl Tasks {
    pub(super) const fn new() -> Self {
        Self {
            list: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            due: VecDeque::new(),
            unneeded: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.len() == self.free.len()
    }

    /// How many are to be polled.
    #[inline]
    pub(super) fn ready(&self) -> usize {
        self.ready.len() + self.due.len()
    }

    /// A new task; says which, and whether it is to be queued: not if a waker of the place's last task has done so.
    fn add(
        &mut self,
        home: &Arc<Home>,
        label: Label,
        future: impl Future<Output = ()> + 'static,
    ) -> (usize, bool) {
        let key = self.free.pop().unwrap_or(self.list.len());
        match self.list.get_mut(key) {
            Some(Some(task)) => {
                task.renew(label, future);
                (key, !task.flag.queued.swap(true, AcqRel))
            }
            _ => {
                let flag = Arc::new(Flag { home: home.clone(), key, queued: AtomicBool::new(true) });
                let (waker, work) = (Waker::from(flag.clone()), Some(place(future)));
                self.list.push(Some(Task { waker, flag, label, is_over: false, work }));
                (key, true)
            }
        }
    }

    /// Puts back what was polled.
    fn put(&mut self, key: usize, task: Task) {
        let is_over = task.is_over;
        // None is there once the worker has ended.
        let Some(place) = self.list.get_mut(key) else { return };
        *place = Some(task);
        if is_over {
            self.free.push(key);
            if self.is_empty() && self.list.len() > KEPT {
                let list = std::mem::take(&mut self.list);
                if self.unneeded.is_empty() {
                    self.unneeded = list; // not moved: there may be millions
                } else {
                    self.unneeded.extend(list);
                }
                self.free = Vec::new();
            }
        }
    }

    /// Gives back some of the places that nobody needs; says whether all are.
    #[inline]
    pub(super) fn give_back(&mut self) -> bool {
        if self.unneeded.capacity() > 0 {
            self.unneeded.truncate(self.unneeded.len().saturating_sub(GIVEN_BACK));
            if self.unneeded.is_empty() {
                self.unneeded = Vec::new();
            }
        }
        self.unneeded.is_empty()
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
        self.list.get_mut(key)?.take_if(|task| !task.is_over && !task.flag.queued.load(Relaxed))
    }

    /// Queues what another thread woke; its flag is set already.
    pub(super) fn queue_woken(&mut self, keys: Vec<usize>) {
        self.ready.extend(keys);
    }

    /// The next task to poll, out of the list.
    #[inline]
    fn take_next(&mut self) -> Option<(usize, Task)> {
        while let Some(key) = self.ready.pop_front() {
            let Some(place) = self.list.get_mut(key) else { continue };
            let Some(task) = place else { continue };
            task.flag.queued.swap(false, AcqRel); // rule 4
            // It may have ended since.
            if !task.is_over {
                return place.take().map(|task| (key, task));
            }
        }
        None
    }

    /// Some of those whose timer has come.
    fn take_due(&mut self) -> [usize; TOUCHED] {
        let mut some = [usize::MAX; TOUCHED];
        let count = self.due.len().min(TOUCHED);
        some.iter_mut().zip(self.due.drain(..count)).for_each(|(place, key)| *place = key);
        self.touch(&some);
        some
    }

    /// Loads what polling these will touch. The loads wait for memory all at the same time, where the polls would wait one
    /// behind the other.
    fn touch(&self, keys: &[usize]) {
        let loaded = |key: &usize| {
            let task = self.list.get(*key)?.as_ref()?;
            Some(task.flag.queued.load(Relaxed) | task.work.as_ref()?.touch())
        };
        std::hint::black_box(keys.iter().filter_map(loaded).filter(|is_there| *is_there).count());
    }
}

/// Starts a task on the reactor of this thread.
///
/// # Panics
/// Outside a worker.
pub(crate) fn spawn(label: Label, future: impl Future<Output = ()> + 'static) {
    HERE.with(|here| {
        let home = here.home.borrow();
        let home = home.as_ref().expect("tasks are spawned on a worker");
        let (key, is_new) = here.tasks.borrow_mut().add(home, label, future);
        if is_new {
            here.push(key);
        }
    });
}

/// The key of the task that is polled now on this thread, if it is a worker's own, and this context is the task's and not that of
/// something within it. Whoever notes it may have it queued with [`queue_all`] on this thread, whatever became of the task.
#[inline]
pub(crate) fn current_task(cx: &Context<'_>) -> Option<usize> {
    let (flag, key) = CURRENT.get();
    (flag != 0 && cx.waker().data().addr() == flag).then_some(key)
}

/// Has these tasks of this thread's reactor polled, soon. A task that has ended is nobody, or whoever has the key now: polled
/// for nothing.
pub(crate) fn queue_due(keys: impl Iterator<Item = usize>) {
    HERE.with(|here| {
        here.tasks.borrow_mut().due.extend(keys);
        here.awake();
    });
}

/// Polls those whose timer has come, some at a time; false when tokio wants its turn before all were.
pub(super) fn run_due(here: &Here, worker: &Worker) -> bool {
    let mut left = here.tasks.borrow().due.len();
    while left > 0 {
        if !has_budget_remaining() {
            return false;
        }
        let some = here.tasks.borrow_mut().take_due();
        some.iter().take(left).for_each(|key| run_now(here, worker, *key));
        left = left.saturating_sub(TOUCHED);
    }
    true
}

/// As many cache lines as a core waits for at a time, and some; a guess.
const TOUCHED: usize = 32;
/// Places that are kept when the last task has ended.
const KEPT: usize = 1024;
/// Places given back in one look at the sockets: some 20 us, at 80 ns each (two allocations; a guess).
const GIVEN_BACK: usize = 256;

/// Polls the task that waits longest; says whether there was one.
pub(super) fn run_next(here: &Here, worker: &Worker) -> bool {
    let next = here.tasks.borrow_mut().take_next();
    let Some((key, task)) = next else { return false };
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
    let poll = AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(&task.waker);
        task.work.as_mut().is_none_or(|work| work.as_mut().poll(&mut cx).is_ready())
    });
    let is_done = catch_unwind(poll).unwrap_or_else(|panic| {
        panic_error(&*panic);
        true
    });
    worker.0.beat.end();
    CURRENT.set((0, 0));
    if is_done {
        end(&mut task);
    }
    here.tasks.borrow_mut().put(key, task);
}

fn end(task: &mut Task) {
    task.is_over = true;
    let Some(mut work) = task.work.take() else { return };
    // The future's own drop is user code as well.
    match catch_unwind(AssertUnwindSafe(|| work.as_mut().end())) {
        Ok(()) => task.work = work.is_small().then_some(work),
        Err(panic) => drop(panic_error(&*panic)),
    }
}
