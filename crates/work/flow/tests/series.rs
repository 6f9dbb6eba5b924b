//! Steps one after the other: what they hand over, how they change the series, and the one telling of its end.

mod kit;

use std::future::{IntoFuture, pending};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::{Count, Live, failure, kind};
use millstream_base::{Kind, Result};
use millstream_flow::{Context, Ending, Series, Span, Task, TaskKind};

const MS: Duration = Duration::from_millis(1);
const OTHER: TaskKind = TaskKind::Other;

type Log = Mutex<Vec<u32>>;

fn note(log: &Log, number: u32) {
    log.lock().expect("nobody panics").push(number);
}

/// A series whose end is told here: the error's kind, or `None` for an output.
fn watched<T: Send + 'static, C: Send + Sync + 'static>(
    series: Series<T, C>,
) -> (Series<T, C>, Receiver<Option<Kind>>) {
    let (tell, told) = channel();
    (series.on_end(move |outcome| tell.send(kind(outcome)).expect("the test listens")), told)
}

fn all(told: &Receiver<Option<Kind>>) -> Vec<Option<Kind>> {
    told.try_iter().collect()
}

#[tokio::test]
async fn each_step_gets_what_the_one_before_gave() {
    let series = Series::new("types")
        .then("number", OTHER, |_, ()| async { Ok(7_u32) })
        .then("text", OTHER, |_, number: u32| async move { Ok(format!("{number}!")) })
        .with(Task::empty())
        .then("both", OTHER, |_, text: String| async move { Ok((text.len(), text)) });
    assert_eq!((series.len(), series.is_empty()), (4, false));
    assert_eq!(series.await.expect("no error"), (2, "7!".to_owned()));
    let none = Series::new("none");
    assert!(none.is_empty());
    none.await.expect("no step fails");
}

#[tokio::test]
async fn first_error_ends_it_and_names_the_step() {
    let ran = Count::default();
    let count = ran.clone();
    let series = Series::new("flow")
        .then("good", OTHER, |_, ()| async { Ok(1) })
        .then("bad", OTHER, |_, _: i32| async { Err::<(), _>(failure("no")) })
        .then("never", OTHER, move |_, ()| async move { Ok(count.add()) });
    let (series, told) = watched(series);
    let error = series.await.expect_err("a step fails");
    assert_eq!((error.kind(), error.target(), ran.get()), (Kind::Io, Some("flow/bad"), 0));
    assert_eq!(all(&told), [Some(Kind::Io)]);
    // What an error was about stays behind that.
    let series = Series::new("flow").with(Task::failed("bad", failure("no").with_target("db")));
    assert_eq!(series.await.expect_err("a step fails").target(), Some("flow/bad: db"));
}

#[tokio::test]
async fn panic_of_a_step_or_its_maker_is_an_error_of_the_step() {
    let made =
        Series::new("flow").then("made", OTHER, |_, ()| -> std::future::Ready<Result<()>> { panic!("boom") });
    let polled = Series::new("flow").then("polled", OTHER, |_, ()| async { panic!("boom") });
    for (series, step) in [(made, "flow/made"), (polled, "flow/polled")] {
        let (series, told) = watched(series);
        let error = series.await.expect_err("it panics");
        assert_eq!((error.kind(), error.target()), (Kind::Panic, Some(step)), "{error}");
        assert_eq!(all(&told), [Some(Kind::Panic)]);
    }
}

