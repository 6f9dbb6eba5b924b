//! Graphs: what nodes may depend on, what a failure does, limits, deadlines, tries, and the engine's end.

mod kit;

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use kit::{Count, Live, block_on, engine, failure, kind};
use millstream_base::{Kind, Result};
use millstream_flow::{Ending, Fate, GraphBuilder, Node, OnFailure, Retry, TaskKind};
use millstream_runtime::{QueueOptions, WhenFull};
use tokio::sync::Notify;

const MS: Duration = Duration::from_millis(1);
const OTHER: TaskKind = TaskKind::Other;

fn panics<T>(call: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(call()))).is_err()
}

/// Both ways of storing what a node gave: with a deadline somewhere the run shares its state.
#[test]
fn futures_begin_in_the_order_in_which_they_became_ready() {
    for is_shared in [false, true] {
        let (order, all_begun) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let mut graph = GraphBuilder::<()>::new("order");
        if is_shared {
            let all_begun = all_begun.clone();
            let aside = graph.task("aside", OTHER, (), move |()| {
                let all_begun = all_begun.clone();
                async move {
                    all_begun.notified().await;
                    Ok(())
                }
            });
            graph.deadline(aside, MS * 60_000);
        }
        let node = |graph: &mut GraphBuilder<()>, number: u32, on: Vec<Node<u32>>| {
            let order = order.clone();
            graph.task("node", OTHER, on, move |_| {
                order.lock().expect("no panic").push(number);
                async move { Ok(number) }
            })
        };
        let (a, b) = (node(&mut graph, 0, vec![]), node(&mut graph, 1, vec![]));
        // 2 needs both; 3 and 4 are ready once 0 has ended, 5 once 1 has, 6 once 4 has.
        let both = node(&mut graph, 2, vec![b, a]);
        let (_, d) = (node(&mut graph, 3, vec![a]), node(&mut graph, 4, vec![a]));
        node(&mut graph, 5, vec![b]);
        node(&mut graph, 6, vec![d]);
        let last = node(&mut graph, 7, vec![both, both]);
        graph.task("last", OTHER, last, move |_| {
            all_begun.notify_one();
            async { Ok(()) }
        });
        block_on(graph.build().run(())).ok().expect("no node fails");
        assert_eq!(*order.lock().expect("no panic"), [0, 1, 3, 4, 2, 5, 6, 7]);
    }
}

#[test]
fn node_of_another_graph_is_turned_away_everywhere() {
    let mut other = GraphBuilder::<()>::new("other");
    let foreign = other.task("foreign", OTHER, (), |()| async { Ok(true) });
    let mut graph = GraphBuilder::<()>::new("own");
    let own = graph.task("own", OTHER, (), |()| async { Ok(true) });
    let queue = engine(1).compute("any").expect("threads");
    assert!(panics(|| graph.task("a", OTHER, foreign, |_| async { Ok(()) })));
    assert!(panics(|| graph.task("a", OTHER, (own, foreign.optional()), |_| async { Ok(()) })));
    assert!(panics(|| graph.task("a", OTHER, vec![foreign.after()], |_| async { Ok(()) })));
    assert!(panics(|| graph.compute("a", &queue, foreign, |_| Ok(()))));
    assert!(panics(|| graph.when(foreign, own)));
    assert!(panics(|| graph.when(own, foreign)));
    assert!(panics(|| graph.deadline(foreign, MS)));
    assert!(panics(|| graph.retry(foreign, Retry::times(2))));
    // Nor one that comes later, or the node itself.
    let later = graph.task("later", OTHER, (), |()| async { Ok(true) });
    assert!(panics(|| graph.when(own, later)));
    assert!(panics(|| graph.when(own, own)));
    let input = graph.input();
    assert!(panics(|| graph.when(input, own)));
    let graph = graph.build();
    assert_eq!((graph.len(), graph.is_empty()), (3, false));
    let finished = block_on(graph.run(()));
    assert!(panics(|| finished.get(foreign)) && panics(|| finished.fate(foreign)));
    assert!(panics(|| finished.error(foreign).map(drop)));
    assert_eq!(finished.get(own).as_deref(), Some(&true));
}

