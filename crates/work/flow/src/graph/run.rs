//! Running a graph: futures in the task that awaits it, computations on the threads of their queues.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result};
use tracing::{Instrument, Span};

use super::begin::Begin;
use super::crew;
use super::finished::Finished;
use super::plan::{NodeWork, Output, Plan};
use super::state::State;
use crate::set::Set;
use crate::task::BoxFuture;

/// A graph under way. Dropping it drops the futures of its nodes; computations see their token cancelled.
#[must_use = "a graph does nothing unless it is awaited"]
pub struct GraphRun {
    state: Arc<State>,
    set: Set<Output>,
    /// May begin, those longest ready first: nodes that were written one after the other lie so in memory too.
    ready: VecDeque<usize>,
    /// Became so just now; empty in between.
    fresh: Vec<usize>,
    /// Nodes with a fate that the state has not been told of.
    ended: usize,
    /// Until it begins.
    input: Option<Output>,
    /// By a record, or by a subscriber of spans.
    is_watched: bool,
    is_over: bool,
}

impl GraphRun {
    pub(super) fn new(plan: Arc<Plan>, input: Output, is_recorded: bool) -> Self {
        let state = State::new(plan, is_recorded);
        let is_watched = is_recorded || !state.span.is_disabled();
        let (ready, fresh) = (VecDeque::new(), Vec::new());
        Self {
            state,
            set: Set::new(),
            ready,
            fresh,
            ended: 0,
            input: Some(input),
            is_watched,
            is_over: false,
        }
    }

    fn begin(&mut self, input: Output) {
        let is_first = |index: &usize| self.state.plan.edges_of(*index).is_empty();
        self.fresh.extend((1..self.state.plan.len()).filter(is_first));
        let ended = self.state.done(0, input, &mut self.fresh);
        self.fresh.sort_unstable();
        self.state.limit(&mut self.fresh);
        self.ready.extend(self.fresh.drain(..));
        self.state.count_down(ended);
    }

    /// Begins a node.
    fn start(&mut self, index: usize) {
        let state = &self.state;
        let future = match &state.plan.nodes[index] {
            NodeWork::Compute(queue, _) => return crew::add(state, *queue, index as u32), // as they were counted
            NodeWork::Future(begin) => watched(state, index, &**begin),
            _ => Box::pin(with_care(state.clone(), index).instrument(state.span_of(index))),
        };
        if let Some(outcome) = self.set.poll_first(index, future) {
            self.end(index, outcome);
        }
    }

    /// Begins futures, as long as they come and nobody but the run has its state: no crew, no node with a deadline or with tries. What
    /// is stored then need not be stored atomically.
    fn start_alone(&mut self, steps: &mut usize) {
        if self.is_watched {
            return;
        }
        let Some(state) = Arc::get_mut(&mut self.state) else { return };
        while *steps > 0
            && !state.is_cancelled()
            && let Some(index) = self.ready.front().copied()
            && let NodeWork::Future(begin) = &state.plan.nodes[index]
        {
            *steps -= 1;
            self.ready.pop_front();
            if let Some(outcome) = self.set.begin(index, |cx| begin.begin(&state.outputs, cx)) {
                self.ended += state.end_alone(index, outcome, &mut self.fresh);
                self.fresh.drain(..).for_each(|index| self.ready.push_back(index));
            }
        }
    }

    fn end(&mut self, index: usize, outcome: Result<Output>) {
        self.ended += self.state.end(index, outcome, &mut self.fresh);
        // One by one: `extend` made a trivial node take 91 ns, and this 81.
        self.fresh.drain(..).for_each(|index| self.ready.push_back(index));
    }

    fn poll_nodes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut steps = MOST_STEPS;
        while steps > 0 {
            self.start_alone(&mut steps);
            if self.state.is_cancelled() {
                return Poll::Ready(());
            }
            steps = steps.saturating_sub(1);
            if let Some(index) = self.ready.pop_front() {
                self.start(index);
                continue;
            }
            self.state.count_down(std::mem::take(&mut self.ended));
            if self.state.is_over() {
                return Poll::Ready(());
            }
            match self.set.poll(cx) {
                Poll::Ready(Some((index, outcome))) => self.end(index, outcome),
                Poll::Ready(None) | Poll::Pending => {
                    if !self.state.receive(&mut self.ready, cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// So many nodes begin or end in one go, and others get their turn.
const MOST_STEPS: usize = 256;

impl Future for GraphRun {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        let this = &mut *self;
        assert!(!this.is_over, "a graph is not to be polled after it has ended");
        let span = this.state.span.clone();
        let _entered = span.enter();
        if let Some(input) = this.input.take() {
            this.begin(input);
        }
        if this.poll_nodes(cx).is_pending() {
            return Poll::Pending;
        }
        this.is_over = true;
        this.set.clear();
        Poll::Ready(Finished::new(this.state.clone()))
    }
}

impl Drop for GraphRun {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.state.close());
        }
    }
}

impl fmt::Debug for GraphRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphRun({:?})", self.state.plan.name)
    }
}

fn watched(state: &Arc<State>, index: usize, begin: &dyn Begin) -> BoxFuture<Result<Output>> {
    let span = state.span_of(index);
    let future = recorded(state, index, span.in_scope(|| begin.future(&state.outputs)));
    if span.is_disabled() { future } else { Box::pin(future.instrument(span)) }
}

fn recorded(
    state: &Arc<State>,
    index: usize,
    future: BoxFuture<Result<Output>>,
) -> BoxFuture<Result<Output>> {
    let Some(recorder) = state.recorder.clone() else { return future };
    let state = state.clone();
    Box::pin(async move {
        let open = recorder.open_node(&state.plan, index);
        let outcome = future.await;
        open.close(outcome.as_ref().err());
        outcome
    })
}

/// A node with a deadline or with tries, or one that computes in a queue which has a limit or a deadline itself.
async fn with_care(state: Arc<State>, index: usize) -> Result<Output> {
    let node = &state.plan.details[index];
    let tries = async {
        match &node.retry {
            None => once(&state, index).await,
            Some(retry) => retry.run(|_| once(&state, index)).await,
        }
    };
    match node.deadline {
        None => tries.await,
        Some(limit) => millstream_runtime::timeout(limit, tries).await.unwrap_or_else(|_| {
            state.recorder.iter().for_each(|recorder| recorder.late(index));
            Err(late(limit))
        }),
    }
}

async fn once(state: &Arc<State>, index: usize) -> Result<Output> {
    match &state.plan.nodes[index] {
        NodeWork::Input => Err(Error::invalid("an input does nothing")),
        NodeWork::Future(begin) | NodeWork::FutureWithCare(begin) => {
            recorded(state, index, begin.future(&state.outputs)).await
        }
        NodeWork::Compute(queue, _) | NodeWork::ComputeWithCare(queue, _) => {
            let (state, span, queue) = (state.clone(), Span::current(), &state.plan.queues[*queue as usize]);
            queue.run_with(move |token| span.in_scope(|| state.compute(index, Some(token)))).await.flatten()
        }
    }
}

#[cold]
fn late(limit: Duration) -> Error {
    Error::new(Kind::Timeout, Origin::Local, format!("took longer than its limit of {limit:?}"))
}
