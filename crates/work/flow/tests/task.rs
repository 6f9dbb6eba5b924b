//! Single tasks: what each way to make or change one does in the end, on a panic, and when it is dropped.

mod kit;

use std::future::{Future, pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use kit::{Count, Live, failure, kind};
use millstream_base::{Error, Kind, Origin, Result};
use millstream_flow::{Hedge, Parallel, Retry, Series, Task, TaskKind};
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);

async fn after(span: Duration, outcome: Result<u32>) -> Result<u32> {
    tokio::time::sleep(span).await;
    outcome
}

fn late(span: Duration, outcome: Result<u32>) -> Task<u32> {
    Task::new("late", TaskKind::Timer, after(span, outcome))
}

fn panics(text: &'static str) -> Task<u32> {
    Task::new("panics", TaskKind::Other, async move { panic!("{text}") })
}

/// Polls once; the task is not to end at that.
async fn poll_once<T: Send + 'static>(task: &mut Task<T>) {
    poll_fn(|cx| {
        assert!(std::pin::Pin::new(&mut *task).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn timeout_counts_from_the_first_poll_and_drops_what_is_late() {
    let live = Live::default();
    let one = live.one();
    let task = Task::new("slow", TaskKind::Network, async move {
        let _one = one;
        pending::<Result<u32>>().await
    });
    let task = task.timeout(10 * MS);
    tokio::time::advance(100 * MS).await;
    let begun = Instant::now();
    let error = task.await.expect_err("it never ends");
    assert_eq!((error.kind(), begun.elapsed(), live.now()), (Kind::Timeout, 10 * MS, 0), "{error}");
    assert!(error.to_string().contains("slow"), "{error}");
    assert_eq!(late(9 * MS, Ok(3)).timeout(10 * MS).await.expect("in time"), 3);
    assert_eq!(kind(&late(9 * MS, Err(failure("no"))).timeout(10 * MS).await), Some(Kind::Io));
    assert_eq!(late(9 * MS, Ok(3)).timeout(Duration::MAX).await.expect("in time"), 3);
    // One on the spot is not late, whatever the limit.
    assert_eq!(Task::ready("now", 1).timeout(Duration::ZERO).await.expect("in time"), 1);
}

#[tokio::test(start_paused = true)]
async fn other_task_is_made_only_after_an_error() {
    let made = Count::default();
    let other = |made: &Count| {
        let made = made.clone();
        move |error: Error| {
            made.add();
            assert!(matches!(error.kind(), Kind::Io | Kind::Panic | Kind::Timeout), "{error}");
            Task::ready("other", 7)
        }
    };
    assert_eq!(late(MS, Ok(1)).or_else(other(&made)).await.expect("the first"), 1);
    assert_eq!(made.get(), 0);
    for task in [late(MS, Err(failure("no"))), panics("no"), late(9 * MS, Ok(1)).timeout(MS)] {
        assert_eq!(task.or_else(other(&made)).await.expect("the other"), 7);
    }
    assert_eq!(made.get(), 3);
    let error = Task::failed("no", failure("first")).or_else(|_| late(MS, Err(failure("second")))).await;
    assert_eq!(error.expect_err("both fail").message(), "second");
}

#[tokio::test(start_paused = true)]
async fn map_and_inspect_see_outcomes_once() {
    assert_eq!(late(MS, Ok(2)).map(|two| two.to_string()).await.expect("an output"), "2");
    let seen = Count::default();
    let count = seen.clone();
    let mapped = late(MS, Err(failure("no"))).map(move |_| count.add());
    assert_eq!((kind(&mapped.await), seen.get()), (Some(Kind::Io), 0));
    for (task, expected) in [(late(MS, Ok(2)), None), (late(MS, Err(failure("no"))), Some(Kind::Io))] {
        let count = seen.clone();
        let task = task.inspect(move |outcome| {
            count.add();
            assert_eq!(kind(outcome), expected);
        });
        assert_eq!(kind(&task.await), expected);
    }
    assert_eq!(seen.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn names_and_kinds_stay_through_changes() {
    let task = late(MS, Ok(1)).timeout(MS).or_else(|_| Task::ready("other", 1)).map(|one| one + 1);
    assert_eq!((task.name(), task.kind()), ("late", TaskKind::Timer));
    let task = task.inspect(|_| ()).named("renamed");
    assert_eq!(
        (task.name(), task.kind(), format!("{task:?}")),
        ("renamed", TaskKind::Timer, "Task(\"renamed\", timer)".to_owned())
    );
    drop(task);
}

#[tokio::test(start_paused = true)]
async fn panic_anywhere_is_an_error_that_gives_its_text() {
    let panicking = || -> Task<u32> { panic!("boom") };
    let retry = Retry::times(1);
    let attempt = |_| async { panic!("boom") };
    let no_attempt = |_| -> std::future::Ready<Result<u32>> { panic!("boom") };
    let hedge = Hedge::after(MS);
    let all = [
        panics("boom"),
        panics("boom").timeout(MS),
        panics("boom").map(|one| one),
        panics("boom").inspect(|_| ()),
        panics("no").or_else(|_| panics("boom")),
        panics("no").or_else(|_| panic!("boom")),
        Task::ready("one", 1).map(|_: u32| panic!("boom")),
        Task::ready("one", 1).inspect(|_: &Result<u32>| panic!("boom")),
        Task::dynamic("dynamic", panicking),
        Task::dynamic("dynamic", || panics("boom")),
        Task::repeat("repeat", || panic!("boom")).map(|_| 1),
        Task::repeat("repeat", || Some(panics("boom").map(drop))).map(|_| 1),
        Task::retry("retry", TaskKind::Other, retry.clone(), attempt),
        Task::retry("retry", TaskKind::Other, retry, no_attempt),
        Task::hedge("hedge", TaskKind::Other, hedge.at_most(1), attempt),
        Task::hedge("hedge", TaskKind::Other, hedge, attempt),
        Task::hedge("hedge", TaskKind::Other, hedge, no_attempt),
        Parallel::new("all").with(panics("boom")).into_task().map(|_| 1),
        Series::new("series").with(panics("boom").map(drop)).into_task().map(|()| 1),
    ];
    for (at, task) in all.into_iter().enumerate() {
        let error = task.await.expect_err("it panics");
        assert_eq!((error.kind(), error.origin()), (Kind::Panic, Origin::Caller), "{at}: {error}");
        assert!(error.message().contains("boom"), "{at}: {error}");
    }
}

#[tokio::test]
async fn panic_with_what_panics_when_dropped_is_contained() {
    struct Nasty;
    impl Drop for Nasty {
        fn drop(&mut self) {
            panic!("once more");
        }
    }
    let task = Task::<()>::new("nasty", TaskKind::Other, async { std::panic::panic_any(Nasty) });
    let error = task.await.expect_err("it panics");
    assert_eq!((error.kind(), error.message()), (Kind::Panic, "a task panicked: no text"));
}

#[tokio::test(start_paused = true)]
async fn dynamic_decides_when_it_is_polled() {
    let made = Count::default();
    let count = made.clone();
    let task = Task::dynamic("choose", move || late(MS, Ok(u32::try_from(count.add()).expect("few"))));
    tokio::task::yield_now().await;
    assert_eq!(made.get(), 0);
    assert_eq!((task.await.expect("an output"), made.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn repeat_counts_ends_at_the_first_error_and_lets_others_run() {
    let error = Count::default();
    let count = error.clone();
    let task = Task::repeat("fails", move || {
        Some(if count.add() == 3 { Task::failed("no", failure("third")) } else { Task::empty() })
    });
    assert_eq!(task.await.expect_err("the third fails").message(), "third");
    assert_eq!(error.get(), 3);
    // Though none of the tasks ever waits.
    let stop = Count::default();
    let stopped = stop.clone();
    let task = Task::repeat("until stopped", move || (stopped.get() == 0).then(Task::empty));
    let (count, ()) = tokio::join!(tokio::spawn(task), async {
        tokio::task::yield_now().await;
        stop.add();
    });
    assert!(count.expect("no panic").expect("no error") > 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_in_any_phase_drops_everything() {
    let live = Live::default();
    let guarded = |span: Duration, outcome: Result<u32>| {
        let one = live.one();
        Task::new("guarded", TaskKind::Other, async move {
            let _one = one;
            after(span, outcome).await
        })
    };
    let tasks = || {
        let (spare, tries) = (live.clone(), live.clone());
        let attempt = move |_| {
            let one = tries.one();
            async move {
                let _one = one;
                after(2 * MS, Err(failure("no"))).await
            }
        };
        let held = live.one();
        [
            guarded(2 * MS, Ok(1)),
            guarded(2 * MS, Ok(1)).timeout(9 * MS),
            guarded(2 * MS, Err(failure("no"))).or_else(move |_| {
                let one = spare.one();
                late(9 * MS, Ok(1)).inspect(move |_| drop(one))
            }),
            guarded(2 * MS, Ok(1)).map(move |one| (one, held).0),
            Task::retry("r", TaskKind::Other, Retry::times(9).backoff(MS, MS), attempt.clone()),
            Task::hedge("h", TaskKind::Other, Hedge::after(MS).at_most(9), attempt),
        ]
    };
    // Unpolled, then after each so many milliseconds, beyond the end of some.
    drop(tasks());
    assert_eq!(live.now(), 0);
    for span in 0..6 {
        for mut task in tasks() {
            let until = tokio::time::sleep(span * MS);
            tokio::select! {
                biased;
                _ = &mut task => {}
                () = until => {}
            }
            drop(task);
        }
        assert_eq!(live.now(), 0, "after {span} ms");
    }
}

#[tokio::test]
async fn ended_task_has_dropped_what_it_was_made_of() {
    let live = Live::default();
    let one = live.one();
    let mut task = Task::new(
        "ends",
        TaskKind::Other,
        poll_fn(move |_| {
            let _ = &one;
            Poll::Ready(Ok(()))
        }),
    );
    (&mut task).await.expect("an output");
    assert_eq!(live.now(), 0);
    let mut task = Task::<()>::new("waits", TaskKind::Other, pending());
    poll_once(&mut task).await;
}
