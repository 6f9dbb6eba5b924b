//! A run of a graph: what has ended, and what may begin.
//!
//! Rules:
//! 1. A node's fate is stored once. Whoever stores it lowers `pending` of each successor, by one an edge; whoever brings that to 0
//!    decides what becomes of the successor, and nobody else does.
//! 2. `left` counts nodes without a fate, and those whose end a thread has not reported yet ([`State::count_down`]): once for many,
//!    since all threads meet at it. Who lowers it to 0 wakes the run.
//! 3. `inbox` is touched under its lock; nothing of the user's runs under it, no waker.
//! 4. With a limit, `running` counts nodes that have begun and have no fate yet.

use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};

use millstream_base::{Error, Result};
use tracing::Span;

use super::crew::Crew;
use super::finished::Fate;
use super::plan::{Edge, EdgeKind, OnFailure, Output, Plan};
use crate::new_waker::NewWaker;
use crate::record::Recorder;
use crate::task::{in_flow, span_of};

/// What the nodes of a run have given so far.
#[derive(Debug)]
pub struct Outputs(Box<[Slot]>);

#[derive(Debug)]
enum Slot {
    /// Stored by one of several, or not yet.
    Shared(OnceLock<Output>),
    /// Stored while nobody else was there.
    Owned(Output),
}

/// Lies where a node's output would, if it has none. What a slot may hold is so a pair of words, which stay in registers.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// The error lies in the inbox.
    Failed,
    Skipped,
    Cancelled,
}

pub(super) struct State {
    pub(super) plan: Arc<Plan>,
    pub(super) outputs: Outputs,
    /// Edges to each node from nodes without a fate. Apart from the outputs: all of it stays in a core's cache.
    pending: Box<[AtomicU32]>,
    left: AtomicUsize,
    pub(super) is_cancelled: AtomicBool,
    /// Has a node no output, though it has a fate?
    has_gaps: AtomicBool,
    /// One for each queue.
    pub(super) crews: Box<[Crew]>,
    inbox: Mutex<Inbox>,
    pub(super) span: Span,
    pub(super) recorder: Option<Recorder>,
}

#[derive(Default)]
struct Inbox {
    /// Nodes that the run is to begin.
    ready: Vec<usize>,
    /// The run's, while it waits.
    waker: Option<Waker>,
    errors: Vec<(usize, Error)>,
    running: usize,
    /// Ready, but above the limit.
    held: VecDeque<usize>,
}

impl Slot {
    fn get(&self) -> Option<&Output> {
        match self {
            Self::Shared(output) => output.get(),
            Self::Owned(output) => Some(output),
        }
    }

    /// Is it the first?
    fn set(&self, output: Output) -> bool {
        matches!(self, Self::Shared(slot) if slot.set(output).is_ok())
    }
}

impl Outputs {
    /// What this node gave.
    pub(super) fn get<T: Send + Sync + 'static>(&self, index: usize) -> Option<Arc<T>> {
        self.0[index].get()?.clone().downcast().ok()
    }

    pub(super) fn fate(&self, index: usize) -> Fate {
        match self.0[index].get().map(|output| output.downcast_ref::<Gap>()) {
            Some(None) => Fate::Done,
            Some(Some(Gap::Failed)) => Fate::Failed,
            Some(Some(Gap::Skipped)) => Fate::Skipped,
            Some(Some(Gap::Cancelled)) | None => Fate::Cancelled,
        }
    }

    /// May the node at the end of this edge run, as far as the other end is concerned?
    fn satisfies(&self, edge: &Edge) -> bool {
        let output = self.0[edge.from as usize].get();
        match edge.kind {
            EdgeKind::Optional => true,
            EdgeKind::Value | EdgeKind::After => output.is_some_and(|output| !output.is::<Gap>()),
            EdgeKind::When => output.and_then(|output| output.downcast_ref()) == Some(&true),
        }
    }

    /// Is it the first of this node?
    fn set(&self, index: usize, output: Output) -> bool {
        self.0[index].set(output)
    }

    /// Is it the first that is known of this node?
    #[cold]
    fn set_gap(&self, index: usize, gap: Gap) -> bool {
        self.set(index, Arc::new(gap))
    }
}