#[test]
fn one_graph_runs_a_hundred_times_at_once() {
    let engine = engine(2);
    let queue = engine.compute("numbers").expect("threads");
    let mut graph = GraphBuilder::<u64>::new("numbers");
    let node = graph.input();
    let double = graph.compute("double", &queue, node, |number| Ok(*number * 2));
    let square = graph.task("square", OTHER, node, |number| async move {
        tokio::task::yield_now().await;
        Ok(*number * *number)
    });
    let sum = graph.compute("sum", &queue, (double, square), |(double, square)| Ok(*double + *square));
    let graph = graph.build();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        for _ in 0..20 {
            let runs: Vec<_> =
                (0..100).map(|input| (input, tokio::spawn(graph.run(input).into_future()))).collect();
            for (input, run) in runs {
                let finished = run.await.expect("no panic").ok().expect("no error");
                assert_eq!(finished.get(sum).as_deref(), Some(&(input * 2 + input * input)));
                assert_eq!(finished.get(node).as_deref(), Some(&input));
            }
        }
    });
}

#[tokio::test]
async fn empty_graph_ends_at_once() {
    let graph = GraphBuilder::<u32>::new("empty").build();
    assert!(graph.is_empty() && graph.len() == 1);
    let finished = graph.run(7).await;
    assert_eq!((finished.errors().count(), finished.record().is_none()), (0, true));
    let mut graph = GraphBuilder::<u32>::new("input");
    let (input, max) = (graph.input(), graph.task("max", OTHER, (), |()| async { Ok(()) }));
    let finished = graph.max_parallel(0).build().run(7).await;
    assert_eq!((finished.get(input).as_deref(), finished.fate(max)), (Some(&7), Fate::Done));
}

#[tokio::test]
async fn conditions_and_missing_inputs_decide_who_runs() {
    let mut graph = GraphBuilder::<bool>::new("flow").on_failure(OnFailure::Continue);
    let wanted = graph.input();
    let bad = graph.task("bad", OTHER, (), |()| async { Err::<u32, _>(failure("no")) });
    let good = graph.task("good", OTHER, (), |()| async { Ok(7_u32) });
    graph.when(good, wanted);
    let needs = graph.task("needs", OTHER, (bad, good), |_| async { Ok(()) });
    let after = graph.task("after", OTHER, bad.after(), |()| async { Ok(()) });
    let inputs = (bad.optional(), good.optional(), needs.optional());
    let any = graph.task("any", OTHER, inputs, |(bad, good, needs)| async move {
        Ok((bad.is_some(), good.as_deref().copied(), needs.is_some()))
    });
    let twice = graph.task("twice", OTHER, vec![good, good], |both| async move { Ok(both.len()) });
    let graph = graph.build();
    for (wants, fate, seven) in [(true, Fate::Done, Some(7)), (false, Fate::Skipped, None)] {
        let finished = graph.run(wants).await;
        assert_eq!((finished.fate(bad), finished.fate(good)), (Fate::Failed, fate));
        assert_eq!((finished.fate(needs), finished.fate(after)), (Fate::Skipped, Fate::Skipped));
        assert_eq!(finished.get(any).as_deref(), Some(&(false, seven, false)));
        assert_eq!(finished.get(twice).as_deref(), seven.map(|_| &2));
        let errors: Vec<_> = finished.errors().map(|(name, error)| (name, error.target())).collect();
        assert_eq!(errors, [("bad", Some("flow/bad"))]);
        assert_eq!(kind(&finished.ok()), Some(Kind::Io));
    }
}

#[tokio::test]
async fn after_a_failure_nothing_more_begins() {
    let begun = Count::default();
    let mut graph = GraphBuilder::<()>::new("flow");
    let bad = graph.task("bad", OTHER, (), |()| async { Err::<u32, _>(failure("no")) });
    let count = begun.clone();
    let optional = graph.task("optional", OTHER, bad.optional(), move |_| {
        count.add();
        async { Ok(()) }
    });
    let needs = graph.task("needs", OTHER, bad, |_| async { Ok(()) });
    let finished = graph.build().run(()).await;
    assert_eq!((finished.fate(bad), finished.fate(needs)), (Fate::Failed, Fate::Skipped));
    assert_eq!((finished.fate(optional), begun.get()), (Fate::Cancelled, 0));
}

