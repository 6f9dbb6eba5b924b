//! Random graphs, run beside a model that does one node after the other.

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use kit::{Live, failure};
use millstream_base::{Kind, Result};
use millstream_flow::{Fate, Finished, Graph, GraphBuilder, Node, OnFailure, Retry, TaskKind};
use millstream_runtime::{Engine, Queue, QueueOptions};
use petgraph::algo::toposort;
use petgraph::graph::DiGraph;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A graph as it is chosen at random.
#[derive(Clone, Debug)]
struct Spec {
    nodes: Vec<NodeSpec>,
    goes_on: bool,
    max_parallel: Option<usize>,
}

#[derive(Clone, Debug)]
struct NodeSpec {
    /// In which queue it computes; `None` for a future that yields so often.
    queue: Option<usize>,
    yields: usize,
    /// So many attempts fail, by a panic or by an error.
    fails: u32,
    panics: bool,
    tries: Option<u32>,
    has_deadline: bool,
    /// Each from an earlier node, which is chosen by the number.
    edges: Vec<(prop::sample::Index, Kin)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kin {
    Value,
    Optional,
    After,
    /// The other's output must be even.
    When,
}

/// A node as the model sees it: `from` are places of earlier ones.
struct Plan {
    spec: NodeSpec,
    edges: Vec<(usize, Kin)>,
}

/// What the nodes of a run leave behind.
struct Witness {
    clock: AtomicU64,
    /// For each node: how often it ran, when it last began and ended.
    seen: Vec<[AtomicU64; 3]>,
    running: Live,
}

impl Witness {
    fn begin(&self, at: usize) -> u64 {
        self.seen[at][1].store(self.clock.fetch_add(1, SeqCst) + 1, SeqCst);
        self.seen[at][0].fetch_add(1, SeqCst) + 1
    }