impl State {
    pub(super) fn new(plan: Arc<Plan>, is_recorded: bool) -> Arc<Self> {
        let edges = |index| u32::try_from(plan.edges_of(index).len()).expect("fewer than 2^32 edges");
        Arc::new(Self {
            outputs: Outputs((0..plan.len()).map(|_| Slot::Shared(OnceLock::new())).collect()),
            pending: (0..plan.len()).map(|index| AtomicU32::new(edges(index))).collect(),
            left: AtomicUsize::new(plan.len()),
            is_cancelled: AtomicBool::new(false),
            has_gaps: AtomicBool::new(false),
            crews: plan.queues.iter().map(Crew::new).collect(),
            inbox: Mutex::default(),
            span: tracing::debug_span!("graph", flow = %plan.name),
            recorder: is_recorded.then(|| Recorder::new(plan.name.clone())),
            plan,
        })
    }

    /// The span of a node.
    pub(super) fn span_of(&self, index: usize) -> Span {
        let node = &self.plan.details[index];
        span_of(&self.span, &self.plan.name, &node.name, node.kind)
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.load(Acquire) == 0
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Relaxed)
    }

    /// A node that had begun has ended. Puts those that may begin now into `ready`; gives how many have a fate now that had none, to be
    /// reported ([`count_down`](Self::count_down)).
    pub(super) fn end(&self, index: usize, outcome: Result<Output>, ready: &mut Vec<usize>) -> usize {
        let count = match outcome {
            Ok(output) => self.done(index, output, ready),
            Err(error) => self.fail(index, error, ready),
        };
        self.make_room(ready);
        count
    }

    /// The same where nobody else has this state: nothing is stored atomically.
    #[inline]
    pub(super) fn end_alone(
        &mut self,
        index: usize,
        outcome: Result<Output>,
        ready: &mut Vec<usize>,
    ) -> usize {
        let output = match outcome {
            Ok(output) => output,
            Err(error) => return self.end(index, Err(error), ready),
        };
        debug_assert!(self.outputs.0[index].get().is_none(), "a node ends once");
        self.outputs.0[index] = Slot::Owned(output);
        let count = self.follow(index, ready);
        self.make_room(ready);
        count
    }

    /// With a limit, another may run in the place of one that has ended.
    fn make_room(&self, ready: &mut Vec<usize>) {
        if self.plan.max_parallel.is_some() {
            let mut inbox = self.lock();
            inbox.running -= 1;
            self.hold_back(&mut inbox, ready);
        }
    }

    /// Stores what a node gave; the rest as [`end`](Self::end).
    pub(super) fn done(&self, index: usize, output: Output, ready: &mut Vec<usize>) -> usize {
        if self.outputs.set(index, output) { self.follow(index, ready) } else { 0 }
    }

    /// Comes to those that depend on a node whose fate was stored just now, and to what depends on those of them that can't run.
    fn follow(&self, index: usize, ready: &mut Vec<usize>) -> usize {
        let mut skipped = Vec::new();
        self.lower_successors(index, ready, &mut skipped);
        let mut count = 1;
        while let Some(index) = skipped.pop() {
            // Only the run's end may have been quicker.
            if self.outputs.set_gap(index, Gap::Skipped) {
                self.recorder.iter().for_each(|recorder| recorder.skip(&self.plan, index));
                self.lower_successors(index, ready, &mut skipped);
                count += 1;
            }
        }
        count
    }

    fn lower_successors(&self, index: usize, ready: &mut Vec<usize>, skipped: &mut Vec<usize>) {
        for successor in self.plan.successors.row(index) {
            let successor = *successor as usize;
            if !self.lower(successor) {
                continue;
            }
            if self.can_run(successor) {
                ready.push(successor);
            } else {
                self.has_gaps.store(true, Relaxed);
                skipped.push(successor);
            }
        }
    }

    /// One edge less to this node from nodes without a fate. Was it the last?
    fn lower(&self, index: usize) -> bool {
        let pending = &self.pending[index];
        if !self.crews.is_empty() {
            return pending.fetch_sub(1, AcqRel) == 1;
        }
        // Only crews end nodes beside the run.
        let left = pending.load(Relaxed) - 1;
        pending.store(left, Relaxed);
        left == 0
    }

    fn can_run(&self, index: usize) -> bool {
        // Whoever made a gap before this one stored that before it lowered `pending`.
        let is_whole = !self.plan.has_conditions && !self.has_gaps.load(Relaxed);
        is_whole || self.plan.edges_of(index).iter().all(|edge| self.outputs.satisfies(edge))
    }

    /// So many more nodes have a fate.
    pub(super) fn count_down(&self, count: usize) {
        if count > 0 && self.left.fetch_sub(count, AcqRel) == count {
            self.wake();
        }
    }

    /// Of the ready, keeps what the limit allows to begin; the rest waits, those longest ready first.
    pub(super) fn limit(&self, ready: &mut Vec<usize>) {
        if self.plan.max_parallel.is_some() {
            self.hold_back(&mut self.lock(), ready);
        }
    }

    fn hold_back(&self, inbox: &mut Inbox, ready: &mut Vec<usize>) {
        let most = self.plan.max_parallel.unwrap_or(usize::MAX);
        inbox.held.extend(ready.drain(..));
        let count = most.saturating_sub(inbox.running).min(inbox.held.len());
        inbox.running += count;
        ready.extend(inbox.held.drain(..count));
    }

    #[cold]
    fn fail(&self, index: usize, error: Error, ready: &mut Vec<usize>) -> usize {
        let error = in_flow(error, &self.plan.name, &self.plan.details[index].name);
        self.lock().errors.push((index, error));
        self.has_gaps.store(true, Relaxed);
        let count = if self.outputs.set_gap(index, Gap::Failed) { self.follow(index, ready) } else { 0 };
        // Last: a run that sees it takes what has no fate for cancelled.
        if self.plan.on_failure == OnFailure::CancelAll {
            self.is_cancelled.store(true, Relaxed);
            self.wake();
        }
        count
    }

    fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The run is to begin this node.
    pub(super) fn send(&self, index: usize) {
        let waker = {
            let mut inbox = self.lock();
            inbox.ready.push(index);
            inbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what the run is to begin; if that is nothing and there is no end yet, leaves the waker. Is there anything to do?
    pub(super) fn receive(&self, into: &mut VecDeque<usize>, cx: &Context<'_>) -> bool {
        let mut new = NewWaker::default();
        loop {
            let mut inbox = self.lock();
            if !inbox.ready.is_empty() {
                into.extend(inbox.ready.drain(..));
                return true;
            }
            if self.is_over() || self.is_cancelled() {
                return true;
            }
            if new.put(inbox, |inbox| &mut inbox.waker, cx) {
                return false;
            }
        }
    }

    /// Gives those without a fate the one of being cancelled; the errors of those that failed before.
    pub(super) fn close(&self) -> Vec<(usize, Error)> {
        self.is_cancelled.store(true, Relaxed);
        if !self.is_over() {
            // A computation that ends just now may have been quicker.
            (0..self.plan.len()).filter(|index| self.outputs.0[*index].get().is_none()).for_each(|index| {
                self.outputs.set_gap(index, Gap::Cancelled);
            });
        }
        let mut errors = std::mem::take(&mut self.lock().errors);
        errors.retain(|(index, _)| self.outputs.fate(*index) == Fate::Failed);
        errors
    }
}
