//! What the record of a graph's run says.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use millstream_base::Error;
use millstream_flow::{Ending, GraphBuilder, OnFailure, Record, Retry, Span, TaskKind};
use millstream_runtime::Engine;

fn span<'a>(record: &'a Record, name: &str) -> &'a Span {
    let mut spans = record.spans().iter().filter(|span| span.name == name);
    let found = spans.next().unwrap_or_else(|| panic!("no span of {name}"));
    assert!(spans.next().is_none(), "more than one span of {name}");
    found
}

fn names<'a>(record: &'a Record, places: &[usize]) -> Vec<&'a str> {
    places.iter().map(|at| &*record.spans()[*at].name).collect()
}

#[tokio::test]
async fn skipped_nodes_stand_where_it_was_decided_and_hide_nothing() {
    let mut graph = GraphBuilder::<()>::new("skips").on_failure(OnFailure::Continue);
    let bad = graph.task("bad", TaskKind::Network, (), |()| async {
        tokio::task::yield_now().await;
        Err::<u32, _>(Error::invalid("bad"))
    });
    let skipped = graph.task("skipped", TaskKind::Other, bad, |bad| async move { Ok(*bad) });
    let last = graph.task("last", TaskKind::Other, skipped.optional(), |_| async { Ok(1) });
    let finished = graph.build().recorded(()).await;
    assert!(finished.get(last).is_some());
    let record = finished.record().unwrap();
    let (bad, skipped, last) = (span(record, "bad"), span(record, "skipped"), span(record, "last"));
    assert_eq!((bad.ending, skipped.ending, last.ending), (Ending::Failed, Ending::Skipped, Ending::Done));
    assert!(!skipped.has_begun() && bad.has_begun());
    assert_eq!((skipped.ready, skipped.ended, skipped.ran()), (bad.ended, bad.ended, Duration::ZERO));
    assert_eq!(last.ready, bad.ended);
    assert_eq!(names(record, &record.critical_path()), ["bad", "last"]);
}

#[tokio::test]
async fn nodes_that_never_began_are_cancelled_in_the_record() {
    let mut graph = GraphBuilder::<()>::new("cancels");
    graph.task("bad", TaskKind::Other, (), |()| async { Err::<(), _>(Error::invalid("bad")) });
    let slow = graph.task("slow", TaskKind::Timer, (), |()| std::future::pending::<Result<(), Error>>());
    graph.task("never", TaskKind::File, slow, |_| async { Ok(()) });
    let finished = graph.build().recorded(()).await;
    let record = finished.record().unwrap();
    assert_eq!(record.spans().len(), 3);
    let never = span(record, "never");
    assert_eq!((never.ending, never.kind, never.has_begun()), (Ending::Cancelled, TaskKind::File, false));
    assert!(names(record, &record.critical_path()).iter().all(|name| *name != "never"));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_span_that_depends_on_the_one_before() {
    let mut graph = GraphBuilder::<()>::new("tries");
    let first = graph.task("first", TaskKind::Other, (), |()| async { Ok(()) });
    let tries = AtomicU32::new(0);
    let flaky = graph.task("flaky", TaskKind::Network, first, move |_| {
        let tried = tries.fetch_add(1, SeqCst) + 1;
        async move { if tried < 3 { Err(Error::invalid("not yet")) } else { Ok(tried) } }
    });
    graph.retry(flaky, Retry::times(5));
    graph.task("last", TaskKind::Other, flaky, |_| async { Ok(()) });
    let finished = graph.build().recorded(()).await;
    assert_eq!(finished.get(flaky).as_deref(), Some(&3));
    let record = finished.record().unwrap();
    let tries: Vec<_> = record.spans().iter().filter(|span| span.name == "flaky").collect();
    assert_eq!(tries.iter().map(|span| span.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        tries.iter().map(|span| span.ending).collect::<Vec<_>>(),
        [Ending::Failed, Ending::Failed, Ending::Done]
    );
    assert_eq!(names(record, &tries[1].after), ["flaky"]);
    assert_eq!(tries[1].ready, tries[0].ended);
    assert_eq!(names(record, &record.critical_path()), ["first", "flaky", "flaky", "flaky", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_cut_off_by_its_deadline_has_timed_out() {
    let mut graph = GraphBuilder::<()>::new("late").on_failure(OnFailure::Continue);
    let slow = graph.task("slow", TaskKind::Timer, (), |()| std::future::pending::<Result<(), Error>>());
    graph.deadline(slow, Duration::from_secs(1));
    let finished = graph.build().recorded(()).await;
    assert!(finished.error(slow).unwrap().is_timeout());
    assert_eq!(span(finished.record().unwrap(), "slow").ending, Ending::TimedOut);
}

#[test]
fn a_computation_that_outlives_the_run_is_cancelled_in_its_record() {
    let engine = Engine::builder().workers(1).build().unwrap();
    let queue = engine.compute("long").unwrap();
    let (begun, over) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let mut graph = GraphBuilder::<()>::new("outlived");
    let (at_begin, at_end) = (begun.clone(), over.clone());
    let long = graph.compute("long", &queue, (), move |()| {
        at_begin.wait();
        at_end.wait();
        Ok(())
    });
    graph.compute("never", &queue, long, |_| Ok(()));
    graph.task("bad", TaskKind::Other, (), move |()| {
        begun.wait();
        async { Err::<(), _>(Error::invalid("bad")) }
    });
    let graph = graph.build();
    let finished = engine.run(async move |_| graph.recorded(()).await).unwrap();
    let record = finished.record().unwrap();
    let (long, never) = (span(record, "long"), span(record, "never"));
    assert_eq!((long.ending, long.has_begun()), (Ending::Cancelled, true));
    assert_eq!((never.ending, never.has_begun()), (Ending::Cancelled, false));
    assert_eq!(long.ended, record.took());
    over.wait();
}
