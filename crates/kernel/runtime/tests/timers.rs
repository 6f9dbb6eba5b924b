//! Waiting, as users do it: on workers with a clock that stands, across threads, on other runtimes.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millstream_base::Kind;
use millstream_runtime::{
    Engine, MissedTick, Shutdown, Sleep, advance, interval, now, sleep, sleep_until, spawn_local, timeout,
};

const MS: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[allow(clippy::unwrap_used)] // part of the tests
fn paused<T: Send + 'static>(main: impl AsyncFnOnce(Engine) -> T + Send + 'static) -> T {
    Engine::builder().start_paused().build().unwrap().run(main).unwrap()
}

fn is_pending(sleep: &mut Sleep) -> bool {
    pin!(sleep).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn sleep_is_never_early_and_two_ticks_late_at_most() {
    paused(async |_| {
        let (mut tasks, mut dice) = (Vec::new(), 1_u64);
        for _ in 0..3_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let span = Duration::from_nanos((dice >> 20) % (1 << (dice % 44)).max(1));
            let started = now();
            tasks.push(spawn_local(async move {
                sleep(span).await;
                (span, now() - started)
            }));
            if dice.is_multiple_of(7) {
                sleep(Duration::from_micros(dice >> 50)).await;
            }
        }
        for task in tasks {
            let (span, took) = task.await.unwrap().unwrap();
            // It begins at its first poll, which is in the same moment: the clock stands.
            assert!(took >= span && took <= span + 2 * MS, "{span:?} took {took:?}");
        }
    });
}

#[test]
fn clock_moves_by_what_it_is_told_and_who_is_due_has_run() {
    paused(async |_| {
        let seen = Arc::new(AtomicUsize::new(0));
        for step in 1..=10 {
            let seen = seen.clone();
            drop(spawn_local(async move {
                sleep(step * MS).await;
                seen.fetch_add(1, Relaxed);
            }));
        }
        advance(Duration::ZERO).await;
        for step in 1..=10 {
            advance(MS).await;
            assert_eq!(seen.load(Relaxed), step);
        }
    });
}

#[test]
fn far_deadlines_hold() {
    paused(async |_| {
        let (mut never, mut far) = (sleep(Duration::MAX), sleep(1000 * YEAR));
        assert!(never.deadline().is_none());
        let start = now();
        let five = spawn_local(async move {
            sleep(5 * YEAR).await;
            now() - start
        });
        assert!(is_pending(&mut never) && is_pending(&mut far));
        assert_eq!(five.await.unwrap().unwrap(), 5 * YEAR);
        advance(20 * YEAR).await;
        assert!(is_pending(&mut never) && is_pending(&mut far));
        drop(far);
        assert!(timeout(Duration::MAX, async { 1 }).await.is_ok());
    });
}

#[test]
fn zero_and_past_end_at_the_first_poll() {
    paused(async |_| {
        assert!(!is_pending(&mut sleep(Duration::ZERO)));
        assert!(!is_pending(&mut sleep_until(now() - MS)));
        let late = timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
        assert_eq!((late.kind(), late.is_timeout()), (Kind::Timeout, true));
        // The future has the first word.
        assert_eq!(timeout(Duration::ZERO, async { 3 }).await.unwrap(), 3);
    });
}

#[test]
fn timers_that_are_all_past_leave_others_their_turn() {
    let engine = Engine::builder().workers(1).build().unwrap();
    engine
        .run(async |_| {
            drop(spawn_local(async {
                loop {
                    sleep(Duration::ZERO).await;
                }
            }));
            tokio::task::yield_now().await;
        })
        .unwrap();
}

#[test]
fn late_ticks_come_as_it_was_said() {
    // Due at 0, 10, 20, ...; at 35 the ticks of 10, 20 and 30 have been missed.
    for (missed, expected) in [
        (MissedTick::Burst, [10, 20, 30, 40, 50]),
        (MissedTick::Delay, [10, 45, 55, 65, 75]),
        (MissedTick::Skip, [10, 40, 50, 60, 70]),
    ] {
        let ticks = paused(async move |_| {
            let mut beat = interval(10 * MS).missed(missed);
            let start = beat.tick().await;
            advance(35 * MS).await;
            let mut ticks = Vec::new();
            for _ in 0..expected.len() {
                let due = beat.tick().await;
                assert!(now() >= due && now() <= (due + 2 * MS).max(start + 35 * MS));
                ticks.push((due - start).as_millis());
            }
            ticks
        });
        assert_eq!(ticks, expected, "{missed:?}");
    }
}

#[test]
fn tick_that_was_given_up_is_not_lost() {
    paused(async |_| {
        let mut beat = interval(10 * MS);
        let start = beat.tick().await;
        assert!(timeout(5 * MS, beat.tick()).await.is_err());
        assert_eq!(beat.tick().await - start, 10 * MS);
        assert_eq!(now() - start, 10 * MS);
    });
}

#[test]
fn sleep_fires_wherever_it_was_moved() {
    let engine = Engine::builder().workers(2).build().unwrap();
    let begun = Instant::now();
    let moved = engine.run(async |engine| {
        let mut moved = sleep(30 * MS);
        assert!(is_pending(&mut moved));
        // To the other worker, and from there out of the engine.
        engine.workers()[1]
            .spawn(async move || {
                assert!(is_pending(&mut moved) || moved.is_elapsed());
                Some(moved)
            })
            .await
    });
    let moved = moved.unwrap().unwrap().expect("it was moved");
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(moved);
    assert!(begun.elapsed() >= 30 * MS);
}

