//! Work sent to a worker from another thread: one wake for a batch.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A thing to run on the worker's thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Jobs in order of arrival. The lock is held for a push or a swap, never while a job runs.
pub(crate) struct Inbox(Mutex<State>);

struct State {
    jobs: VecDeque<Job>,
    waker: Option<Waker>,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { jobs: VecDeque::new(), waker: None, closed: false }))
    }

    /// Queues a job. Gives it back when the worker has stopped.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.closed {
                return Err(job);
            }
            state.jobs.push_back(job);
            // Only the first job of a batch wakes: the worker takes them all.
            if state.jobs.len() == 1 { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes everything that is there.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<VecDeque<Job>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.jobs.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut state.jobs))
    }

    /// No job is taken any more; those that waited are dropped, outside the lock.
    pub(crate) fn close(&self) {
        let jobs = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        drop(jobs);
    }
}
