//! What code on a worker's thread can do: spawn, name what runs, contain panics.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use millstream_base::{Error, Kind, Origin, Result, panic_text};

use crate::beat::Label;
use crate::reactor;
use crate::worker::Worker;

thread_local! {
    static CURRENT: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

pub(crate) fn enter(worker: Worker) {
    CURRENT.set(Some(worker));
}

pub(crate) fn leave() {
    CURRENT.set(None);
}

pub(crate) fn current() -> Option<Worker> {
    CURRENT.with_borrow(Clone::clone)
}

/// Spawns a future on the current worker. It need not be `Send`; its panic is contained and counted.
///
/// Dropping the handle does not stop the task.
///
/// # Panics
/// Outside a worker of an engine.
#[track_caller]
pub fn spawn_local<F>(future: F) -> tokio::task::JoinHandle<Result<F::Output>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let worker = current().expect("spawn_local is called on a worker of an engine");
    let label = Label::of_spawn::<F>(Location::caller());
    tokio::task::spawn_local(Watched { worker, label, future: contain(future) })
}

impl Worker {
    /// Starts a task of this worker's own, under a label made before: what serves a connection. Nobody can wait for it; its
    /// panic is contained and counted. When the engine stops, it is dropped where it is.
    ///
    /// # Panics
    /// When the current thread is not this worker's.
    pub fn start(&self, label: Label, future: impl Future<Output = ()> + 'static) {
        debug_assert!(current().is_some_and(|worker| worker.index() == self.index()), "on its own thread");
        reactor::spawn(label, future);
    }
}

/// Names what the current poll is doing, for the report of a blocked worker. Nothing happens outside a worker.
pub fn note(label: Label) {
    CURRENT.with_borrow(|worker| {
        if let Some(worker) = worker {
            worker.0.beat.note(label);
        }
    });
}

/// Gives the output, or [`Kind::Panic`] with the panic's message.
pub(crate) fn contain<F: Future>(future: F) -> Contained<F> {
    Contained { future }
}

/// Runs a job; a panic is counted and goes no further.
pub(crate) fn contain_call(job: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
        let _ = panic_error(&*panic);
    }
}

/// Wakes each. A waker that panics keeps nobody from being woken: its panic is logged, counted on a worker, and goes no further.
pub(crate) fn wake_each(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(|waker| contain_call(|| waker.wake()));
}

/// Counts the panic and words it.
pub(crate) fn panic_error(panic: &(dyn std::any::Any + Send)) -> Error {
    let message = panic_text(panic).unwrap_or("panic without a message");
    if let Some(engine) = current().and_then(|worker| worker.engine()) {
        engine.count_panic();
    }
    tracing::error!(%message, "a task or a waker panicked; the worker goes on");
    Error::new(Kind::Panic, Origin::Caller, message.to_owned())
}

pin_project_lite::pin_project! {
    /// A future whose panic becomes an error.
    pub(crate) struct Contained<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_error(&*panic))),
        }
    }
}

pin_project_lite::pin_project! {
    /// A future that says on its worker's beat when it runs.
    struct Watched<F> {
        worker: Worker,
        label: Label,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.worker.0.beat.begin(*this.label);
        let poll = this.future.poll(cx);
        this.worker.0.beat.end();
        poll
    }
}
