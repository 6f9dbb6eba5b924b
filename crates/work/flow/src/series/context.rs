//! What the steps of a series share, and how they change it while it runs.
//!
//! Rules:
//! 1. `state` is touched under its lock; nothing of the user's runs under it, no waker, no drop of a step.
//! 2. `is_cancelled` is set after `state.reason`, and never taken back.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Cx, Waker};

use millstream_base::{Error, Kind, Origin, Result};
use millstream_runtime::Queue;
use tracing::Span;

use super::{Step, StepWork};
use crate::new_waker::NewWaker;
use crate::task::{Name, span_of};
use crate::{Task, TaskKind};

/// What the steps of a series share. Clones are the same; it derefs to the context that the series was made with.
pub struct Context<C>(pub(super) Arc<Shared<C>>);

pub(super) struct Shared<C> {
    pub(super) name: Name,
    pub(super) span: Span,
    context: C,
    is_cancelled: AtomicBool,
    state: Mutex<State<C>>,
}

struct State<C> {
    steps: VecDeque<Step<C>>,
    is_over: bool,
    /// Why it was cancelled; the run takes it.
    reason: Option<Box<str>>,
    /// Of the run, while it waits for a step.
    waker: Option<Waker>,
}

impl<C> Context<C> {
    /// Has this task run next, before all steps that have not begun. Of two pushed so the later runs first.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the series is over: the task is dropped.
    pub fn push_front(&self, task: Task<()>) -> Result<()> {
        self.push(task, VecDeque::push_front)
    }

    /// Has this task run after all others.
    ///
    /// # Errors
    /// As [`push_front`](Self::push_front).
    pub fn push_back(&self, task: Task<()>) -> Result<()> {
        self.push(task, VecDeque::push_back)
    }

    /// Ends the series: the step under way is dropped, or sees its token if it computes, no other begins, and the outcome is an error of
    /// [`Kind::Cancelled`] that gives `reason`. The first reason counts. Once the last step has ended it changes nothing.
    pub fn cancel(&self, reason: impl Into<String>) {
        let waker = {
            let mut state = self.0.lock();
            if state.is_over || state.reason.is_some() || self.is_cancelled() {
                return;
            }
            state.reason = Some(reason.into().into_boxed_str());
            self.0.is_cancelled.store(true, SeqCst);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Was it cancelled?
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(SeqCst)
    }

    fn push(&self, task: Task<()>, push: fn(&mut VecDeque<Step<C>>, Step<C>)) -> Result<()> {
        let step = Step::aside(task);
        let mut state = self.0.lock();
        if state.is_over {
            drop(state);
            let text = format!("series {} is over: it takes no more steps", self.0.name);
            return Err(Error::new(Kind::Cancelled, Origin::Caller, text));
        }
        push(&mut state.steps, step);
        Ok(())
    }
}

impl<C> Shared<C> {
    pub(super) fn new(name: Name, context: C, steps: VecDeque<Step<C>>) -> Arc<Self> {
        let span = tracing::debug_span!("series", flow = %name);
        let state = Mutex::new(State { steps, is_over: false, reason: None, waker: None });
        Arc::new(Self { name, span, context, is_cancelled: AtomicBool::new(false), state })
    }

    /// The span of a step.
    pub(super) fn span_of(&self, name: &str, kind: TaskKind) -> Span {
        span_of(&self.span, &self.name, name, kind)
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next step. Without one the series is over: nothing more can be pushed.
    pub(super) fn next(&self) -> Option<Step<C>> {
        let mut state = self.lock();
        let step = state.steps.pop_front();
        state.is_over |= step.is_none();
        step
    }

    /// The next step, if it computes in this queue.
    pub(super) fn next_in(&self, queue: &Queue) -> Option<Step<C>> {
        let mut state = self.lock();
        let is_same = match state.steps.front().map(|step| &step.work) {
            Some(StepWork::Compute(other, _)) => other == queue,
            Some(StepWork::Future(_)) => false,
            None => {
                state.is_over = true;
                false
            }
        };
        if is_same { state.steps.pop_front() } else { None }
    }

    /// A step has ended. If it was the last, the series is over, though the run has not heard of it.
    pub(super) fn end_if_last(&self) {
        let mut state = self.lock();
        state.is_over |= state.steps.is_empty();
    }

    /// It is over. Gives the steps that are left.
    pub(super) fn end(&self) -> VecDeque<Step<C>> {
        let (steps, waker) = {
            let mut state = self.lock();
            state.is_over = true;
            (std::mem::take(&mut state.steps), state.waker.take())
        };
        drop(waker);
        steps
    }

    /// The error, if it was cancelled; else the run is woken when it is. An error is given once.
    pub(super) fn cancelled(&self, cx: Option<&Cx<'_>>) -> Option<Error> {
        let mut new = NewWaker::default();
        loop {
            let mut state = self.lock();
            if self.is_cancelled.load(SeqCst) {
                let reason = state.reason.take().unwrap_or_else(|| "cancelled".into());
                return Some(cancelled(&self.name, &reason));
            }
            let cx = cx?;
            if new.put(state, |state| &mut state.waker, cx) {
                return None;
            }
        }
    }
}

fn cancelled(name: &str, reason: &str) -> Error {
    Error::new(Kind::Cancelled, Origin::Caller, format!("series {name} was cancelled: {reason}"))
}

impl<C> Clone for Context<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Deref for Context<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0.context
    }
}

impl<C> std::fmt::Debug for Context<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({:?})", self.0.name)
    }
}
