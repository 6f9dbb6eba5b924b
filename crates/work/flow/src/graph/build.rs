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

use super::begin::Beginning;
use super::inputs::Edges;
use super::plan::{Compute, Details, Edge, EdgeKind, NodeWork, OnFailure, Output, Plan, Rows, Token};
use super::{Graph, Inputs, Node};
use crate::task::Name;
use crate::{Retry, TaskKind};

/// Writes a [`Graph`] whose runs get an `I`: node by node, each after those that it depends on.
///
/// A node's closure makes a future, or computes, once a run, and again if the node is tried again. It gets an [`Arc`] of each output
/// that it depends on; many nodes may depend on one.
pub struct GraphBuilder<I = ()> {
    id: u64,
    name: Name,
    works: Vec<NodeWork>,
    details: Vec<Details>,
    /// Each with the node that it leads to.
    edges: Vec<(u32, Edge)>,
    queues: Vec<Queue>,
    on_failure: OnFailure,
    max_parallel: Option<usize>,
    input: PhantomData<fn(I)>,
}

/// Tells graphs apart, so that no node gets into another's.
static LAST_ID: AtomicU64 = AtomicU64::new(0);
/// The input is the first node.
const INPUT: usize = 0;

impl<I: Send + Sync + 'static> GraphBuilder<I> {
    /// A graph with nothing but its input.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let mut this = Self {
            id: LAST_ID.fetch_add(1, Relaxed),
            name: name.into(),
            works: Vec::new(),
            details: Vec::new(),
            edges: Vec::new(),
            queues: Vec::new(),
            on_failure: OnFailure::default(),
            max_parallel: None,
            input: PhantomData,
        };
        let _: Node<I> = this.add("input".into(), TaskKind::Other, NodeWork::Input);
        this
    }

    /// What a run gets.
    pub fn input(&self) -> Node<I> {
        Node::new(self.id, INPUT)
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
        self.add_edges(&inputs);
        let begin = Box::new(Beginning { inputs, make });
        self.add(name.into(), kind, NodeWork::Future(begin))
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
        self.add_edges(&inputs);
        let compute: Compute = Box::new(move |outputs, token| {
            compute(inputs.values(outputs), token).map(|output| Arc::new(output) as Output)
        });
        let queue = self.queue(queue);
        self.add(name.into(), TaskKind::Compute, NodeWork::Compute(queue, compute))
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
        self.edges.push((small(node.index), Edge { from: small(condition.index), kind: EdgeKind::When }));
    }

    /// Ends the node with an error of [`Kind::Timeout`](millstream_base::Kind::Timeout) after `limit`, all its tries together.
    ///
    /// # Panics
    /// When it is a node of another graph.
    pub fn deadline<T>(&mut self, node: Node<T>, limit: Duration) {
        self.check(node);
        self.details[node.index].deadline = Some(limit);
    }

    /// Tries the node again as `retry` says.
    ///
    /// # Panics
    /// When it is a node of another graph.
    pub fn retry<T>(&mut self, node: Node<T>, retry: Retry) {
        self.check(node);
        self.details[node.index].retry = Some(retry);
    }

    /// What happens when a node fails; [`OnFailure::CancelAll`] unless set.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// So many nodes run at once, at least one; the others wait in the order in which they became ready. No limit unless set.
    #[must_use]
    pub fn max_parallel(mut self, most: usize) -> Self {
        self.max_parallel = Some(most.max(1));
        self
    }

    /// The graph.
    pub fn build(self) -> Graph<I> {
        let Self { id, name, works, details, edges, queues, on_failure, max_parallel, .. } = self;
        let is_plain = |at: u32| {
            let options = queues[at as usize].options();
            options.depth.is_none() && options.deadline.is_none()
        };
        let with_care = |(work, details): (NodeWork, &Details)| match work {
            NodeWork::Future(begin) if details.needs_care() => NodeWork::FutureWithCare(begin),
            NodeWork::Compute(queue, compute) if details.needs_care() || !is_plain(queue) => {
                NodeWork::ComputeWithCare(queue, compute)
            }
            work => work,
        };
        let nodes: Vec<_> = works.into_iter().zip(&details).map(with_care).collect();
        let is_condition = |(_, edge): &(u32, Edge)| edge.kind == EdgeKind::When;
        let has_conditions = edges.iter().any(is_condition);
        let reversed = edges.iter().map(|(to, edge)| (edge.from, *to));
        let successors = Rows::new(nodes.len(), reversed, 0);
        let filler = Edge { from: 0, kind: EdgeKind::Value };
        let edges = Rows::new(nodes.len(), edges.into_iter(), filler);
        let plan = Plan {
            id,
            name,
            nodes,
            details,
            edges,
            successors,
            queues,
            on_failure,
            max_parallel,
            has_conditions,
        };
        Graph { plan: Arc::new(plan), input: PhantomData }
    }

    fn check<T>(&self, node: Node<T>) {
        assert_eq!(node.graph, self.id, "the node is one of this graph");
    }

    /// Of the node that is added next.
    fn add_edges(&mut self, inputs: &impl Inputs) {
        let to = small(self.works.len());
        inputs.edges(&mut Edges { graph: self.id, to, edges: &mut self.edges });
    }

    fn queue(&mut self, queue: &Queue) -> u32 {
        let known = self.queues.iter().rposition(|known| known == queue);
        small(known.unwrap_or_else(|| {
            self.queues.push(queue.clone());
            self.queues.len() - 1
        }))
    }

    fn add<T>(&mut self, name: Name, kind: TaskKind, work: NodeWork) -> Node<T> {
        let index = self.works.len();
        self.works.push(work);
        self.details.push(Details { name, kind, deadline: None, retry: None });
        Node::new(self.id, index)
    }
}

impl Details {
    fn needs_care(&self) -> bool {
        self.deadline.is_some() || self.retry.is_some()
    }
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 nodes")
}

impl<I> fmt::Debug for GraphBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphBuilder({:?}, {} nodes)", self.name, self.works.len())
    }
}
