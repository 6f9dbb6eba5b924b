//! What only shows inside: who stands in the wheel, and that nobody is left there.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::named::Names;
use super::wheel::SleepWheel;
use super::{Sleep, advance, sleep, timeout};
use crate::{Engine, Label, Worker, now};

const MS: Duration = Duration::from_millis(1);

fn paused<T: Send + 'static>(main: impl AsyncFnOnce(Engine) -> T + Send + 'static) -> T {
    Engine::builder().start_paused().build().unwrap().run(main).unwrap()
}

fn in_wheel() -> usize {
    SleepWheel::here().expect("it is a worker").len()
}

fn poll(sleep: &mut Sleep) -> Poll<()> {
    pin!(sleep).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn cancelling_at_every_phase_leaves_nothing() {
    paused(async |_| {
        drop(sleep(MS)); // not polled
        assert_eq!(in_wheel(), 0);
        let mut waiting = sleep(MS * 10);
        assert!(poll(&mut waiting).is_pending());
        assert!(poll(&mut waiting).is_pending());
        assert_eq!(in_wheel(), 1);
        waiting.reset(now() + MS * 20); // later: it stays where it is
        assert_eq!(in_wheel(), 1);
        waiting.reset(now() + MS * 5); // earlier: it gives up its place
        assert_eq!(in_wheel(), 0);
        assert!(poll(&mut waiting).is_pending());
        drop(waiting);
        assert_eq!(in_wheel(), 0);
        let mut due = sleep(MS * 3);
        assert!(poll(&mut due).is_pending());
        advance(MS * 3).await;
        assert_eq!(in_wheel(), 0); // fired, and not polled since
        assert!(!due.is_elapsed());
        assert!(poll(&mut due).is_ready());
        assert!(poll(&mut due).is_ready() && due.is_elapsed());
        drop(due);
        assert!(timeout(MS, std::future::pending::<()>()).await.is_err());
        assert!(timeout(MS, async {}).await.is_ok());
        assert_eq!(in_wheel(), 0);
    });
}

#[test]
fn sleep_moved_later_fires_then_and_not_before() {
    paused(async |_| {
        let start = now();
        let mut sleep = sleep(MS * 10);
        assert!(poll(&mut sleep).is_pending());
        sleep.reset(start + MS * 25);
        sleep.await;
        assert_eq!(now() - start, MS * 25);
        assert_eq!(in_wheel(), 0);
    });
}

/// Its last clone drops what it has, as a task's last waker drops the task.
struct Owner(#[allow(dead_code)] Mutex<Option<Sleep>>);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn waker_that_drops_timers_as_it_goes_may_do_so() {
    paused(async |_| {
        for is_fired in [false, true] {
            let mut inner = sleep(MS * 50);
            assert!(poll(&mut inner).is_pending());
            let waker = Waker::from(Arc::new(Owner(Mutex::new(Some(inner)))));
            let mut outer = sleep(MS * 5);
            assert!(pin!(&mut outer).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            assert_eq!(in_wheel(), 2);
            if is_fired {
                advance(MS * 5).await;
            } else {
                drop(outer);
            }
            assert_eq!(in_wheel(), 0);
        }
    });
}

#[test]
fn tasks_of_the_worker_are_woken_and_places_used_again() {
    paused(async |_| {
        let worker = Worker::current().expect("it is a worker");
        let label = Label::new("sleeper");
        for _ in 0..3 {
            let (done, mut ended) = tokio::sync::mpsc::unbounded_channel();
            for number in 0..5_000_u32 {
                let done = done.clone();
                worker.start(label, async move {
                    let begun = now();
                    let span = MS * (number * 7919 % 10_000);
                    sleep(span).await;
                    let took = now() - begun;
                    assert!(took >= span && took <= span + MS * 2, "{span:?} took {took:?}");
                    done.send(()).expect("somebody counts");
                });
            }
            drop(done);
            let mut count = 0;
            while ended.recv().await.is_some() {
                count += 1;
            }
            assert_eq!((count, in_wheel()), (5_000, 0));
        }
    });
}

#[test]
fn names_are_forgotten_with_their_last_timer() {
    paused(async |engine| {
        let fires = engine.timer("a", MS);
        let (dropped, cancelled) = (engine.timer("b", MS), engine.timer("c", Duration::MAX));
        let names = engine.shared(|_| -> Names { unreachable!("it is there") });
        assert_eq!(names.count(), 3);
        fires.await.unwrap();
        drop(dropped);
        assert_eq!(engine.cancel_timers("c", Some(5)), 1);
        assert_eq!(names.count(), 0);
        assert!(cancelled.await.unwrap_err().is_cancelled());
        assert_eq!(in_wheel(), 0);
    });
}

/// Panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("as the test wants");
    }
}

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn waker_that_panics_keeps_nobody_from_being_woken() {
    paused(async |engine| {
        let (bomb, woken) = (Waker::from(Arc::new(Bomb)), Arc::new(Count::default()));
        let counts = Waker::from(woken.clone());
        let wakers = [&counts, &bomb, &counts, &bomb, &counts];
        let mut timers: Vec<_> = wakers.iter().map(|_| engine.timer("job", MS * 50)).collect();
        let mut sleeps: Vec<_> = wakers.iter().map(|_| sleep(MS * 5)).collect();
        for (index, waker) in wakers.into_iter().enumerate() {
            let mut cx = Context::from_waker(waker);
            assert!(pin!(&mut sleeps[index]).poll(&mut cx).is_pending());
            assert!(pin!(&mut timers[index]).poll(&mut cx).is_pending());
        }
        assert_eq!(engine.cancel_timers("job", None), 5);
        assert_eq!(woken.0.load(Relaxed), 3);
        drop(timers);
        advance(MS * 5).await;
        assert_eq!(woken.0.load(Relaxed), 6);
        let mut again = sleep(MS);
        assert!(poll(&mut again).is_pending());
        again.await; // its driver goes on
    });
}
