//! A node's turn on a thread of its queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin, Result};
use millstream_runtime::{CancelToken, Job, Queue};

use super::plan::{NodeWork, Output, Token};
use super::state::State;
use crate::task::panicked;

/// A node that computes.
pub(super) struct NodeJob {
    state: Arc<State>,
    index: usize,
}

/// Nodes that follow each other in one queue do so on one thread for so long: as long as a turn of a queue may last.
const SLICE: Duration = Duration::from_micros(100);
/// The clock is looked at after 1, 2, 4, ... nodes, and each so many.
const LOOK_EVERY: u32 = 64;

/// Puts a node into its queue. If that has ended, so does the node.
pub(super) fn submit(state: &Arc<State>, index: usize, queue: &Queue) {
    let job = Arc::new(NodeJob { state: state.clone(), index });
    if let Err(error) = queue.submit(job) {
        dispatch_after(state, index, Err(error));
    }
}

/// A node has ended outside of a queue's thread and of the run: those it makes ready begin.
fn dispatch_after(state: &Arc<State>, index: usize, outcome: Result<Output>) {
    let mut ready = Vec::new();
    state.end(index, outcome, &mut ready);
    // The run begins them: this may be deep in a row of submits that fail.
    ready.into_iter().for_each(|index| state.send(index));
}

impl State {
    /// What a node computes.
    pub(super) fn compute(&self, index: usize, job: Option<CancelToken<'_>>) -> Result<Output> {
        let NodeWork::Compute(_, compute) = &self.plan.nodes[index].work else {
            unreachable!("only nodes that compute come here")
        };
        let token = Token { is_run_cancelled: &self.is_cancelled, job };
        let open = self.recorder.as_ref().map(|recorder| recorder.open_node(&self.plan, index));
        let computed = catch_unwind(AssertUnwindSafe(|| compute(&self.outputs, &token)));
        let outcome = computed.unwrap_or_else(|payload| Err(panicked(payload)));
        open.into_iter().for_each(|open| open.close(outcome.as_ref().err()));
        outcome
    }
}

impl Job for NodeJob {
    fn run(self: Arc<Self>) {
        let (state, mut index) = (&self.state, self.index);
        let Some(queue) = state.plan.nodes[index].plain_queue() else { return };
        let begun = Instant::now();
        let (mut ran, mut look_at) = (0_u32, 1_u32);
        let mut ready = Vec::new();
        while !state.is_cancelled() {
            let outcome = state.compute(index, None);
            state.end(index, outcome, &mut ready);
            let mut next = None;
            for index in ready.drain(..) {
                match state.plan.nodes[index].plain_queue() {
                    Some(other) if other == queue && next.is_none() => next = Some(index),
                    Some(other) => submit(state, index, other),
                    None => state.send(index),
                }
            }
            let Some(next) = next else { return };
            ran += 1;
            if ran == look_at {
                look_at = look_at.saturating_add(look_at.min(LOOK_EVERY));
                if begun.elapsed() > SLICE {
                    return submit(state, next, queue);
                }
            }
            index = next;
        }
    }

    fn abandon(self: Arc<Self>) {
        let error = Error::new(Kind::Cancelled, Origin::Local, "the compute pool has ended");
        dispatch_after(&self.state, self.index, Err(error));
    }
}
