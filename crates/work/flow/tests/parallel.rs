//! Tasks at once: order, the first error, the first output, what is dropped, and turns for others.

mod kit;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kit::{Count, Live, failure, kind};
use millstream_base::{Kind, Result};
use millstream_flow::{Each, Parallel, Task, TaskKind};
use millstream_runtime::Engine;
use tokio::sync::Notify;

const MS: Duration = Duration::from_millis(1);

/// Gives `outcome` after so many milliseconds.
fn late(live: &Live, ms: u32, outcome: Result<u32>) -> Task<u32> {
    let one = live.one();
    Task::new("late", TaskKind::Timer, async move {
        let _one = one;
        tokio::time::sleep(ms * MS).await;
        outcome
    })
}

fn hangs(live: &Live) -> Task<u32> {
    let one = live.one();
    Task::new("hangs", TaskKind::Timer, async move {
        let _one = one;
        pending().await
    })
}

fn panics() -> Task<u32> {
    Task::new("panics", TaskKind::Other, async { panic!("boom") })
}

#[tokio::test(start_paused = true)]
async fn all_gives_outputs_as_added_whatever_ends_first() {
    let live = Live::default();
    let tasks = (0..100).map(|at| late(&live, 100 - at, Ok(at)));
    let outputs = Parallel::of("reverse", tasks).all().await.expect("no error");
    assert_eq!(outputs, (0..100).collect::<Vec<_>>());
    assert_eq!(live.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn first_error_ends_all_and_drops_the_rest() {
    let live = Live::default();
    let tasks = (0..100).map(|at| if at == 50 { late(&live, 5, Err(failure("no"))) } else { hangs(&live) });
    let all = Parallel::of("one fails", tasks).with(late(&live, 9, Err(failure("later")))).all();
    assert_eq!(all.await.expect_err("one fails").message(), "no");
    assert_eq!((live.made(), live.now()), (101, 0));
    let all = Parallel::new("one panics").with(hangs(&live)).with(panics()).all();
    assert_eq!((kind(&all.await), live.now()), (Some(Kind::Panic), 0));
}

#[tokio::test(start_paused = true)]
async fn first_gives_the_first_output_or_the_last_error() {
    let live = Live::default();
    let race = Parallel::new("race").with(hangs(&live)).with(late(&live, 1, Err(failure("no"))));
    let race = race.with(panics()).with(late(&live, 3, Ok(3))).with(late(&live, 2, Ok(2)));
    assert_eq!((race.first().await.expect("the quickest"), live.now()), (2, 0));
    let race = Parallel::new("race").with(late(&live, 2, Err(failure("last")))).with(panics());
    assert_eq!(race.first().await.expect_err("all fail").message(), "last");
    assert_eq!(kind(&Parallel::<u32>::new("none").first().await), Some(Kind::Invalid));
}

#[tokio::test(start_paused = true)]
async fn settled_waits_for_all() {
    let live = Live::default();
    let all = Parallel::new("mixed").with(late(&live, 9, Ok(1))).with(panics());
    let all = all.with(late(&live, 1, Err(failure("no")))).with(Task::ready("now", 4)).settled().await;
    let kinds: Vec<_> = all.iter().map(kind).collect();
    assert_eq!(kinds, [None, Some(Kind::Panic), Some(Kind::Io), None]);
    assert!(matches!((&all[0], &all[3], live.now()), (Ok(1), Ok(4), 0)));
}

#[tokio::test]
async fn nothing_at_once_is_nothing() {
    assert!(Parallel::<u32>::new("none").all().await.expect("no error").is_empty());
    assert!(Parallel::<u32>::new("none").settled().await.is_empty());
    assert!(Parallel::<u32>::new("none").into_task().await.expect("no error").is_empty());
    let mut none = Each::of(0..0).run(|_| async { Ok(()) });
    assert!(none.next().await.is_none() && none.next().await.is_none());
    assert_eq!(none.count().await.expect("no error"), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_at_any_moment_drops_all_tasks() {
    let live = Live::default();
    for ms in 0..6 {
        let tasks = || (0..5).map(|at| late(&live, at + 1, Ok(at))).chain([hangs(&live)]);
        drop(Parallel::of("unpolled", tasks()).all());
        let until = ms * MS;
        let all = tokio::time::timeout(until, Parallel::of("all", tasks()).all()).await;
        let settled = tokio::time::timeout(until, Parallel::of("settled", tasks()).settled()).await;
        assert!(all.is_err() && settled.is_err());
        assert_eq!(live.now(), 0, "after {ms} ms");
    }
}

#[tokio::test]
async fn tasks_that_never_wait_leave_turns_to_others() {
    let turns = Count::default();
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.add();
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    let before = turns.get();
    let tasks = (0..10_000).map(|at| Task::ready("ready", at));
    Parallel::of("many", tasks).all().await.expect("no error");
    let between = turns.get();
    assert!(between > before + 10, "{} turns beside 10,000 tasks", between - before);
    let count = Each::of(0..10_000).run(|at| async move { Ok(at) }).count().await;
    assert_eq!(count.expect("no error"), 10_000);
    assert!(turns.get() > between + 10, "{} turns beside 10,000 items", turns.get() - between);
    other.abort();
}

#[test]
fn wakes_from_other_threads_reach_the_right_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
    runtime.block_on(async {
        for _ in 0..20 {
            let tasks = (0..500_u32).map(|at| {
                Task::new("elsewhere", TaskKind::Other, async move {
                    let spawned = tokio::spawn(async move {
                        tokio::task::yield_now().await;
                        at
                    });
                    Ok(spawned.await.expect("no panic"))
                })
            });
            let outputs = Parallel::of("spawned", tasks).all().await.expect("no error");
            assert_eq!(outputs, (0..500).collect::<Vec<_>>());
        }
    });
}

#[test]
fn computations_and_futures_run_at_once() {
    let engine = Engine::builder().workers(2).build().expect("an engine");
    let queue = engine.compute("numbers").expect("threads");
    let outputs = engine.run(async move |_| {
        let tasks = (0..300_u32).map(|at| match at % 3 {
            0 => Task::compute("square", &queue, move || Ok(at * at)),
            1 => Task::compute_with("square", &queue, move |token| {
                assert!(!token.is_cancelled());
                Ok(at * at)
            }),
            _ => Task::new("square", TaskKind::Other, async move {
                tokio::task::yield_now().await;
                Ok(at * at)
            }),
        });
        let squares = Parallel::of("squares", tasks).all().await?;
        let panics = Task::compute("panics", &queue, || -> Result<u32> { panic!("boom") });
        let fails = Task::compute("fails", &queue, || Err(failure("no")));
        let settled = Parallel::new("bad").with(panics).with(fails).settled().await;
        assert_eq!(settled.iter().map(kind).collect::<Vec<_>>(), [Some(Kind::Panic), Some(Kind::Io)]);
        Ok::<_, millstream_base::Error>(squares)
    });
    let outputs = outputs.expect("it runs").expect("no error");
    assert_eq!(outputs, (0..300).map(|at| at * at).collect::<Vec<_>>());
}

#[test]
fn computation_that_is_dropped_sees_it_or_never_runs() {
    let engine = Engine::builder().workers(1).build().expect("an engine");
    let queue = engine.compute("one thread").expect("threads");
    let (begun, ended) = (Arc::new(Notify::new()), Count::default());
    let (signal, never, count) = (begun.clone(), Count::default(), ended.clone());
    let ran = never.clone();
    let jobs = queue.clone();
    let outcome = engine.run(async move |_| {
        let spins = Task::compute_with("spins", &jobs, move |token| {
            signal.notify_one();
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
            Ok(count.add())
        });
        let waits = Task::compute("waits", &jobs, move || Ok(ran.add()));
        let fails = Task::new("fails", TaskKind::Other, async move {
            begun.notified().await;
            Err::<usize, _>(failure("no"))
        });
        let all = Parallel::new("all").with(spins).with(waits).with(fails).all().await;
        // Serial, as there is one thread: once this has run, those before have ended.
        jobs.run(|| ()).await.expect("the thread goes on");
        all
    });
    assert_eq!(kind(&outcome.expect("it runs")), Some(Kind::Io));
    assert_eq!((ended.get(), never.get()), (1, 0));
}
