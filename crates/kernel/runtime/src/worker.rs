//! One thread with its own reactor, timers and task queue.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;

use millstream_base::{Error, Kind, Origin, Result, Slot};
use millstream_compute::mark_own_thread;

use crate::beat::Beat;
use crate::builder::Time;
use crate::engine::{Engine, Inner};
use crate::inbox::{Inbox, Job};
use crate::reactor::{self, Home};
use crate::timers::{self, SleepWheel};
use crate::{Wheel, clock, local};

/// A worker of an engine: send work to it from any thread. Clones name the same worker.
#[derive(Clone)]
pub struct Worker(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) index: usize,
    pub(crate) engine: Weak<Inner>,
    pub(crate) inbox: Inbox,
    pub(crate) beat: Beat,
    pub(crate) wheel: Wheel,
    /// Its timers. There once it runs.
    pub(crate) sleepers: OnceLock<SleepWheel>,
    pub(crate) handle: OnceLock<tokio::runtime::Handle>,
    load: AtomicUsize,
}

impl Worker {
    pub(crate) fn new(index: usize, engine: Weak<Inner>) -> Self {
        Self(Arc::new(Shared {
            index,
            engine,
            inbox: Inbox::new(),
            beat: Beat::new(),
            wheel: Wheel::new(crate::now()),
            sleepers: OnceLock::new(),
            handle: OnceLock::new(),
            load: AtomicUsize::new(0),
        }))
    }

    /// The worker the current thread is, if it is one.
    pub fn current() -> Option<Self> {
        local::current()
    }

    /// 0 to the number of workers, less one.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// The engine, unless it is being torn down.
    pub fn engine(&self) -> Option<Engine> {
        self.0.engine.upgrade().map(Engine)
    }

    /// The wheel that keeps this worker's coarse deadlines.
    pub fn wheel(&self) -> &Wheel {
        &self.0.wheel
    }

    /// How many connections live here, for whoever spreads them.
    pub fn load(&self) -> usize {
        self.0.load.load(Relaxed)
    }

    /// Counts a connection in.
    pub fn add_load(&self) {
        self.0.load.fetch_add(1, Relaxed);
    }

    /// Counts a connection out.
    pub fn drop_load(&self) {
        self.0.load.fetch_sub(1, Relaxed);
    }

    /// Runs `job` on this worker's thread, soon. It must not block; it usually spawns with
    /// [`spawn_local`](crate::spawn_local).
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the engine has stopped; the job is dropped.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.0.inbox.push(Box::new(job) as Job).map_err(|_| stopped())
    }

    /// Makes a future on this worker and gives its output. The future itself need not be `Send`.
    ///
    /// Dropping what this returns does not stop the task.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the engine stops before it ends; [`Kind::Panic`] when it panics.
    pub fn spawn<F, T>(&self, make: F) -> impl Future<Output = Result<T>> + Send + use<F, T>
    where
        F: AsyncFnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (give, take) = tokio::sync::oneshot::channel();
        let sent = self.run(move || {
            local::spawn_local(async move {
                let output = local::contain(make()).await;
                // Nobody waits any more: the output is dropped, as said above.
                let _ = give.send(output);
            });
        });
        async move {
            sent?;
            take.await.map_err(|_| stopped())?
        }
    }
}

pub(crate) fn stopped() -> Error {
    Error::new(Kind::Cancelled, Origin::Local, "the engine has stopped")
}

/// What a worker's thread runs until the engine stops. Its inbox is closed afterwards, also by a panic.
///
/// # Errors
/// When the kernel gives no reactor; nothing of the worker has run then.
pub(crate) fn run_thread(worker: &Worker, slot: millstream_base::EngineId, time: Time) -> io::Result<()> {
    let _closing = CloseInbox(&worker.0.inbox);
    let runtime = build_runtime(time)?;
    let home = Home::new()?;
    Slot::enter(slot, worker.0.index);
    clock::enter_worker();
    let _ = worker.0.handle.set(runtime.handle().clone());
    local::enter(worker.clone());
    reactor::enter(&home);
    let _sleeping = LeaveTimers;
    let served = runtime.block_on(async {
        let sleepers = SleepWheel::new(crate::now());
        let _ = worker.0.sleepers.set(sleepers.clone());
        timers::enter(sleepers.clone());
        tokio::task::spawn_local(sleepers.drive());
        tokio::task::spawn_local(worker.0.wheel.clone().drive());
        drop(tokio::task::spawn_local(reactor::drive(home.clone(), worker.clone())?));
        serve_inbox(worker).await;
        Ok(())
    });
    worker.0.inbox.close();
    timers::leave();
    // Tasks are dropped here, on their own thread, while `Worker::current` still answers.
    let entered = runtime.enter();
    reactor::leave();
    drop(entered);
    drop(runtime);
    local::leave();
    served
}

/// Whoever waits for a job of a worker that is no more learns it.
struct CloseInbox<'a>(&'a Inbox);

impl Drop for CloseInbox<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Whoever waits in the worker's timers, from another thread, learns that they are no more: also by a panic.
struct LeaveTimers;

impl Drop for LeaveTimers {
    fn drop(&mut self) {
        timers::leave();
    }
}

fn build_runtime(time: Time) -> io::Result<tokio::runtime::LocalRuntime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().on_thread_unpark(clock::begin_turn);
    // The threads that block for this worker: marked as a whole, for they also drop what nobody takes of a call's output.
    builder.on_thread_start(mark_own_thread);
    match time {
        Time::Runs => {}
        #[cfg(feature = "test-util")]
        Time::Paused => drop(builder.start_paused(true)),
    }
    builder.build_local(tokio::runtime::LocalOptions::default())
}

async fn serve_inbox(worker: &Worker) {
    let stop = worker.0.engine.upgrade().map(|engine| engine.lifecycle.clone());
    let Some(lifecycle) = stop else { return };
    let stopped = lifecycle.stopped();
    let mut stopped = std::pin::pin!(stopped);
    std::future::poll_fn(|cx| {
        while let Poll::Ready(jobs) = worker.0.inbox.poll_take(cx) {
            for job in jobs {
                local::contain_call(job);
            }
        }
        stopped.as_mut().poll(cx)
    })
    .await;
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({})", self.0.index)
    }
}