#[tokio::test]
async fn steps_push_others_before_and_after_the_rest() {
    fn noting(log: &Context<Log>, number: u32) -> Task<()> {
        let log = log.clone();
        Task::new("noting", OTHER, async move {
            note(&log, number);
            Ok(())
        })
    }
    let series = Series::with_context("pushes", Log::default())
        .then("first", OTHER, |log: Context<Log>, ()| async move {
            note(&log, 1);
            let nested = log.clone();
            let front = Task::new("front", OTHER, async move {
                note(&nested, 2);
                nested.push_front(noting(&nested, 3))?;
                nested.push_back(noting(&nested, 9))
            });
            log.push_back(noting(&log, 8))?;
            log.push_front(noting(&log, 5))?;
            log.push_front(noting(&log, 4))?;
            log.push_front(front)?;
            Ok("value")
        })
        .then("second", OTHER, |log, value: &str| async move { Ok((note(&log, 6), value).1) })
        .then("third", OTHER, |log, value: &str| async move { Ok((note(&log, 7), value, log).1) });
    let series = series.then("log", OTHER, |log, value: &str| async move {
        let end = log.clone();
        log.push_back(Task::new("look", OTHER, async move {
            assert_eq!(*end.lock().expect("nobody panics"), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
            Ok(())
        }))?;
        Ok(value)
    });
    assert_eq!(series.await.expect("no error"), "value");
}

#[tokio::test]
async fn series_that_is_over_takes_no_more_steps() {
    let live = Live::default();
    let push = |context: &Context<()>| {
        let (front, back) = (live.one(), live.one());
        let front = context.push_front(Task::new("late", OTHER, async move {
            drop(front);
            Ok(())
        }));
        let back = context.push_back(Task::new("late", OTHER, async move {
            drop(back);
            Ok(())
        }));
        (kind(&front), kind(&back))
    };
    let refused = (Some(Kind::Cancelled), Some(Kind::Cancelled));
    for ends_well in [true, false] {
        let (keep, kept) = channel();
        let series = Series::new("over").then("keep", OTHER, move |context, ()| async move {
            keep.send(context).expect("the test listens");
            if ends_well { Ok(()) } else { Err(failure("no")) }
        });
        assert_eq!(series.await.is_ok(), ends_well);
        let context = kept.try_recv().expect("the step ran");
        assert_eq!(push(&context), refused);
        context.cancel("too late");
        assert!(!context.is_cancelled() && live.now() == 0);
    }
    // Also where its end is told.
    let (keep, kept) = channel();
    let series = Series::new("over").then("keep", OTHER, move |context: Context<()>, ()| async move {
        keep.send(context).expect("the test listens");
        Ok(())
    });
    let outcome = series.on_end(move |_| {
        let context: Context<()> = kept.recv().expect("the step ran");
        context.cancel("too late");
        assert!(!context.is_cancelled());
        assert_eq!(kind(&context.push_back(Task::empty())), Some(Kind::Cancelled));
    });
    outcome.await.expect("no error");
}

#[tokio::test]
async fn cancelling_gives_its_reason_and_drops_the_step_under_way() {
    let (live, ran) = (Live::default(), Count::default());
    let (one, count) = (live.one(), ran.clone());
    let (keep, kept) = channel();
    let series = Series::new("flow").then("waits", OTHER, move |context: Context<()>, ()| async move {
        let _one = one;
        keep.send(context).expect("the test listens");
        pending::<Result<()>>().await
    });
    let (series, told) = watched(series.then("never", OTHER, move |_, ()| async move { Ok(count.add()) }));
    let running = tokio::spawn(series.into_future());
    let context = loop {
        match kept.try_recv() {
            Ok(context) => break context,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    context.cancel("first reason");
    context.cancel("second reason");
    assert!(context.is_cancelled());
    let error = running.await.expect("no panic").expect_err("it was cancelled");
    assert_eq!(error.kind(), Kind::Cancelled);
    assert!(error.message().contains("first reason") && error.message().contains("flow"), "{error}");
    assert_eq!((live.now(), ran.get(), all(&told)), (0, 0, vec![Some(Kind::Cancelled)]));
}

#[tokio::test]
async fn cancelling_counts_in_a_step_that_still_ends_well() {
    for is_last in [true, false] {
        let mut series = Series::new("flow").then("cancels", OTHER, |context, ()| async move {
            context.cancel("enough");
            Ok(())
        });
        if !is_last {
            series.push(Task::new("never", OTHER, async { panic!("it never begins") }));
        }
        let (series, told) = watched(series);
        let error = series.await.expect_err("it was cancelled");
        assert!(error.is_cancelled() && error.message().contains("enough"), "{error}");
        assert_eq!(all(&told), [Some(Kind::Cancelled)]);
    }
    // A step's own error counts before.
    let series = Series::new("flow").then("cancels", OTHER, |context: Context<()>, ()| async move {
        context.cancel("enough");
        Err::<(), _>(failure("no"))
    });
    let (series, told) = watched(series);
    assert_eq!((kind(&series.await), all(&told)), (Some(Kind::Io), vec![Some(Kind::Io)]));
}

#[tokio::test(start_paused = true)]
async fn end_is_told_once_however_it_comes() {
    let slow = || Series::new("slow").with(Task::sleep("one", 2 * MS)).with(Task::sleep("two", 2 * MS));
    let (series, told) = watched(slow());
    series.await.expect("no error");
    assert_eq!(all(&told), [None]);
    // Never begun: never told.
    let (series, told) = watched(slow());
    drop(series);
    assert!(all(&told).is_empty());
    let (series, told) = watched(slow());
    drop((series.into_task(), told.try_recv().expect_err("not told")));
    assert!(all(&told).is_empty());
    // Dropped in a step, and between two.
    for span in [MS, 3 * MS] {
        let (series, told) = watched(slow());
        assert!(tokio::time::timeout(span, series.into_future()).await.is_err());
        assert_eq!(all(&told), [Some(Kind::Cancelled)]);
    }
    // By a step that never wakes again, as a task and recorded.
    let (series, told) = watched(slow().with(Task::new("hangs", OTHER, pending())));
    assert!(series.into_task().timeout(9 * MS).await.is_err());
    assert_eq!(all(&told), [Some(Kind::Cancelled)]);
    let (series, told) = watched(slow().with(Task::new("hangs", OTHER, pending())));
    assert!(tokio::time::timeout(9 * MS, series.recorded()).await.is_err());
    assert_eq!(all(&told), [Some(Kind::Cancelled)]);
}

#[tokio::test]
async fn panic_where_the_end_is_told_changes_nothing() {
    let told = Count::default();
    let count = told.clone();
    let series = Series::new("flow").then("one", OTHER, |_, ()| async { Ok(1) }).on_end(move |_| {
        count.add();
        panic!("boom")
    });
    assert_eq!(series.await.expect("the step's output"), 1);
    assert_eq!(told.get(), 1);
    let count = told.clone();
    let series = Series::new("flow").with(Task::new("hangs", OTHER, pending())).on_end(move |_| {
        count.add();
        panic!("boom")
    });
    let running = tokio::spawn(series.into_future());
    tokio::task::yield_now().await;
    running.abort();
    assert!(running.await.expect_err("it was dropped").is_cancelled(), "no panic gets out");
    assert_eq!(told.get(), 2);
}

#[tokio::test]
async fn long_series_needs_no_stack_and_leaves_turns_to_others() {
    let (live, ran) = (Live::default(), Count::default());
    let long = || {
        let mut series = Series::new("long");
        for _ in 0..100_000 {
            let (one, count) = (live.one(), ran.clone());
            series.push(Task::new("step", OTHER, async move {
                count.add();
                drop(one);
                Ok(())
            }));
        }
        series
    };
    drop(long());
    drop(long().into_task());
    assert_eq!((live.now(), ran.get()), (0, 0));
    let turns = Count::default();
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.add();
            tokio::task::yield_now().await;
        }
    });
    long().await.expect("no error");
    assert_eq!((live.now(), ran.get()), (0, 100_000));
    assert!(turns.get() > 100, "{} turns beside 100,000 steps", turns.get());
    other.abort();
    // Cancelled by the first: all the others are dropped.
    let mut series = Series::new("cancelled").then("first", OTHER, |context: Context<()>, ()| async move {
        context.cancel("enough");
        Ok(())
    });
    for _ in 0..100_000 {
        let one = live.one();
        series.push(Task::new("step", OTHER, async move {
            drop(one);
            Ok(())
        }));
    }
    assert_eq!((kind(&series.await), live.now()), (Some(Kind::Cancelled), 0));
}

