//! Writing a graph.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use millstream_base::Result;
use millstream_runtime::Queue;

use super::inputs::Edges;
use super::plan::{Compute, Edge, EdgeKind, MakeFuture, NodePlan, NodeWork, OnFailure, Output, Plan, Token};
use super::{Graph, Inputs, Node};
use crate::task::Name;
use crate::{Retry, TaskKind};

/// Writes a [`Graph`] whose runs get an `I`: node by node, each after those that it depends on.
///
/// A node's closure makes a future, or computes, once a run, and again if the node is tried again. It gets an [`Arc`] of each output
/// that it depends on; many nodes may depend on one.
pub struct GraphBuilder<I = ()> {
    plan: Plan,
    input: PhantomData<fn(I)>,
}

/// Tells graphs apart, so that no node gets into another's.
static LAST_ID: AtomicU64 = AtomicU64::new(0);
/// The input is the first node.
const INPUT: usize = 0;

impl<I: Send + Sync + 'static> GraphBuilder<I> {
    /// A graph with nothing but its input.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let id = LAST_ID.fetch_add(1, Relaxed);
        let on_failure = OnFailure::default();
        let plan = Plan { id, name: name.into(), nodes: Vec::new(), on_failure, max_parallel: None };
        let mut this = Self { plan, input: PhantomData };
        let _: Node<I> = this.add("input".into(), TaskKind::Other, Vec::new(), NodeWork::Input);
        this
    }

    /// What a run gets.
    pub fn input(&self) -> Node<I> {
        Node::new(self.plan.id, INPUT)
    }

    /// Adds a node that does what `make` gives for the outputs it depends on.
    ///
    /// # Panics
    /// When `inputs` has a node of another graph.
    pub fn task<N, T, F>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: TaskKind,
        inputs: N,
        make: impl Fn(N::Values) -> F + Send + Sync + 'static,
    ) -> Node<T>
    where
        N: Inputs,
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + Sync + 'static,
    {
        let edges = self.edges(&inputs);
        let make: MakeFuture = Box::new(move |outputs| {
            let future = make(inputs.values(outputs));
            Box::pin(async move { future.await.map(|output| Arc::new(output) as Output) })
        });
        self.add(name.into(), kind, edges, NodeWork::Future(make))
    }

    /// Adds a node that computes on the threads of `queue`.
    ///
    /// # Panics
    /// As [`task`](Self::task).
    pub fn compute<N, T>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        queue: &Queue,
        inputs: N,
        compute: impl Fn(N::Values) -> Result<T> + Send + Sync + 'static,
    ) -> Node<T>
    where
        N: Inputs,
        T: Send + Sync + 'static,
    {
        self.compute_with(name, queue, inputs, move |values, _| compute(values))
    }

    /// The same for what takes long: it asks the token now and then whether its output is still wanted.
    ///
    /// # Panics
    /// As [`task`](Self::task).
    pub fn compute_with<N, T>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        queue: &Queue,
        inputs: N,
        compute: impl Fn(N::Values, &Token<'_>) -> Result<T> + Send + Sync + 'static,
    ) -> Node<T>
    where
        N: Inputs,
        T: Send + Sync + 'static,
    {
        let edges = self.edges(&inputs);
        let compute: Compute = Box::new(move |outputs, token| {
            compute(inputs.values(outputs), token).map(|output| Arc::new(output) as Output)
        });
        self.add(name.into(), TaskKind::Compute, edges, NodeWork::Compute(queue.clone(), compute))
    }

    /// Runs `node` only when `condition` gives true; it is skipped when that gives false, or nothing.
    ///
    /// ```
    /// use millstream_flow::{GraphBuilder, TaskKind};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut graph = GraphBuilder::<bool>::new("condition");
    /// let wanted = graph.input();
    /// let image = graph.task("image", TaskKind::Other, (), |()| async { Ok("cat") });
    /// graph.when(image, wanted);
    /// let graph = graph.build();
    /// assert!(graph.run(true).await.get(image).is_some());
    /// assert!(graph.run(false).await.get(image).is_none());
    /// # });
    /// ```
    ///
    /// # Panics
    /// When either is a node of another graph, when `node` is the input, and when the condition was added after the node: two that wait
    /// for each other would be a cycle.
    pub fn when<T>(&mut self, node: Node<T>, condition: Node<bool>) {
        self.check(node);
        self.check(condition);
        assert!(condition.index < node.index, "a condition is there before the node that it decides about");
        self.plan.nodes[node.index].edges.push(Edge { from: condition.index, kind: EdgeKind::When });
        self.plan.nodes[condition.index].successors.push(node.index);
    }

    /// Ends the node with an error of [`Kind::Timeout`](millstream_base::Kind::Timeout) after `limit`, all its tries together.
    ///
    /// # Panics
    /// When it is a node of another graph.
    pub fn deadline<T>(&mut self, node: Node<T>, limit: Duration) {
        self.check(node);
        self.plan.nodes[node.index].deadline = Some(limit);
    }

    /// Tries the node again as `retry` says.
    ///
    /// # Panics
    /// When it is a node of another graph.
    pub fn retry<T>(&mut self, node: Node<T>, retry: Retry) {
        self.check(node);
        self.plan.nodes[node.index].retry = Some(retry);
    }

    /// What happens when a node fails; [`OnFailure::CancelAll`] unless set.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.plan.on_failure = on_failure;
        self
    }

    /// So many nodes run at once, at least one; the others wait in the order in which they became ready. No limit unless set.
    #[must_use]
    pub fn max_parallel(mut self, most: usize) -> Self {
        self.plan.max_parallel = Some(most.max(1));
        self
    }

    /// The graph.
    pub fn build(self) -> Graph<I> {
        Graph { plan: Arc::new(self.plan), input: PhantomData }
    }

    fn check<T>(&self, node: Node<T>) {
        assert_eq!(node.graph, self.plan.id, "the node is one of this graph");
    }

    fn edges(&self, inputs: &impl Inputs) -> Vec<Edge> {
        let mut edges = Edges { graph: self.plan.id, edges: Vec::new() };
        inputs.edges(&mut edges);
        edges.edges
    }

    fn add<T>(&mut self, name: Name, kind: TaskKind, edges: Vec<Edge>, work: NodeWork) -> Node<T> {
        let index = self.plan.nodes.len();
        edges.iter().for_each(|edge| self.plan.nodes[edge.from].successors.push(index));
        let (successors, deadline, retry) = (Vec::new(), None, None);
        self.plan.nodes.push(NodePlan { name, kind, edges, successors, work, deadline, retry });
        Node::new(self.plan.id, index)
    }
}

impl<I> fmt::Debug for GraphBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphBuilder({:?}, {} nodes)", self.plan.name, self.plan.nodes.len())
    }
}
