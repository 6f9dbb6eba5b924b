//! A computation and the place of its output, in one allocation.
//!
//! Rules:
//! 1. `outcome` leaves `Pending` once: by the computation's end, by its deadline, or by its refusal. Whoever comes second drops what it has.
//! 2. Nothing of the user's runs under a lock: no closure, no waker, no drop of an output.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result, panic_text};

use crate::queue::Shared;
use crate::stats::Ran;
use crate::sync::{Mutex, lock};
use crate::token::CancelToken;

/// What a thread does with a computation.
pub(crate) trait Computation: Send + Sync {
    /// Runs it, unless it was cancelled before. It is counted before its caller can know of it.
    fn run(&self, queue: &Arc<Shared>);

    /// Does nobody want it any more?
    fn is_cancelled(&self) -> bool;

    /// It will never run: its caller gets this error.
    fn refuse(&self, error: Error);

    /// Its deadline has passed.
    fn expire(&self, limit: Duration);
}

/// What a caller does with a computation.
pub(crate) trait Outcome<T>: Send + Sync {
    fn cell(&self) -> &Cell<T>;
}

/// The place of an output.
pub(crate) struct Cell<T> {
    is_cancelled: AtomicBool,
    outcome: Mutex<State<T>>,
}

enum State<T> {
    Pending(Option<Waker>),
    Done(Result<T>),
    /// It was taken, or nobody wants it.
    Gone,
}

/// A closure that has not run, and the place of its output. What it gives as an error, its caller gets.
pub(crate) struct Work<F, T> {
    closure: Mutex<Option<F>>,
    cell: Cell<T>,
}

impl<F, T> Work<F, T> {
    pub(crate) fn new(closure: F) -> Arc<Self> {
        Arc::new(Self { closure: Mutex::new(Some(closure)), cell: Cell::default() })
    }
}

impl<F, T> Computation for Work<F, T>
where
    F: FnOnce(CancelToken<'_>) -> Result<T> + Send,
    T: Send,
{
    fn run(&self, queue: &Arc<Shared>) {
        let Some(closure) = lock(&self.closure).take() else { return };
        if self.is_cancelled() {
            discard(closure);
            queue.counts.ran(Ran::Skipped);
            return self.cell.finish(Err(cancelled()));
        }
        let token = CancelToken::new(&self.cell.is_cancelled, queue.is_closing());
        match catch_unwind(AssertUnwindSafe(|| closure(token))) {
            Ok(output) => {
                queue.counts.ran(Ran::Whole);
                self.cell.finish(output);
            }
            Err(payload) => {
                queue.counts.ran(Ran::Panicked);
                self.cell.finish(Err(panicked(&*payload)));
                discard(payload);
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }

    fn refuse(&self, error: Error) {
        self.cell.is_cancelled.store(true, Relaxed);
        let closure = lock(&self.closure).take();
        discard(closure);
        self.cell.finish(Err(error));
    }

    fn expire(&self, limit: Duration) {
        self.cell.expire(limit);
    }
}

impl<F, T> Outcome<T> for Work<F, T>
where
    F: Send,
    T: Send,
{
    fn cell(&self) -> &Cell<T> {
        &self.cell
    }
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self { is_cancelled: AtomicBool::new(false), outcome: Mutex::new(State::Pending(None)) }
    }
}

impl<T> Cell<T> {
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<T>> {
        if let Some(polled) = self.look(|old| old.as_ref().is_some_and(|old| old.will_wake(waker))) {
            return polled;
        }
        // Cloned and dropped outside of the lock.
        let mut new = Some(waker.clone());
        let polled = self.look(|old| {
            std::mem::swap(old, &mut new);
            true
        });
        drop(new);
        polled.unwrap_or(Poll::Pending)
    }

    /// The output, if it is there. `None` where it is not, and `is_known` says that the waker is another.
    fn look(&self, is_known: impl FnOnce(&mut Option<Waker>) -> bool) -> Option<Poll<Result<T>>> {
        let mut state = lock(&self.outcome);
        match &mut *state {
            State::Pending(waker) => is_known(waker).then_some(Poll::Pending),
            State::Done(_) => match std::mem::replace(&mut *state, State::Gone) {
                State::Done(output) => Some(Poll::Ready(output)),
                _ => unreachable!("it was looked at under this lock"),
            },
            State::Gone => panic!("a computation is not to be polled after it has ended"),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Relaxed)
    }

    /// The deadline has passed.
    pub(crate) fn expire(&self, limit: Duration) {
        self.is_cancelled.store(true, Relaxed);
        self.finish(Err(late(limit)));
    }

    /// Nobody waits any more.
    pub(crate) fn abandon(&self) {
        self.is_cancelled.store(true, Relaxed);
        let old = std::mem::replace(&mut *lock(&self.outcome), State::Gone);
        drop(old);
    }

    /// Rule 1.
    pub(crate) fn finish(&self, output: Result<T>) {
        let mut state = lock(&self.outcome);
        let State::Pending(waker) = &mut *state else {
            drop(state);
            discard(output);
            return;
        };
        let waker = waker.take();
        *state = State::Done(output);
        drop(state);
        if let Some(waker) = waker {
            // A waker of the user's may panic.
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        }
    }
}

/// What is the user's may panic when it is dropped.
pub(crate) fn discard<T>(value: T) {
    drop(catch_unwind(AssertUnwindSafe(|| drop(value))));
}

pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = panic_text(payload).unwrap_or("no text");
    Error::new(Kind::Panic, Origin::Caller, format!("a computation panicked: {text}"))
}

fn late(limit: Duration) -> Error {
    Error::new(Kind::Timeout, Origin::Local, format!("a computation took longer than its limit of {limit:?}"))
}

pub(crate) fn cancelled() -> Error {
    Error::new(Kind::Cancelled, Origin::Caller, "the computation was cancelled")
}

pub(crate) fn stopped() -> Error {
    Error::new(Kind::Cancelled, Origin::Local, "the compute pool has ended")
}
