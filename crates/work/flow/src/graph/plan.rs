//! A graph as it was written.
//!
//! What a run looks at for each node lies close together, apart from what only pictures and errors need: a large graph does not fit
//! into a core's cache, and nodes that do little cost what they touch.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use millstream_base::Result;
use millstream_runtime::{CancelToken, Queue};

use super::begin::Begin;
use super::state::Outputs;
use crate::task::Name;
use crate::{Retry, TaskKind};

/// What a node gives.
pub(super) type Output = Arc<dyn Any + Send + Sync>;
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
    pub(super) nodes: Vec<NodeWork>,
    pub(crate) details: Vec<Details>,
    pub(super) edges: Rows<Edge>,
    /// One for each edge that begins at a node.
    pub(super) successors: Rows<u32>,
    pub(super) queues: Vec<Queue>,
    pub(crate) on_failure: OnFailure,
    pub(crate) max_parallel: Option<usize>,
    /// Is there an edge that something other than a failure can break?
    pub(super) has_conditions: bool,
}

/// What a node does.
pub(super) enum NodeWork {
    Input,
    Future(Box<dyn Begin>),
    /// Needs nothing but a turn on a thread of this queue.
    Compute(u32, Compute),
    /// Has a deadline or is tried again, or its queue has a deadline, or a limit to wait for.
    ComputeWithCare(u32, Compute),
    FutureWithCare(Box<dyn Begin>),
}

/// What pictures, errors and unusual nodes need.
pub(crate) struct Details {
    pub(crate) name: Name,
    pub(crate) kind: TaskKind,
    pub(crate) deadline: Option<Duration>,
    pub(crate) retry: Option<Retry>,
}

/// On what a node depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: u32,
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

/// Rows of different lengths, one behind the other.
pub(super) struct Rows<T> {
    ends: Vec<u32>,
    all: Vec<T>,
}

impl<T: Copy> Rows<T> {
    /// From pairs of row and value; values of a row keep their order.
    pub(super) fn new(count: usize, pairs: impl Iterator<Item = (u32, T)> + Clone, filler: T) -> Self {
        let mut ends = vec![0_u32; count];
        pairs.clone().for_each(|(row, _)| ends[row as usize] += 1);
        let mut sum = 0;
        for end in &mut ends {
            let begin = sum;
            sum += *end;
            *end = begin;
        }
        let mut all = vec![filler; sum as usize];
        for (row, value) in pairs {
            // Where the next of its row goes; in the end that is where the row ends.
            let next = &mut ends[row as usize];
            all[*next as usize] = value;
            *next += 1;
        }
        Self { ends, all }
    }

    pub(super) fn row(&self, at: usize) -> &[T] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[begin as usize..self.ends[at] as usize]
    }
}

/// Asked by a long computation now and then: is its output still wanted?
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    pub(super) is_run_cancelled: &'a AtomicBool,
    pub(super) queue: &'a Queue,
    pub(super) job: Option<CancelToken<'a>>,
}

impl Token<'_> {
    /// Is the output of no use any more: the run was cancelled or dropped, the node's deadline has passed, the pool ends?
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.is_run_cancelled.load(Relaxed)
            || self.queue.is_ending()
            || self.job.is_some_and(|job| job.is_cancelled())
    }
}

impl Plan {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// On what this node depends.
    pub(crate) fn edges_of(&self, index: usize) -> &[Edge] {
        self.edges.row(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_what_belongs_to_them_in_order() {
        let pairs = [(2, 'a'), (0, 'b'), (2, 'c'), (4, 'd'), (2, 'e')];
        let rows = Rows::new(6, pairs.into_iter(), ' ');
        let all: Vec<String> = (0..6).map(|at| rows.row(at).iter().collect()).collect();
        assert_eq!(all, ["b", "", "ace", "", "d", ""]);
        assert!(Rows::new(1, std::iter::empty(), 0).row(0).is_empty());
    }
}