#[test]
fn sleep_outlives_the_worker_it_began_on() {
    let engine = Engine::builder().workers(1).build().unwrap();
    let moved = engine.run(async |_| {
        let mut moved = sleep(50 * MS);
        assert!(is_pending(&mut moved));
        Some(moved)
    });
    let (moved, begun) = (moved.unwrap().expect("it was moved"), Instant::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async move {
        let waits = tokio::spawn(async move {
            let deadline = moved.deadline();
            moved.await;
            deadline
        });
        tokio::task::yield_now().await; // it stands in the wheel, with a waker of this runtime
        drop(engine);
        let deadline = waits.await.unwrap().unwrap();
        assert!(Instant::now() >= deadline && begun.elapsed() < 600 * YEAR);
    });
}

#[tokio::test(start_paused = true)]
async fn other_runtimes_have_their_own_timers() {
    let start = now();
    sleep(YEAR).await;
    assert_eq!(now() - start, YEAR);
    let mut beat = interval(MS);
    beat.tick().await;
    beat.tick().await;
    assert!(timeout(MS, pending::<()>()).await.is_err());
    let mut moved = sleep(MS);
    assert!(is_pending(&mut moved));
    moved.reset(now() + 10 * MS);
    let before = now();
    moved.await;
    assert_eq!(now() - before, 10 * MS);
}

#[test]
fn oldest_of_a_name_are_cancelled_first() {
    paused(async |engine| {
        let timers: Vec<_> = (0..5).map(|_| engine.timer("job", 10 * MS)).collect();
        let other = engine.timer("other", 10 * MS);
        assert_eq!(engine.cancel_timers("nobody", None), 0);
        assert_eq!(engine.cancel_timers("job", Some(0)), 0);
        assert_eq!(engine.cancel_timers("job", Some(2)), 2);
        let mut outcomes = Vec::new();
        for timer in timers {
            outcomes.push(timer.await.map_err(|error| error.kind()));
        }
        let cancelled = Err(Kind::Cancelled);
        assert_eq!(outcomes, [cancelled, cancelled, Ok(()), Ok(()), Ok(())]);
        assert_eq!(engine.cancel_timers("job", None), 0);
        other.await.unwrap();
    });
}

#[test]
fn timer_without_end_ends_when_it_is_cancelled() {
    paused(async |engine| {
        let endless = engine.timer("endless", Duration::MAX);
        let waits = spawn_local(endless);
        sleep(50 * YEAR).await;
        assert_eq!(engine.cancel_timers("endless", None), 1);
        let text = waits.await.unwrap().unwrap().unwrap_err().to_string();
        assert_eq!(text, "endless: timer cancelled");
    });
}

#[tokio::test]
async fn shutdown_cancels_all_named_timers() {
    let engine = Engine::builder().workers(1).build().unwrap();
    let before = tokio::spawn(engine.timer("a", Duration::MAX));
    tokio::task::yield_now().await;
    engine.shutdown(Shutdown::Graceful(MS)).await;
    let after = engine.timer("a", Duration::MAX);
    for error in [before.await.unwrap().unwrap_err(), after.await.unwrap_err()] {
        assert_eq!(error.to_string(), "a: the engine has stopped");
        assert!(error.is_cancelled());
    }
}

#[test]
fn firing_and_cancelling_at_once_have_one_outcome() {
    let engine = Engine::builder().workers(2).build().unwrap();
    let cancelled = engine.run(async |engine| {
        let (mut tasks, mut counted) = (Vec::new(), 0);
        for round in 0..2_000_u64 {
            let worker = &engine.workers()[round as usize % 2];
            let owner = engine.clone();
            let span = Duration::from_micros(round * 13 % 3_000);
            tasks.push(worker.spawn(async move || owner.timer("race", span).await));
            if round % 5 == 0 {
                sleep(Duration::ZERO).await;
                counted += engine.cancel_timers("race", (round % 2 == 0).then_some(3));
            }
        }
        let mut cancelled = 0;
        for task in tasks {
            cancelled += usize::from(task.await.unwrap().is_err());
        }
        (counted, cancelled)
    });
    let (counted, cancelled) = cancelled.unwrap();
    assert_eq!(counted, cancelled);
}

#[test]
fn paused_time_has_one_worker() {
    let refused = Engine::builder().start_paused().workers(2).build().unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
}

/// Unparks a thread.
struct Parked(std::thread::Thread);

impl std::task::Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on a thread that has no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn named_timer_needs_no_runtime() {
    let engine = Engine::builder().workers(1).build().unwrap();
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let begun = Instant::now();
    block_on(engine.timer("plain", 5 * MS)).unwrap();
    bare.block_on(engine.timer("without timers", 5 * MS)).unwrap();
    assert!(begun.elapsed() >= 10 * MS);
    for (name, patience) in [("cancelled", 60_000 * MS), ("endless", Duration::MAX)] {
        let timer = engine.timer(name, patience);
        let owner = engine.clone();
        let other = std::thread::spawn(move || owner.cancel_timers(name, None));
        assert_eq!(block_on(timer).unwrap_err().to_string(), format!("{name}: timer cancelled"));
        assert_eq!(other.join().unwrap(), 1);
    }
}

#[test]
fn named_timer_off_the_workers_ends_with_its_engine() {
    let engine = Engine::builder().workers(1).build().unwrap();
    let mut waits = engine.timer("late", 60_000 * MS);
    assert!(pin!(&mut waits).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (unpolled, due) = (engine.timer("late", 60_000 * MS), engine.timer("late", Duration::ZERO));
    drop(engine);
    for timer in [waits, unpolled, due] {
        assert_eq!(block_on(timer).unwrap_err().to_string(), "late: the engine has stopped");
    }
}
