//! Tasks of a worker's own: woken from anywhere, contained, dropped on their thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use millstream_runtime::{Engine, Label, Worker};
use tokio::sync::{mpsc, oneshot};

/// Starts `future` as a task of the first worker's own, and gives its output.
fn start<T: Send + 'static>(
    engine: &Engine,
    make: impl AsyncFnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (give, take) = oneshot::channel();
    let there = engine.workers()[0].clone();
    let worker = there.clone();
    let job = move || {
        worker.start(Label::new("a task"), async move {
            let _ = give.send(make().await);
        });
    };
    there.run(job).expect("the engine runs");
    take
}

#[test]
fn no_wake_from_another_thread_is_lost() {
    let engine = Engine::builder().workers(1).build().unwrap();
    engine
        .run(async |engine| {
            // One answer for each question: a wake that is lost stops it.
            let (ask, mut asked) = mpsc::channel(1);
            let (answer, mut answered) = mpsc::channel(1);
            let done = start(&engine, async move || {
                while let Some(number) = asked.recv().await {
                    answer.send(number).await.expect("somebody asks");
                }
            });
            let asker = std::thread::spawn(move || {
                for number in 0..20_000_u32 {
                    ask.blocking_send(number).expect("the task runs");
                    assert_eq!(answered.blocking_recv(), Some(number));
                }
            });
            done.await.expect("the task ends");
            asker.join().expect("all came");
        })
        .unwrap();
}

#[test]
fn tasks_that_never_wait_leave_others_their_turn() {
    let engine = Engine::builder().workers(1).build().unwrap();
    engine
        .run(async |engine| {
            let stop = Arc::new(AtomicUsize::new(0));
            let seen = stop.clone();
            let spinning = start(&engine, async move || {
                while seen.load(SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
            });
            // A timer and a task of tokio's, and a task of the worker's, all get through.
            let timer = start(&engine, async || {
                let span = std::time::Duration::from_millis(1);
                tokio::time::timeout(span, std::future::pending::<()>()).await
            });
            timer.await.expect("the timer fires").expect_err("nothing else ends it");
            engine.workers()[0].spawn(async || ()).await.expect("a task of tokio's runs");
            stop.store(1, SeqCst);
            spinning.await.expect("it ends");
        })
        .unwrap();
}

#[test]
fn panic_of_a_task_ends_that_task_alone() {
    let engine = Engine::builder().workers(1).build().unwrap();
    engine
        .run(async |engine| {
            start(&engine, async || panic!("as told")).await.expect_err("it gave nothing");
            assert_eq!(start(&engine, async || 7).await, Ok(7));
        })
        .unwrap();
}

/// Says on which thread it was dropped.
struct Dropped(std::sync::mpsc::Sender<bool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(Worker::current().is_some());
    }
}

#[test]
fn tasks_that_wait_at_the_end_are_dropped_on_their_worker() {
    let engine = Engine::builder().workers(1).build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    engine
        .run(async |engine| {
            let (begun, has_begun) = oneshot::channel();
            let task = start(&engine, async move || {
                let _dropped = Dropped(tell);
                let _ = begun.send(());
                std::future::pending::<()>().await;
            });
            has_begun.await.expect("it begins");
            drop(task);
        })
        .unwrap();
    drop(engine); // the last handle: it stops
    assert_eq!(told.recv(), Ok(true));
}
