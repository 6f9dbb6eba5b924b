//! Wide and deep graphs, limits on what runs at once, and the record of a run.

mod kit;

use std::collections::HashMap;

use kit::{Count, Live, block_on, engine, failure, kind};
use millstream_base::{Kind, Result};
use millstream_flow::{Ending, Fate, Graph, GraphBuilder, Node, OnFailure, Span, TaskKind};
use millstream_runtime::{Queue, QueueOptions};

const OTHER: TaskKind = TaskKind::Other;

/// A queue for a node, or none where it is a future.
type Place<'a> = Option<&'a Queue>;

fn node<N>(
    graph: &mut GraphBuilder<u64>,
    place: Place<'_>,
    inputs: N,
    work: fn(N::Values) -> u64,
) -> Node<u64>
where
    N: millstream_flow::Inputs,
{
    match place {
        Some(queue) => graph.compute("node", queue, inputs, move |values| Ok(work(values))),
        None => graph.task("node", OTHER, inputs, move |values| std::future::ready(Ok(work(values)))),
    }
}

fn wide(places: &[Place<'_>]) -> (Graph<u64>, Node<u64>) {
    let mut graph = GraphBuilder::<u64>::new("wide");
    let input = graph.input();
    let all: Vec<_> =
        (0..10_000).map(|at| node(&mut graph, places[at % places.len()], input, |one| *one)).collect();
    let sum = node(&mut graph, places[0], all, |all| all.iter().map(|one| **one).sum());
    (graph.build(), sum)
}

fn deep(places: &[Place<'_>], count: usize) -> (Graph<u64>, Node<u64>) {
    let mut graph = GraphBuilder::<u64>::new("deep");
    let mut last = graph.input();
    for at in 0..count {
        last = node(&mut graph, places[at % places.len()], last, |before| *before + 1);
    }
    (graph.build(), last)
}

#[test]
fn wide_and_deep_graphs_need_no_stack() {
    let engine = engine(2);
    let queue = engine.compute("nodes").expect("threads");
    let other = engine.compute("other").expect("threads");
    let serial = engine.compute_with("serial", QueueOptions::default().max_parallel(1)).expect("a new queue");
    let all: [&[Place<'_>]; 5] = [
        &[None],
        &[Some(&queue)],
        &[Some(&queue), Some(&other)],
        &[Some(&serial)],
        &[Some(&queue), None, Some(&serial), Some(&serial)],
    ];
    for places in all {
        let (graph, sum) = wide(places);
        assert_eq!(block_on(graph.run(3)).get(sum).as_deref(), Some(&30_000));
        // From one thread to the other takes its time where many work.
        let count = if places.len() == 1 { 100_000 } else { 5_000 };
        let (graph, last) = deep(places, count);
        drop(graph.run(0));
        assert_eq!(block_on(graph.run(7)).get(last).as_deref(), Some(&(count as u64 + 7)));
    }
}

#[test]
fn deep_graph_of_skipped_nodes_needs_no_stack() {
    let engine = engine(2);
    let queue = engine.compute("nodes").expect("threads");
    for place in [None, Some(&queue)] {
        let mut graph = GraphBuilder::<u64>::new("skipped").on_failure(OnFailure::Continue);
        let fail = || -> Result<u64> { Err(failure("no")) };
        let bad = match place {
            Some(queue) => graph.compute("bad", queue, (), move |()| fail()),
            None => graph.task("bad", OTHER, (), move |()| async move { fail() }),
        };
        let mut last = bad;
        for _ in 0..100_000 {
            last = node(&mut graph, place, last, |_| 0);
        }
        let end = node(&mut graph, place, last.optional(), |last| u64::from(last.is_none()));
        let finished = block_on(graph.build().run(0));
        assert_eq!((finished.fate(bad), finished.fate(last)), (Fate::Failed, Fate::Skipped));
        assert_eq!((finished.get(end).as_deref(), finished.errors().count()), (Some(&1), 1));
    }
    // With a queue that takes nothing, each fails and lets the next begin.
    drop(engine);
    let mut graph = GraphBuilder::<u64>::new("refused").on_failure(OnFailure::Continue);
    let mut last = graph.input();
    for _ in 0..100_000 {
        last = node(&mut graph, Some(&queue), last.optional(), |_| 0);
    }
    let finished = block_on(graph.build().run(0));
    assert_eq!((finished.fate(last), finished.errors().count()), (Fate::Failed, 100_000));
    assert!(finished.errors().all(|(_, error)| error.kind() == Kind::Cancelled));
}

#[test]
fn no_more_run_at_once_than_allowed_in_the_order_in_which_they_became_ready() {
    let engine = engine(2);
    let queue = engine.compute("nodes").expect("threads");
    for most in [1, 2, 5] {
        let (live, begun) = (Live::default(), Count::default());
        let mut graph = GraphBuilder::<()>::new("limited").max_parallel(most);
        let mut nodes = Vec::new();
        for at in 0..100 {
            let (live, begun) = (live.clone(), begun.clone());
            nodes.push(if most > 1 && at % 3 == 0 {
                graph.compute("computes", &queue, (), move |()| {
                    let _one = live.one();
                    std::thread::yield_now();
                    Ok(begun.add())
                })
            } else {
                graph.task("waits", OTHER, (), move |()| {
                    let (one, number) = (live.one(), begun.add());
                    async move {
                        tokio::task::yield_now().await;
                        drop(one);
                        Ok(number)
                    }
                })
            });
        }
        let finished = block_on(graph.build().run(()));
        assert!((1..=most).contains(&live.most()), "{} at once", live.most());
        assert_eq!(begun.get(), 100);
        let order: Vec<_> = nodes.iter().map(|node| *finished.get(*node).expect("an output")).collect();
        assert!(most > 1 || order.is_sorted(), "{order:?}");
    }
}

#[test]
fn record_tells_when_each_node_ran() {
    let engine = engine(2);
    let queue = engine.compute("nodes").expect("threads");
    for _ in 0..50 {
        let mut graph = GraphBuilder::<()>::new("flow").on_failure(OnFailure::Continue);
        let mut nodes = vec![graph.task("0", TaskKind::File, (), |()| async { Ok(1_u64) })];
        for at in 1..40_usize {
            let (one, two) = (nodes[at / 2], nodes[at - 1]);
            let inputs = (one, two.after());
            nodes.push(match at % 3 {
                0 => graph.compute(at.to_string(), &queue, inputs, |(one, ())| Ok(*one + 1)),
                1 => graph.compute(at.to_string(), &queue, one, |one| Ok(*one + 1)),
                _ => graph.task(at.to_string(), TaskKind::Timer, inputs, |(one, ())| async move {
                    tokio::task::yield_now().await;
                    Ok(*one + 1)
                }),
            });
        }
        let bad = graph.compute("bad", &queue, nodes[39], |_| Err::<u64, _>(failure("no")));
        let never = graph.compute("never", &queue, bad, |_| Ok(()));
        let finished = block_on(graph.build().recorded(()));
        assert_eq!(finished.fate(never), Fate::Skipped);
        let record = finished.record().expect("it was recorded");
        let spans = record.spans();
        assert_eq!((record.flow(), spans.len()), ("flow", 42));
        let ran = |span: &Span| span.ending != Ending::Skipped;
        let skipped = spans.iter().find(|span| !ran(span)).expect("one is skipped");
        assert_eq!((&*skipped.name, &*skipped.worker), ("never", ""));
        let ends = spans.iter().filter(|span| ran(span)).map(|span| span.ended);
        assert!(ends.is_sorted(), "in the order in which they ended");
        let places: HashMap<_, _> = spans.iter().enumerate().map(|(at, span)| (&*span.name, at)).collect();
        for (at, span) in spans.iter().enumerate().filter(|(_, span)| ran(span)) {
            assert!(span.ready <= span.begun && span.begun <= span.ended && span.ended <= record.took());
            assert!(span.after.iter().all(|before| *before < at && spans[*before].ended <= span.begun));
            assert_eq!(span.ending == Ending::Failed, span.name == "bad");
            assert_eq!(span.worker.starts_with("compute-"), span.kind == TaskKind::Compute);
            let number = span.name.parse().unwrap_or(40_usize);
            assert_eq!(span.after.contains(&places[&*(number / 2).to_string()]), (1..40).contains(&number));
        }
        let path = record.critical_path();
        let last = spans.iter().rposition(ran);
        assert_eq!((path.first(), path.last().copied()), (Some(&places["0"]), last), "back from the last");
    }
}

#[test]
fn graph_as_a_task_fails_as_its_first_node_does() {
    let mut graph = GraphBuilder::<u32>::new("inner");
    let input = graph.input();
    let half = graph.task("half", OTHER, input, |number| async move {
        if *number % 2 == 0 { Ok(*number / 2) } else { Err(failure("odd")) }
    });
    let graph = graph.build();
    let task = graph.clone().into_task(8);
    assert_eq!((task.name(), task.kind()), ("inner", TaskKind::Flow));
    assert_eq!(block_on(task).expect("it is even").get(half).as_deref(), Some(&4));
    let error = block_on(graph.into_task(7).map(|_| ()));
    assert_eq!(kind(&error), Some(Kind::Io));
    assert_eq!(error.expect_err("it is odd").target(), Some("inner/half"));
}
