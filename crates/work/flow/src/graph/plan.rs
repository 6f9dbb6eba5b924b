//! A graph as it was written.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use millstream_base::Result;
use millstream_runtime::{CancelToken, Queue};

use super::state::Outputs;
use crate::task::{BoxFuture, Name};
use crate::{Retry, TaskKind};

/// What a node gives.
pub(super) type Output = Arc<dyn Any + Send + Sync>;
pub(super) type MakeFuture = Box<dyn Fn(&Outputs) -> BoxFuture<Result<Output>> + Send + Sync>;
pub(super) type Compute = Box<dyn Fn(&Outputs, &Token<'_>) -> Result<Output> + Send + Sync>;

/// What happens to the rest of a graph when a node fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// All of it is cancelled.
    #[default]
    CancelAll,
    /// Nodes that depend on it are skipped; what does not depend on it goes on.
    Continue,
}

pub(crate) struct Plan {
    pub(super) id: u64,
    pub(crate) name: Name,
    pub(crate) nodes: Vec<NodePlan>,
    pub(super) on_failure: OnFailure,
    pub(super) max_parallel: Option<usize>,
}

pub(crate) struct NodePlan {
    pub(crate) name: Name,
    pub(crate) kind: TaskKind,
    pub(crate) edges: Vec<Edge>,
    /// One for each edge that begins here.
    pub(super) successors: Vec<usize>,
    pub(super) work: NodeWork,
    pub(super) deadline: Option<Duration>,
    pub(super) retry: Option<Retry>,
}

pub(super) enum NodeWork {
    Input,
    Future(MakeFuture),
    Compute(Queue, Compute),
}

/// On what a node depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) kind: EdgeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeKind {
    /// Its output.
    Value,
    /// Its output, if it has one.
    Optional,
    /// Its success.
    After,
    /// Its output, which must be true.
    When,
}

/// Asked by a long computation now and then: is its output still wanted?
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    pub(super) is_run_cancelled: &'a AtomicBool,
    pub(super) job: Option<CancelToken<'a>>,
}

impl Token<'_> {
    /// Is the output of no use any more: the run was cancelled or dropped, the node's deadline has passed, the pool ends?
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.is_run_cancelled.load(Relaxed) || self.job.is_some_and(|job| job.is_cancelled())
    }
}

impl NodePlan {
    /// The queue of a computation that needs nothing but a turn on a thread: no deadline, no other try, no place in line.
    pub(super) fn plain_queue(&self) -> Option<&Queue> {
        let NodeWork::Compute(queue, _) = &self.work else { return None };
        let options = queue.options();
        let is_plain = self.deadline.is_none()
            && self.retry.is_none()
            && options.depth.is_none()
            && options.deadline.is_none();
        is_plain.then_some(queue)
    }
}
