//! The last handle of an engine, dropped on threads of engines.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use millstream_runtime::{Engine, spawn_local};

/// Far more than any machine needs: a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn engine() -> Engine {
    Engine::builder().workers(1).build().expect("engine starts")
}

/// What ends, and is dropped, with the worker of this engine.
fn end_of(engine: &Engine) -> Receiver<()> {
    let (held, ended) = channel::<()>();
    let (tell, begun) = channel();
    let job = engine.workers()[0].run(move || {
        drop(spawn_local(async move {
            tell.send(()).expect("the test waits");
            let _held = held;
            std::future::pending::<()>().await;
        }));
    });
    job.expect("the engine runs");
    begun.recv().expect("it begins");
    ended
}

fn assert_ends(ended: &Receiver<()>) {
    assert_eq!(ended.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

/// Has a thread of an engine run a closure.
type Run = fn(&Engine, Box<dyn FnOnce() + Send>);

const THREADS: [(&str, Run); 4] = [
    ("worker", |engine, job| engine.workers()[0].run(job).expect("it runs")),
    ("blocking", |engine, job| drop(engine.blocking(job))),
    // What nobody takes of an output is dropped where it was made.
    ("blocking, output", |engine, job| drop(engine.blocking(move || OnDrop(Some(job))))),
    ("compute", |engine, job| {
        let queue = engine.compute("last").expect("threads can be started");
        queue.submit(Arc::new(Once(std::sync::Mutex::new(Some(job))))).expect("it has room");
    }),
];

struct OnDrop(Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|job| job());
    }
}

struct Once(std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl millstream_runtime::Job for Once {
    fn run(self: Arc<Self>) {
        let job = self.0.lock().expect("nobody panics").take();
        job.into_iter().for_each(|job| job());
    }
}

/// Drops `engine` on the thread, when the barrier opens, and says so.
fn dropped_at(barrier: Arc<Barrier>, engine: Engine, tell: Sender<()>) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        barrier.wait();
        drop(engine);
        let _ = tell.send(());
    })
}

#[test]
fn engine_ends_when_a_thread_of_its_own_drops_the_last_handle() {
    for (name, run) in THREADS {
        let (engine, barrier) = (engine(), Arc::new(Barrier::new(2)));
        let ended = end_of(&engine);
        let (tell, dropped) = channel();
        run(&engine, dropped_at(barrier.clone(), engine.clone(), tell));
        drop(engine);
        barrier.wait();
        dropped.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{name}: its drop ends"));
        assert_ends(&ended);
    }
}

#[test]
fn engines_may_drop_each_other() {
    for (name, run) in THREADS {
        let (one, other, barrier) = (engine(), engine(), Arc::new(Barrier::new(2)));
        let ends = [end_of(&one), end_of(&other)];
        let (tell, dropped) = channel();
        run(&one, dropped_at(barrier.clone(), other.clone(), tell.clone()));
        run(&other, dropped_at(barrier.clone(), one.clone(), tell));
        let held = (one, other);
        // Neither is over before both have begun: both wait at the barrier.
        drop(held);
        for _ in 0..2 {
            dropped.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{name}: both drops end"));
        }
        ends.iter().for_each(assert_ends);
    }
}

#[test]
fn drop_on_a_plain_thread_waits_for_what_blocks() {
    let (engine, done) = (engine(), Arc::new(()));
    let (held, ended) = (done.clone(), end_of(&engine));
    let (tell, begun) = channel();
    drop(engine.blocking(move || {
        tell.send(()).expect("the test waits");
        assert_ends(&ended);
        std::thread::yield_now();
        drop(held);
    }));
    begun.recv().expect("it begins");
    drop(engine);
    assert_eq!(Arc::strong_count(&done), 1);
}
