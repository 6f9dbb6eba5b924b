//! What panics when it is dropped takes nothing else along: no outcome, no callback, no other task.

mod kit;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll};
use std::time::Duration;

use kit::{Live, block_on, engine, failure, kind};
use millstream_base::{Kind, Result};
use millstream_flow::{Each, Fate, GraphBuilder, Hedge, OnFailure, Parallel, Series, Task, TaskKind};

const OTHER: TaskKind = TaskKind::Other;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb was dropped");
    }
}

/// A future that holds a bomb until it is dropped, also when it has ended.
struct Holds(Bomb, Poll<u32>);

impl Future for Holds {
    type Output = Result<u32>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<u32>> {
        self.1.map(Ok)
    }
}

fn ended() -> Holds {
    Holds(Bomb, Poll::Ready(7))
}

fn under_way() -> Holds {
    Holds(Bomb, Poll::Pending)
}

fn task(future: Holds) -> Task<u32> {
    Task::new("bomb", OTHER, future)
}

fn fails() -> Task<u32> {
    Task::new("fails", OTHER, async {
        tokio::task::yield_now().await;
        Err(failure("no"))
    })
}

#[tokio::test]
async fn output_of_a_future_that_has_ended_counts() {
    assert_eq!(task(ended()).await.ok(), Some(7));
    let all = Parallel::of("all", [task(ended()), task(ended())]).all().await;
    assert_eq!(all.ok(), Some(vec![7, 7]));
    let mut outputs = Each::of(0..3).at_most(2).run(|_| ended());
    for _ in 0..3 {
        assert_eq!(outputs.next().await.and_then(Result::ok), Some(7));
    }
    assert!(outputs.next().await.is_none());
}

#[tokio::test]
async fn those_dropped_under_way_do_not_hide_why() {
    let all = Parallel::of("all", [task(under_way()), fails(), task(under_way())]).all().await;
    assert_eq!(kind(&all), Some(Kind::Io));
    let first = Parallel::of("first", [task(under_way()), task(ended())]).first().await;
    assert_eq!(first.ok(), Some(7));
    let hedge = Hedge::after(Duration::ZERO);
    let hedged = Task::hedge("hedge", OTHER, hedge, |number| if number == 1 { under_way() } else { ended() });
    assert_eq!(hedged.await.ok(), Some(7));
    let each = Each::of(0..3)
        .run(|number| async move { if number == 1 { fails().await } else { under_way().await } });
    assert_eq!(kind(&each.collect().await), Some(Kind::Io));
}

#[tokio::test]
async fn graph_goes_on_beside_them_and_ends() {
    for on_failure in [OnFailure::Continue, OnFailure::CancelAll] {
        let mut graph = GraphBuilder::<()>::new("bombs").on_failure(on_failure);
        let good = graph.task("good", OTHER, (), |()| ended());
        let after = graph.task("after", OTHER, good, |seven| async move { Ok(*seven + 1) });
        if on_failure == OnFailure::CancelAll {
            graph.task("waits", OTHER, (), |()| under_way());
            graph.task("fails", OTHER, after, |_| async { fails().await });
        }
        let finished = graph.build().run(()).await;
        assert_eq!((finished.get(after).as_deref(), finished.fate(good)), (Some(&8), Fate::Done));
        assert_eq!(finished.errors().count(), usize::from(on_failure == OnFailure::CancelAll));
    }
}

#[tokio::test]
async fn series_tells_of_its_own_end() {
    for is_cancelled in [false, true] {
        let (told, hears) = channel();
        let held = Bomb;
        let series = Series::new("series")
            .then("first", OTHER, move |ctx, ()| async move {
                if is_cancelled {
                    ctx.cancel("enough");
                    under_way().await?;
                }
                Err::<(), _>(failure("no"))
            })
            .then("never", OTHER, move |_, ()| {
                let held = &held;
                let _ = held;
                async { Ok(()) }
            })
            .on_end(move |outcome| told.send(kind(outcome)).expect("the test listens"));
        let outcome = series.await;
        let expected = if is_cancelled { Kind::Cancelled } else { Kind::Io };
        assert_eq!((kind(&outcome), hears.try_recv()), (Some(expected), Ok(Some(expected))));
    }
}

#[tokio::test]
async fn run_dropped_under_way_is_dropped_whole() {
    let live = Live::default();
    let (one, other) = (live.one(), live.one());
    let mut series = Box::pin(
        Series::new("series")
            .with(Task::new("bomb", OTHER, async move {
                let _one = one;
                let _bomb = Bomb;
                pending::<Result<()>>().await
            }))
            .then("later", OTHER, move |_, ()| {
                let _ = &other;
                async { Ok(()) }
            })
            .into_future(),
    );
    let polled = std::future::poll_fn(|cx| Poll::Ready(series.as_mut().poll(cx).is_pending())).await;
    assert!(polled && live.now() == 2);
    drop(series);
    assert_eq!(live.now(), 0);
}

#[test]
fn cancelling_after_the_last_step_changes_nothing() {
    let engine = engine(1);
    let queue = engine.compute("steps").expect("threads");
    let (give, context) = channel();
    let (end, ended) = channel();
    let series = Series::new("series").then("context", OTHER, move |ctx, ()| {
        give.send(ctx).expect("the test listens");
        async { Ok(()) }
    });
    let series = series.compute("last", &queue, move |_, ()| {
        end.send(()).expect("the test listens");
        Ok(5)
    });
    let mut run = Box::pin(series.into_future());
    let outcome = block_on(async move {
        let polled = std::future::poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "it waits for the thread");
        ended.recv().expect("it computes");
        // The queue has one thread for it: what comes behind it has run when the step has ended.
        queue.run(|| ()).await.expect("the pool goes on");
        context.recv().expect("it was sent").cancel("late");
        run.await
    });
    assert_eq!(outcome.ok(), Some(5));
}
