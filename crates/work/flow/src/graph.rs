//! Nodes that run when those they depend on have ended.

mod begin;
mod build;
mod crew;
mod finished;
mod inputs;
mod picture;
mod plan;
mod run;
mod state;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use build::GraphBuilder;
pub use finished::{Fate, Finished};
pub use inputs::{After, Inputs, Node, Optional};
pub(crate) use plan::Plan;
pub use plan::{OnFailure, Token};
pub use run::GraphRun;

use crate::Task;

/// Nodes and what each depends on, made by a [`GraphBuilder`]. It runs as often as wanted, also at once, each time with an input of type
/// `I`. Clones are the same graph.
///
/// ```
/// use millstream_flow::{GraphBuilder, TaskKind};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut graph = GraphBuilder::<u32>::new("arithmetic");
/// let number = graph.input();
/// let double = graph.task("double", TaskKind::Other, number, |number| async move { Ok(*number * 2) });
/// let square = graph.task("square", TaskKind::Other, number, |number| async move { Ok(*number * *number) });
/// let sum = graph.task("sum", TaskKind::Other, (double, square), |(double, square)| async move { Ok(*double + *square) });
/// let graph = graph.build();
/// for (input, expected) in [(3, 15), (10, 120)] {
///     let finished = graph.run(input).await.ok()?;
///     assert_eq!(finished.get(sum).as_deref(), Some(&expected));
/// }
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
///
/// A node depends on nodes that are there when it is added, so a cycle can't be written:
///
/// ```compile_fail
/// use millstream_flow::{GraphBuilder, TaskKind};
/// let mut graph = GraphBuilder::<()>::new("cycle");
/// let hen = graph.task("hen", TaskKind::Other, egg, |egg| async move { Ok(*egg) });
/// let egg = graph.task("egg", TaskKind::Other, hen, |hen: std::sync::Arc<u32>| async move { Ok(*hen) });
/// ```
///
/// An output of another type than a node wants is no input of it:
///
/// ```compile_fail
/// use millstream_flow::{GraphBuilder, TaskKind};
/// let mut graph = GraphBuilder::<()>::new("types");
/// let text = graph.task("text", TaskKind::Other, (), |()| async { Ok("text".to_owned()) });
/// graph.task("number", TaskKind::Other, text, |number: std::sync::Arc<u32>| async move { Ok(*number) });
/// ```
pub struct Graph<I = ()> {
    plan: Arc<Plan>,
    input: PhantomData<fn(I)>,
}

impl<I: Send + Sync + 'static> Graph<I> {
    /// Runs it with this input. It begins when it is first polled; dropping it cancels what is under way.
    pub fn run(&self, input: I) -> GraphRun {
        GraphRun::new(self.plan.clone(), Arc::new(input), false)
    }

    /// The same, and has a [`Record`](crate::Record) written ([`Finished::record`]).
    pub fn recorded(&self, input: I) -> GraphRun {
        GraphRun::new(self.plan.clone(), Arc::new(input), true)
    }

    /// One run of it, as a task that fails when a node does.
    pub fn into_task(self, input: I) -> Task<Finished> {
        let name = self.plan.name.clone();
        Task::new(name, crate::TaskKind::Flow, async move { self.run(input).await.ok() })
    }

    /// How many nodes it has, the input among them.
    pub fn len(&self) -> usize {
        self.plan.len()
    }

    /// Has it nothing but its input?
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }
}

impl<I> Clone for Graph<I> {
    fn clone(&self) -> Self {
        Self { plan: self.plan.clone(), input: PhantomData }
    }
}

impl<I> fmt::Debug for Graph<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("name", &self.plan.name).field("nodes", &self.plan.len()).finish()
    }
}
