//! What a node depends on.

use std::marker::PhantomData;
use std::sync::Arc;

use super::plan::{Edge, EdgeKind};
use super::state::Outputs;

/// A node of a graph whose output is a `T`. It is a name: copy it as you like.
pub struct Node<T> {
    pub(super) graph: u64,
    pub(super) index: usize,
    output: PhantomData<fn() -> T>,
}

/// The output of a node, or `None` if it failed or was skipped ([`Node::optional`]).
#[derive(Debug)]
pub struct Optional<T>(Node<T>);

/// The success of a node, whatever its output ([`Node::after`]).
#[derive(Debug)]
pub struct After<T>(Node<T>);

impl<T> Node<T> {
    pub(super) fn new(graph: u64, index: usize) -> Self {
        Self { graph, index, output: PhantomData }
    }

    /// As an input that may be missing: the node runs also where this one failed or was skipped.
    ///
    /// ```
    /// use millstream_flow::{GraphBuilder, OnFailure, TaskKind};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut graph = GraphBuilder::<()>::new("optional").on_failure(OnFailure::Continue);
    /// let ads = graph.task("ads", TaskKind::Network, (), |()| async {
    ///     Err::<String, _>(millstream_base::Error::invalid("no ads today"))
    /// });
    /// let page = graph.task("page", TaskKind::Other, ads.optional(), |ads| async move { Ok(ads.is_some()) });
    /// let finished = graph.build().run(()).await;
    /// assert_eq!(finished.get(page).as_deref(), Some(&false));
    /// # });
    /// ```
    pub fn optional(self) -> Optional<T> {
        Optional(self)
    }

    /// As something to wait for, without its output.
    pub fn after(self) -> After<T> {
        After(self)
    }
}

/// Nodes that another depends on: a [`Node`], [`Optional`] or [`After`], a tuple of up to eight of them, a `Vec` of nodes, or `()`.
pub trait Inputs: Send + Sync + 'static {
    /// What the node gets: an [`Arc`] of each output, an [`Option`] of one, or `()` for one that it only waits for.
    type Values: Send + 'static;

    #[doc(hidden)]
    fn edges(&self, into: &mut Edges<'_>);

    #[doc(hidden)]
    fn values(&self, outputs: &Outputs) -> Self::Values;
}

/// Edges to a node that is being added.
#[derive(Debug)]
pub struct Edges<'a> {
    pub(super) graph: u64,
    pub(super) to: u32,
    pub(super) edges: &'a mut Vec<(u32, Edge)>,
}

impl Edges<'_> {
    fn add<T>(&mut self, node: Node<T>, kind: EdgeKind) {
        assert_eq!(node.graph, self.graph, "a node depends on nodes of its own graph");
        let from = u32::try_from(node.index).expect("fewer than 2^32 nodes");
        self.edges.push((self.to, Edge { from, kind }));
    }
}

impl<T: Send + Sync + 'static> Inputs for Node<T> {
    type Values = Arc<T>;

    fn edges(&self, into: &mut Edges<'_>) {
        into.add(*self, EdgeKind::Value);
    }

    fn values(&self, outputs: &Outputs) -> Arc<T> {
        outputs.get(self.index).expect("a node begins when those that it needs have their outputs")
    }
}

impl<T: Send + Sync + 'static> Inputs for Optional<T> {
    type Values = Option<Arc<T>>;

    fn edges(&self, into: &mut Edges<'_>) {
        into.add(self.0, EdgeKind::Optional);
    }

    fn values(&self, outputs: &Outputs) -> Option<Arc<T>> {
        outputs.get(self.0.index)
    }
}

impl<T: Send + Sync + 'static> Inputs for After<T> {
    type Values = ();

    fn edges(&self, into: &mut Edges<'_>) {
        into.add(self.0, EdgeKind::After);
    }

    fn values(&self, _outputs: &Outputs) {}
}

impl Inputs for () {
    type Values = ();

    fn edges(&self, _into: &mut Edges<'_>) {}

    fn values(&self, _outputs: &Outputs) {}
}

impl<N: Inputs> Inputs for Vec<N> {
    type Values = Vec<N::Values>;

    fn edges(&self, into: &mut Edges<'_>) {
        self.iter().for_each(|node| node.edges(into));
    }

    fn values(&self, outputs: &Outputs) -> Vec<N::Values> {
        self.iter().map(|node| node.values(outputs)).collect()
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: Inputs),+> Inputs for ($($name,)+) {
            type Values = ($($name::Values,)+);

            #[allow(non_snake_case)]
            fn edges(&self, into: &mut Edges<'_>) {
                let ($($name,)+) = self;
                $($name.edges(into);)+
            }

            #[allow(non_snake_case)]
            fn values(&self, outputs: &Outputs) -> Self::Values {
                let ($($name,)+) = self;
                ($($name.values(outputs),)+)
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Node<T> {}

impl<T> std::fmt::Debug for Node<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.index)
    }
}
