//! An engine from outside: run, spawn, panics, blocked workers, stop.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream_base::registry::Value;
use millstream_base::{Kind, Result};
use millstream_runtime::{Engine, Shutdown, Stage, Worker, spawn_local};

fn engine(workers: usize) -> Engine {
    Engine::builder().workers(workers).build().expect("engine starts")
}

fn counter(engine: &Engine, name: &str) -> u64 {
    let samples = engine.registry().collect();
    let sample = samples.iter().find(|sample| sample.name == name).expect("the counter is registered");
    match sample.value {
        Value::Counter(count) => count,
        _ => panic!("{name} is not a counter"),
    }
}

#[test]
fn run_gives_the_output_and_tasks_need_not_be_send() {
    let engine = engine(2);
    let output = engine.run(async |_| {
        let local = Rc::new(41);
        let task = spawn_local(async move { *local + 1 });
        task.await.expect("not cancelled").expect("no panic")
    });
    assert_eq!(output.expect("ran"), 42);
}

#[test]
fn spawn_runs_on_the_named_worker() {
    let engine = engine(3);
    let indices = engine.run(async |engine| {
        let mut indices = Vec::new();
        for worker in engine.workers() {
            let index = worker.spawn(async || Worker::current().map(|worker| worker.index())).await;
            indices.push(index.expect("ran").expect("on a worker"));
        }
        indices
    });
    assert_eq!(indices.expect("ran"), [0, 1, 2]);
}

#[test]
fn panic_in_a_task_is_an_error_and_is_counted() {
    let engine = engine(1);
    let outcome: Result<()> = engine
        .run(async |engine| engine.workers()[0].spawn(async || panic!("on purpose")).await)
        .expect("run itself goes on");
    let error = outcome.expect_err("the task panicked");
    assert_eq!((error.kind(), error.message()), (Kind::Panic, "on purpose"));
    assert_eq!(counter(&engine, "millstream_task_panics"), 1);
}

#[test]
fn panic_in_main_goes_on_in_the_caller() {
    let engine = engine(1);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        engine.run(async |_| panic!("from main")).map(|(): ()| ())
    }));
    let payload = caught.expect_err("panicked");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"from main"));
    assert_eq!(engine.run(async |_| 1).expect("the engine still runs"), 1);
}

#[test]
fn blocked_worker_is_counted_while_it_is_blocked() {
    let engine = engine(1);
    let watcher = engine.clone();
    let seen = engine.run(async move |_| {
        spawn_local(async move {
            // Blocks the worker until the watchdog has spoken, as a blocking call would.
            while counter(&watcher, "millstream_worker_blocked") == 0 {
                std::thread::yield_now();
            }
            counter(&watcher, "millstream_worker_blocked")
        })
        .await
        .expect("not cancelled")
        .expect("no panic")
    });
    assert_eq!(seen.expect("ran"), 1);
}

#[test]
fn graceful_shutdown_waits_for_what_is_busy() {
    let engine = engine(2);
    let done = Arc::new(AtomicUsize::new(0));
    let (start, started) = std::sync::mpsc::channel();
    for worker in engine.workers() {
        let (busy, done, draining, start) = (engine.busy(), done.clone(), engine.draining(), start.clone());
        let job = worker.run(move || {
            spawn_local(async move {
                start.send(()).expect("the test waits");
                draining.await;
                done.fetch_add(1, Ordering::SeqCst);
                drop(busy);
            });
        });
        job.expect("the engine runs");
    }
    started.iter().take(2).for_each(drop);
    let clean = block_on(engine.shutdown(Shutdown::Graceful(Duration::from_secs(30))));
    assert!(clean);
    assert_eq!(done.load(Ordering::SeqCst), 2);
    assert_eq!(engine.stage(), Stage::Stopped);
}

#[test]
fn shutdown_past_its_deadline_cancels_what_is_left() {
    struct Flag(std::sync::mpsc::Sender<()>);
    impl Drop for Flag {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let engine = engine(1);
    let (dropped, was_dropped) = std::sync::mpsc::channel();
    let busy = engine.busy();
    let job = engine.workers()[0].run(move || {
        spawn_local(async move {
            let _flag = Flag(dropped);
            let _busy = busy;
            std::future::pending::<()>().await;
        });
    });
    job.expect("the engine runs");
    let clean = block_on(engine.shutdown(Shutdown::Graceful(Duration::from_millis(20))));
    assert!(!clean);
    was_dropped.recv().expect("the task was dropped on its worker");
    assert!(engine.workers()[0].run(|| ()).is_err());
}

#[test]
fn shutdown_may_wait_without_an_end() {
    for patience in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let engine = engine(1);
        let (busy, draining) = (engine.busy(), engine.draining());
        let job = engine.workers()[0].run(move || {
            drop(spawn_local(async move {
                draining.await;
                drop(busy);
            }));
        });
        job.expect("the engine runs");
        assert!(block_on(engine.shutdown(Shutdown::Graceful(patience))));
        let engine = self::engine(1);
        let hurried = async {
            let _busy = engine.busy();
            let patient = engine.shutdown(Shutdown::Graceful(patience));
            tokio::join!(patient, engine.shutdown(Shutdown::Graceful(Duration::from_millis(1))))
        };
        assert_eq!(block_on(hurried), (false, false));
    }
}

#[test]
fn dropping_the_last_handle_stops_the_workers() {
    let engine = engine(2);
    let (dropped, was_dropped) = std::sync::mpsc::channel::<()>();
    let job = engine.workers()[1].run(move || {
        spawn_local(async move {
            let _keep = dropped;
            std::future::pending::<()>().await;
        });
    });
    job.expect("the engine runs");
    drop(engine);
    assert!(was_dropped.recv().is_err(), "the task's sender is gone");
}

#[test]
fn blocking_call_that_panics_is_an_error() {
    let engine = engine(1);
    let error = block_on(engine.blocking(|| panic!("in blocking"))).map(|(): ()| ()).expect_err("panicked");
    assert_eq!(error.kind(), Kind::Panic);
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a test runtime");
    runtime.block_on(future)
}