#[test]
fn failure_stops_what_runs_and_the_run_ends() {
    let engine = engine(2);
    let queue = engine.compute("steps").expect("threads");
    let live = Live::default();
    for by_panic in [true, false] {
        let mut graph = GraphBuilder::<Live>::new("flow");
        let input = graph.input();
        let (begin, begun) = channel();
        let begun = std::sync::Mutex::new(begun);
        let spins = graph.compute_with("spins", &queue, input, move |live, token| {
            let _one = live.one();
            begin.send(()).expect("the test listens");
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
            Ok(())
        });
        let hangs = graph.task("hangs", OTHER, input, |live| async move {
            let _one = live.one();
            pending::<Result<()>>().await
        });
        let bad = graph.compute("bad", &queue, (), move |()| {
            begun.lock().expect("nobody panics").recv().expect("the other begins");
            if by_panic { panic!("boom") } else { Err::<(), _>(failure("no")) }
        });
        let finished = block_on(graph.build().run(live.clone()));
        let expected = if by_panic { Kind::Panic } else { Kind::Io };
        assert_eq!(
            (finished.fate(bad), finished.error(bad).map(|e| e.kind())),
            (Fate::Failed, Some(expected))
        );
        assert_eq!(finished.fate(hangs), Fate::Cancelled);
        // It may see its token, and end, before the run does.
        assert!(matches!(finished.fate(spins), Fate::Done | Fate::Cancelled));
        assert_eq!(finished.errors().count(), 1);
    }
    // Both threads: the computations that were cancelled have ended.
    let both = Arc::new(Barrier::new(2));
    let jobs = [both.clone(), both].map(|both| queue.run(move || both.wait().is_leader()));
    for job in jobs {
        job.wait().expect("the threads go on");
    }
    assert_eq!(live.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn deadlines_and_tries_belong_to_nodes() {
    let tries = Count::default();
    let mut graph = GraphBuilder::<()>::new("flow").on_failure(OnFailure::Continue);
    let late = graph.task("late", OTHER, (), |()| pending::<Result<()>>());
    graph.deadline(late, 10 * MS);
    let quick = graph.task("quick", OTHER, (), |()| async {
        tokio::time::sleep(9 * MS).await;
        Ok(())
    });
    graph.deadline(quick, 10 * MS);
    let count = tries.clone();
    let again = graph.task("again", OTHER, (), move |()| {
        let number = count.add();
        assert!(number != 1, "no future comes of the first");
        async move {
            assert!(number != 2, "the second panics");
            if number == 3 { Err(failure("the third fails")) } else { Ok(number) }
        }
    });
    graph.retry(again, Retry::times(4).backoff(MS, MS));
    // The deadline holds for all tries together, and their waits.
    let in_vain = graph.task("in vain", OTHER, (), |()| async {
        tokio::time::sleep(4 * MS).await;
        Err::<(), _>(failure("no"))
    });
    graph.retry(in_vain, Retry::times(9).backoff(Duration::ZERO, Duration::ZERO));
    graph.deadline(in_vain, 10 * MS);
    let graph = graph.build();
    let finished = graph.recorded(()).await;
    assert_eq!(finished.error(late).map(|error| error.kind()), Some(Kind::Timeout));
    assert_eq!(finished.error(in_vain).map(|error| error.kind()), Some(Kind::Timeout));
    assert_eq!((finished.fate(quick), finished.get(again).as_deref()), (Fate::Done, Some(&4)));
    let endings = |name| {
        let spans = finished.record().expect("it was recorded").spans();
        spans.iter().filter(|span| span.name == name).map(|span| span.ending).collect::<Vec<_>>()
    };
    assert_eq!((endings("late"), endings("quick")), (vec![Ending::TimedOut], vec![Ending::Done]));
    assert_eq!(endings("in vain"), [Ending::Failed, Ending::Failed, Ending::TimedOut]);
}

#[test]
fn computations_have_deadlines_and_tries_too() {
    let engine = engine(2);
    let queue = engine.compute("steps").expect("threads");
    let ((tell, told), begun, tries) = (channel(), Count::default(), Count::default());
    let mut graph = GraphBuilder::<()>::new("flow").on_failure(OnFailure::Continue);
    let count = begun.clone();
    let late = graph.compute_with("late", &queue, (), move |(), token| {
        count.add();
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        tell.send(()).expect("the test listens");
        Ok(())
    });
    graph.deadline(late, MS);
    let again = graph.compute("again", &queue, (), move |()| match tries.add() {
        1 => panic!("the first panics"),
        2 => Err(failure("the second fails")),
        number => Ok(number),
    });
    graph.retry(again, Retry::times(3).backoff(MS, MS));
    let finished = block_on(graph.build().run(()));
    assert_eq!(finished.error(late).map(|error| error.kind()), Some(Kind::Timeout));
    assert_eq!(finished.get(again).as_deref(), Some(&3));
    // Where the threads are slow, its time is over before it begins.
    drop(finished);
    assert_eq!(told.iter().count(), begun.get(), "it sees its token");
}

#[test]
fn queue_with_a_limit_makes_nodes_wait_or_fail() {
    let engine = engine(1);
    let (hold, held) = channel::<()>();
    let options = QueueOptions::default().depth(1);
    let waits = engine.compute_with("waits", options.clone()).expect("a new queue");
    let refuses = engine.compute_with("refuses", options.when_full(WhenFull::Refuse)).expect("a new queue");
    let mut graph = GraphBuilder::<()>::new("flow").on_failure(OnFailure::Continue);
    let patient: Vec<_> = (0..20).map(|at| graph.compute("node", &waits, (), move |()| Ok(at))).collect();
    let all = graph.compute("all", &waits, patient, |all| Ok(all.iter().map(|at| **at).sum::<u32>()));
    let refused: Vec<_> = (0..5).map(|at| graph.compute("node", &refuses, (), move |()| Ok(at))).collect();
    // The one thread is busy until all nodes were begun.
    let (begin, begun) = channel();
    let busy = engine.compute("busy").expect("threads").run(move || {
        begin.send(()).expect("the test listens");
        held.recv().expect("the test lets go");
    });
    begun.recv().expect("it begins");
    let finished = block_on(async move {
        let running = tokio::spawn(graph.build().run(()).into_future());
        tokio::task::yield_now().await;
        hold.send(()).expect("it waits");
        running.await.expect("no panic")
    });
    busy.wait().expect("no panic");
    assert_eq!(finished.get(all).as_deref(), Some(&190));
    let fates: Vec<_> = refused.iter().map(|node| finished.fate(*node)).collect();
    assert_eq!(fates.iter().filter(|fate| **fate == Fate::Done).count(), 1, "{fates:?}");
    assert!(
        finished.errors().all(|(_, error)| error.kind() == Kind::Limit) && finished.errors().count() == 4
    );
}

#[test]
fn graph_ends_when_the_engine_does() {
    for is_held in [true, false].repeat(20) {
        let engine = engine(1);
        let queue = engine.compute("steps").expect("threads");
        let serial = engine.compute_with("short", QueueOptions::default().depth(1)).expect("a new queue");
        let (begin, begun) = channel();
        let mut graph = GraphBuilder::<()>::new("flow").on_failure(OnFailure::Continue);
        let spins = graph.compute_with("spins", &queue, (), move |(), token| {
            begin.send(()).expect("the test listens");
            while is_held && !token.is_cancelled() {
                std::thread::yield_now();
            }
            Ok(())
        });
        let waits: Vec<_> = (0..5).map(|_| graph.compute("waits", &queue, (), |()| Ok(()))).collect();
        let line: Vec<_> = (0..5).map(|_| graph.compute("in line", &serial, (), |()| Ok(()))).collect();
        let mut last = graph.compute("after", &queue, spins, |_| Ok(()));
        for _ in 0..1000 {
            last = graph.compute("after", &queue, last.optional(), |_| Ok(()));
        }
        let stopper = std::thread::spawn(move || {
            begun.recv().expect("it begins");
            drop(engine);
            begun
        });
        let graph = graph.build();
        let finished = block_on(graph.run(()));
        let _begun = stopper.join().expect("no panic");
        for node in waits.into_iter().chain(line).chain([last]) {
            let cancelled = finished.error(node).is_none_or(|error| error.kind() == Kind::Cancelled);
            assert!(cancelled && finished.fate(node) != Fate::Cancelled, "{:?}", finished.fate(node));
        }
        // From now on at once.
        let finished = block_on(graph.run(()));
        assert_eq!((finished.fate(spins), finished.fate(last)), (Fate::Failed, Fate::Failed));
    }
}
