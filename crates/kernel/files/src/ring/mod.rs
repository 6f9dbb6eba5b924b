//! The rings of an engine: one a worker, made when the worker needs it first, and driven by a task of the worker.
//!
//! Operations that come during a turn of the worker are handed to the kernel in growing groups. Completions that come while the driver
//! sleeps signal an eventfd that the worker's reactor watches.
//!
//! Rules:
//! 1. A ring is touched on its worker's thread only. Other threads send operations there.
//! 2. A ring is not borrowed while an operation answers: the waker it calls may be anybody's. It is while a buffer is asked for its memory:
//!    an operation that a buffer begins there ends in a panic, which is contained as any other of a buffer's.
//! 3. What is under way holds its `Files`, and with it these `Rings`: they go when nothing is.

mod raw;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use millstream_base::{EngineId, Slot};
use millstream_runtime::{Interest, Watch, Worker, spawn_local};

use self::raw::{Landed, Ring};
use crate::files::run_on_thread;
use crate::operation::{Operate, work_off};
use crate::stats::Backend;

/// The rings of an engine's workers.
pub(crate) struct Rings {
    shared: Arc<Shared>,
    workers: Box<[Worker]>,
    /// Where the next operation of a foreign thread goes, modulo the workers.
    next: AtomicUsize,
}

struct Shared {
    id: u64,
    in_flight: u32,
    /// No worker has failed to make its ring so far.
    are_there: AtomicBool,
}

impl Rings {
    /// Rings for these workers, if the kernel has any. None is made yet.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn probe(workers: &[Worker], in_flight: usize) -> io::Result<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        raw::probe()?;
        let shared = Shared {
            id: NEXT_ID.fetch_add(1, Relaxed),
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            are_there: AtomicBool::new(true),
        };
        Ok(Self { shared: Arc::new(shared), workers: workers.into(), next: AtomicUsize::new(0) })
    }

    pub(crate) fn are_there(&self) -> bool {
        self.shared.are_there.load(Relaxed)
    }

    /// Begins an operation: on this thread's ring if it is a worker of the engine, else on that of the worker whose turn it is.
    pub(crate) fn submit(&self, engine: EngineId, operation: Box<dyn Operate>) {
        if Slot::index_in(engine).is_some() {
            return push(&self.shared, operation);
        }
        let next = self.next.fetch_add(1, Relaxed) % self.workers.len();
        let shared = self.shared.clone();
        // Where the engine has stopped the operation is dropped, and says so.
        drop(self.workers[next].run(move || push(&shared, operation)));
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        let id = self.shared.id;
        for worker in &self.workers {
            // A worker that has stopped has no ring any more.
            drop(worker.run(move || close(id)));
        }
    }
}

thread_local! {
    /// Those of this worker.
    static DRIVERS: RefCell<Vec<Rc<Driver>>> = const { RefCell::new(Vec::new()) };
}

/// A worker's ring, and who drives it.
struct Driver {
    id: u64,
    ring: RefCell<Ring>,
    watch: Watch,
    waker: RefCell<Option<Waker>>,
    /// It will have a turn without another wake.
    is_awake: Cell<bool>,
    is_closing: Cell<bool>,
}

fn push(shared: &Arc<Shared>, operation: Box<dyn Operate>) {
    match find_or_start(shared) {
        Ok(driver) => {
            driver.ring.borrow_mut().push(operation);
            driver.wake();
        }
        Err(error) => {
            if shared.are_there.swap(false, Relaxed) {
                tracing::warn!(%error, "a worker has no ring: files are read and written by threads");
            }
            leave_to_threads(operation);
        }
    }
}

fn find(id: u64) -> Option<Rc<Driver>> {
    DRIVERS.with_borrow(|drivers| drivers.iter().find(|driver| driver.id == id).cloned())
}

fn find_or_start(shared: &Arc<Shared>) -> io::Result<Rc<Driver>> {
    if let Some(driver) = find(shared.id) {
        return Ok(driver);
    }
    let gone = || io::Error::other("the worker has stopped");
    let ring = Ring::new(shared.in_flight)?;
    let watch = Watch::new(ring.event())?.ok_or_else(gone)?;
    let driver = Rc::new(Driver {
        id: shared.id,
        ring: RefCell::new(ring),
        watch,
        waker: RefCell::new(None),
        is_awake: Cell::new(true),
        is_closing: Cell::new(false),
    });
    DRIVERS.with_borrow_mut(|drivers| drivers.push(driver.clone()));
    let driving = Driving(driver.clone());
    drop(spawn_local(std::future::poll_fn(move |cx| driving.0.poll(cx))));
    Ok(driver)
}

fn close(id: u64) {
    if let Some(driver) = find(id) {
        driver.is_closing.set(true);
        driver.wake();
    }
}

fn leave_to_threads(mut operation: Box<dyn Operate>) {
    operation.hand_to(Backend::Pool);
    run_on_thread(Worker::current().as_ref(), move || work_off(operation));
}

impl Driver {
    fn wake(&self) {
        if !self.is_awake.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// A turn: tells the kernel what is new, and answers what has ended.
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        self.watch.clear(Interest::Read);
        self.is_awake.set(false);
        let mut landed = Vec::new();
        let turned = self.ring.borrow_mut().turn(&mut landed);
        if let Err(error) = turned {
            tracing::debug!(%error, "the ring takes nothing at present");
        }
        for Landed { operation, end } in landed {
            match end {
                Some(end) => operation.finish(end),
                None => leave_to_threads(operation),
            }
        }
        let mut ring = self.ring.borrow_mut();
        if self.is_closing.get() && ring.is_idle() {
            return Poll::Ready(());
        }
        if !ring.rest() {
            drop(ring);
            self.wake();
        }
        let _ = self.watch.poll_ready(Interest::Read, &mut Context::from_waker(cx.waker()));
        Poll::Pending
    }
}

/// Drives a ring for as long as it is there; takes it away when it is dropped, which waits for the disk.
struct Driving(Rc<Driver>);

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVERS.with_borrow_mut(|drivers| drivers.retain(|driver| driver.id != self.0.id));
    }
}