#[tokio::test]
async fn record_has_spans_in_order_with_their_ends() {
    let series = Series::new("flow")
        .then("one", TaskKind::Network, |_, ()| async {
            tokio::task::yield_now().await;
            Ok(())
        })
        .with(Task::new("two", TaskKind::File, async { Ok(()) }))
        .then("three", OTHER, |_, ()| async { Err::<(), _>(failure("no")) })
        .then("four", OTHER, |_, ()| async { Ok(()) });
    let (outcome, record) = series.recorded().await;
    assert_eq!((kind(&outcome), record.flow()), (Some(Kind::Io), "flow"));
    let spans = record.spans();
    let names: Vec<_> = spans.iter().map(|span| (&*span.name, span.kind, span.ending)).collect();
    assert_eq!(
        names,
        [
            ("one", TaskKind::Network, Ending::Done),
            ("two", TaskKind::File, Ending::Done),
            ("three", OTHER, Ending::Failed),
            ("four", OTHER, Ending::Cancelled)
        ]
    );
    for (at, span) in spans.iter().enumerate() {
        assert!(span.ready <= span.begun && span.begun <= span.ended && span.ended <= record.took());
        let before = at.checked_sub(1);
        assert!(before.is_none_or(|before| spans[before].ended <= span.begun), "{at}");
        assert_eq!(span.after, before.into_iter().collect::<Vec<_>>());
    }
    assert_eq!(spans.iter().map(Span::has_begun).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(record.critical_path(), [0, 1, 2]);
}

#[tokio::test]
async fn context_lives_as_long_as_somebody_has_it() {
    let live = Live::default();
    let context = Arc::new(live.one());
    let series = Series::with_context("flow", context)
        .then("keep", OTHER, |context, ()| async move { Ok(context.clone()) });
    let kept: Context<_> = series.await.expect("no error");
    assert_eq!(live.now(), 1);
    drop(kept);
    assert_eq!(live.now(), 0);
}
