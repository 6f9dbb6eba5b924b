//! What became of a run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use millstream_base::{Error, Result};

use super::Node;
use super::state::State;
use crate::record::{Ending, Record};

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It has an output.
    Done,
    /// It ended with an error, or a panic.
    Failed,
    /// It never began: one that it depends on has no output, or its condition was not true.
    Skipped,
    /// The run was over before: another node had failed.
    Cancelled,
}

/// What became of a run of a graph.
pub struct Finished {
    state: Arc<State>,
    errors: Vec<(usize, Error)>,
    record: Option<Record>,
}

impl Finished {
    pub(super) fn new(state: Arc<State>) -> Self {
        let errors = state.close();
        let record = state.recorder.as_ref().map(|recorder| {
            let errors: HashMap<_, _> = errors.iter().map(|(index, error)| (*index, error)).collect();
            recorder.finish_graph(&state.plan, |index| match state.outputs.fate(index) {
                Fate::Skipped => Ending::Skipped,
                Fate::Cancelled => Ending::Cancelled,
                Fate::Done | Fate::Failed => Ending::of(errors.get(&index).copied()),
            })
        });
        Self { state, errors, record }
    }

    /// This node's output, if it has one.
    ///
    /// # Panics
    /// When it is a node of another graph.
    pub fn get<T: Send + Sync + 'static>(&self, node: Node<T>) -> Option<Arc<T>> {
        self.state.outputs.get(self.check(node))
    }

    /// What became of this node.
    ///
    /// # Panics
    /// When it is a node of another graph.
    pub fn fate<T>(&self, node: Node<T>) -> Fate {
        self.state.outputs.fate(self.check(node))
    }

    /// This node's error, if it failed.
    ///
    /// # Panics
    /// When it is a node of another graph.
    pub fn error<T>(&self, node: Node<T>) -> Option<&Error> {
        let index = self.check(node);
        self.errors.iter().find(|(failed, _)| *failed == index).map(|(_, error)| error)
    }

    /// The errors, by name of the node, in the order in which they came.
    pub fn errors(&self) -> impl Iterator<Item = (&str, &Error)> {
        self.errors.iter().map(|(index, error)| (&*self.state.plan.details[*index].name, error))
    }

    /// Itself if no node failed.
    ///
    /// # Errors
    /// The first that came; it names the graph and the node.
    pub fn ok(mut self) -> Result<Self> {
        if self.errors.is_empty() { Ok(self) } else { Err(self.errors.swap_remove(0).1) }
    }

    /// When each node ran and where, if the run was a recorded one.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    fn check<T>(&self, node: Node<T>) -> usize {
        assert_eq!(node.graph, self.state.plan.id, "the node is one of this graph");
        node.index
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fates = self.state.plan.details.iter().enumerate();
        let fates = fates.map(|(index, node)| (&*node.name, self.state.outputs.fate(index)));
        f.debug_map().entries(fates).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Recorder;
    use crate::{GraphBuilder, TaskKind};

    #[test]
    fn what_begins_or_ends_after_the_record_was_taken_is_lost_without_harm() {
        let mut graph = GraphBuilder::<()>::new("late");
        let first = graph.task("first", TaskKind::Other, (), |()| async { Ok(()) });
        let second = graph.task("second", TaskKind::Other, first, |_| async { Ok(()) });
        graph.task("third", TaskKind::Other, second, |_| async { Ok(()) });
        let plan = graph.build().plan;
        let recorder = Recorder::new("late".into());
        recorder.open_node(&plan, 1).close(None);
        let under_way = recorder.open_node(&plan, 2);
        let record = recorder.finish_graph(&plan, |_| Ending::Cancelled);
        let endings: Vec<_> = record.spans().iter().map(|span| (span.ending, span.has_begun())).collect();
        assert_eq!(endings, [(Ending::Done, true), (Ending::Cancelled, true), (Ending::Cancelled, false)]);
        recorder.open_node(&plan, 3).close(None);
        under_way.close(None);
        recorder.late(1);
    }
}