    fn end(&self, at: usize) {
        self.seen[at][2].store(self.clock.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    fn of(&self, at: usize) -> [u64; 3] {
        [0, 1, 2].map(|which| self.seen[at][which].load(SeqCst))
    }
}

fn kin() -> impl Strategy<Value = Kin> {
    prop_oneof![4 => Just(Kin::Value), 2 => Just(Kin::Optional), 1 => Just(Kin::After), 1 => Just(Kin::When)]
}

fn node() -> impl Strategy<Value = NodeSpec> {
    let work = (prop::option::of(0..4_usize), 0..4_usize, prop::option::weighted(0.2, 1..4_u32));
    let fault = (prop_oneof![8 => Just(0), 1 => 1..4_u32], any::<bool>(), prop::bool::weighted(0.1));
    let edges = prop::collection::vec((any::<prop::sample::Index>(), kin()), 0..4);
    (work, fault, edges).prop_map(|((queue, yields, tries), (fails, panics, has_deadline), edges)| NodeSpec {
        queue,
        yields,
        fails,
        panics,
        tries,
        has_deadline,
        edges,
    })
}

fn spec() -> impl Strategy<Value = Spec> {
    let nodes = prop::collection::vec(node(), 1..=30);
    (nodes, any::<bool>(), prop::option::weighted(0.3, 1..4_usize))
        .prop_map(|(nodes, goes_on, max_parallel)| Spec { nodes, goes_on, max_parallel })
}

fn plans(spec: &Spec) -> Vec<Plan> {
    let plan = |(at, spec): (usize, &NodeSpec)| {
        let edges = spec.edges.iter().filter(|_| at > 0).map(|(from, kin)| (from.index(at), *kin)).collect();
        Plan { spec: spec.clone(), edges }
    };
    spec.nodes.iter().enumerate().map(plan).collect()
}

/// What a node gives for what it gets.
fn output(at: usize, values: impl Iterator<Item = Option<u64>>) -> u64 {
    values.fold(at as u64 + 1, |sum, value| sum.wrapping_mul(31).wrapping_add(value.unwrap_or(7)))
}

fn attempt(spec: &NodeSpec, number: u64, output: u64) -> Result<u64> {
    if number > u64::from(spec.fails) {
        return Ok(output);
    }
    if spec.panics {
        // Unlike `panic!`, without a line on the terminal.
        std::panic::resume_unwind(Box::new("as the test wants"));
    }
    Err(failure("as the test wants"))
}

/// What becomes of each node where nothing is cancelled: its output if it has one.
fn model(plans: &[Plan]) -> Vec<(Fate, u64)> {
    let mut graph = DiGraph::<usize, ()>::new();
    let nodes: Vec<_> = (0..plans.len()).map(|at| graph.add_node(at)).collect();
    for (at, plan) in plans.iter().enumerate() {
        graph.extend_with_edges(plan.edges.iter().map(|(from, _)| (nodes[*from], nodes[at])));
    }
    let mut fates = vec![(Fate::Skipped, 0); plans.len()];
    for at in toposort(&graph, None).expect("no cycle") {
        let at = graph[at];
        let Plan { spec, edges } = &plans[at];
        let runs = edges.iter().all(|(from, kin)| match (kin, fates[*from]) {
            (Kin::Optional, _) | (Kin::Value | Kin::After, (Fate::Done, _)) => true,
            (Kin::When, (Fate::Done, output)) => output % 2 == 0,
            _ => false,
        });
        if !runs {
            continue;
        }
        let of = |wanted| edges.iter().filter(move |(_, kin)| *kin == wanted).map(|(from, _)| *from);
        let values = of(Kin::Value).map(|from| Some(fates[from].1));
        let options = of(Kin::Optional).map(|from| (fates[from].0 == Fate::Done).then_some(fates[from].1));
        let output = output(at, values.chain(options));
        let is_done = spec.fails < spec.tries.unwrap_or(1);
        fates[at] = if is_done { (Fate::Done, output) } else { (Fate::Failed, 0) };
    }
    fates
}

fn graph(
    plans: &[Plan],
    spec: &Spec,
    queues: &[Queue],
    witness: &Arc<Witness>,
) -> (Graph<()>, Vec<Node<u64>>) {
    let on_failure = if spec.goes_on { OnFailure::Continue } else { OnFailure::CancelAll };
    let mut graph = GraphBuilder::<()>::new("random").on_failure(on_failure);
    if let Some(most) = spec.max_parallel {
        graph = graph.max_parallel(most);
    }
    let mut nodes: Vec<Node<u64>> = Vec::new();
    for (at, Plan { spec, edges }) in plans.iter().enumerate() {
        let of = |wanted| edges.iter().filter(move |(_, kin)| *kin == wanted).map(|(from, _)| nodes[*from]);
        let values: Vec<_> = of(Kin::Value).collect();
        let options: Vec<_> = of(Kin::Optional).map(Node::optional).collect();
        let after: Vec<_> = of(Kin::After).map(Node::after).collect();
        let conditions: Vec<Node<bool>> = of(Kin::When)
            .map(|node| graph.task("even", TaskKind::Other, node, |of| async move { Ok(*of % 2 == 0) }))
            .collect();
        let (witness, own) = (witness.clone(), spec.clone());
        let begin = move |values: Vec<Arc<u64>>, options: Vec<Option<Arc<u64>>>| {
            let (number, one) = (witness.begin(at), witness.running.one());
            let options = options.into_iter().map(|option| option.map(|value| *value));
            let output = output(at, values.into_iter().map(|value| Some(*value)).chain(options));
            let (own, witness) = (own.clone(), witness.clone());
            move || {
                let _one = one;
                witness.end(at);
                attempt(&own, number, output)
            }
        };
        let (inputs, yields) = ((values, options, after), spec.yields);
        let node = match spec.queue {
            Some(queue) => graph.compute("computes", &queues[queue], inputs, move |(values, options, _)| {
                begin(values, options)()
            }),
            None => graph.task("waits", TaskKind::Other, inputs, move |(values, options, _)| {
                let end = begin(values, options);
                async move {
                    for _ in 0..yields {
                        tokio::task::yield_now().await;
                    }
                    end()
                }
            }),
        };
        conditions.into_iter().for_each(|condition| graph.when(node, condition));
        if let Some(tries) = spec.tries {
            graph.retry(node, Retry::times(tries).backoff(Duration::ZERO, Duration::ZERO));
        }
        if spec.has_deadline {
            graph.deadline(node, Duration::from_secs(3600));
        }
        nodes.push(node);
    }
    (graph.build(), nodes)
}

fn check(spec: &Spec, plans: &[Plan], nodes: &[Node<u64>], finished: &Finished, witness: &Witness) {
    let model = model(plans);
    let is_cancelled = !spec.goes_on && model.iter().any(|(fate, _)| *fate == Fate::Failed);
    let mut failed = 0;
    for (at, (node, (fate, output))) in nodes.iter().zip(&model).enumerate() {
        let (seen, [runs, begun, _]) = (finished.fate(*node), witness.of(at));
        failed += usize::from(seen == Fate::Failed);
        if is_cancelled && seen == Fate::Cancelled {
            assert!(finished.get(*node).is_none() && finished.error(*node).is_none(), "node {at}");
            continue;
        }
        assert_eq!(seen, *fate, "node {at}");
        let expected = (*fate == Fate::Done).then_some(output);
        assert_eq!(finished.get(*node).as_deref(), expected, "node {at}");
        let tries = u64::from(plans[at].spec.tries.unwrap_or(1).min(plans[at].spec.fails + 1));
        assert_eq!(runs, if *fate == Fate::Skipped { 0 } else { tries }, "node {at}");
        if let Some(error) = finished.error(*node) {
            assert_eq!(error.kind(), if plans[at].spec.panics { Kind::Panic } else { Kind::Io });
        }
        assert_eq!(finished.error(*node).is_some(), *fate == Fate::Failed, "node {at}");
        for (from, kin) in &plans[at].edges {
            let [from_runs, _, from_ended] = witness.of(*from);
            assert!(runs == 0 || from_runs == 0 || from_ended < begun, "node {at} beside {from} ({kin:?})");
        }
    }
    assert!(!is_cancelled || failed > 0, "one failed, so that it was cancelled");
    assert_eq!(finished.errors().count(), failed);
    let limit = spec.max_parallel.unwrap_or(usize::MAX);
    assert!(witness.running.most() <= limit, "{} at once", witness.running.most());
}

#[test]
fn random_graphs_do_what_the_model_does() {
    let engine = Engine::builder().workers(2).build().expect("an engine");
    let with = |name, options| engine.compute_with(name, options).expect("a new queue");
    let queues = [
        with("plain", QueueOptions::default()),
        with("serial", QueueOptions::default().max_parallel(1)),
        with("short", QueueOptions::default().depth(1)),
        with("plain too", QueueOptions::default()),
    ];
    let config = Config { cases: 600, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&spec(), |spec| {
        let plans = plans(&spec);
        let seen = plans.iter().map(|_| Default::default()).collect();
        let witness = Arc::new(Witness { clock: AtomicU64::new(0), seen, running: Live::default() });
        let (graph, nodes) = graph(&plans, &spec, &queues, &witness);
        let run = graph.run(());
        let finished =
            engine.run(async move |_| tokio::time::timeout(Duration::from_secs(60), run).await.ok());
        let finished = finished.expect("the engine runs").expect("the graph ends");
        check(&spec, &plans, &nodes, &finished, &witness);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
