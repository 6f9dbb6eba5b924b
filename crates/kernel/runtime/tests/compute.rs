//! Computations beside an engine's workers.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use millstream_base::Kind;
use millstream_base::registry::Value;
use millstream_runtime::{Engine, QueueOptions, algorithms, rayon};

fn engine() -> Engine {
    Engine::builder().workers(2).build().expect("threads can be started")
}

fn metric(engine: &Engine, name: &str, queue: &str) -> Option<f64> {
    let samples = engine.registry().collect();
    let labels = [("queue", queue.to_owned())];
    let sample = samples.into_iter().find(|sample| sample.name == name && sample.labels == labels)?;
    match sample.value {
        #[allow(clippy::cast_precision_loss)]
        Value::Counter(count) => Some(count as f64),
        Value::Gauge(now) => Some(now),
        Value::Histogram(_) => None,
    }
}

#[test]
fn computation_leaves_its_worker_to_others() {
    let engine = engine();
    let output = engine.run(async |engine| {
        let (tell, told) = sync_channel(1);
        let computing = engine.compute("long").expect("threads can be started").run(move || {
            // It ends when the worker that waits for it has served another.
            told.recv().expect("the other is served")
        });
        let here = engine.workers()[0].clone();
        let other = here.spawn(async move || tell.send(std::thread::current().id()).expect("it listens"));
        let (output, other) = tokio::join!(computing, other);
        other.expect("it ran");
        (output.expect("it ran"), std::thread::current().id())
    });
    let (served_on, waited_on) = output.expect("the engine runs");
    assert_eq!(served_on, waited_on);
}

#[test]
fn computations_are_counted_by_queue() {
    let engine = engine();
    assert_eq!(metric(&engine, "millstream_compute_done", "sums"), None, "nobody has computed");
    let queue = engine.compute_with("sums", QueueOptions::default().max_parallel(1)).expect("a new name");
    assert_eq!(queue.run(|| 40 + 2).wait().expect("from a plain thread"), 42);
    let error = queue.run(|| -> () { panic!("as the test wants") }).wait().expect_err("it panics");
    assert_eq!(error.kind(), Kind::Panic);
    queue.run(|| ()).wait().expect("what was before is counted by now");
    assert_eq!(metric(&engine, "millstream_compute_panics", "sums"), Some(1.0));
    assert!(metric(&engine, "millstream_compute_done", "sums").is_some_and(|done| done >= 1.0));
    assert_eq!(metric(&engine, "millstream_compute_depth", "sums"), Some(0.0));
    let error = engine.compute_with("sums", QueueOptions::default()).expect_err("it has other options");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn computations_end_with_their_engine() {
    let engine = engine();
    let queue = engine.compute("late").expect("threads can be started");
    let registry = engine.registry().clone();
    let alive = Arc::new(());
    let held = alive.clone();
    queue.run(move || drop(held)).wait().expect("it runs");
    drop(engine);
    assert_eq!(queue.run(|| 1).wait().expect_err("the engine has gone").kind(), Kind::Cancelled);
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(registry.collect().iter().all(|sample| !sample.name.starts_with("millstream_compute")));
}

#[test]
fn parallel_work_runs_on_the_engines_own_threads() {
    let (names, sorted) = engine()
        .run(async |engine| {
            let queue = engine.compute("wide")?;
            let name = || std::thread::current().name().map(str::to_owned);
            let names = queue.parallel(move || rayon::broadcast(|_| name())).await?;
            Ok::<_, millstream_base::Error>((names, algorithms::par_sort(&queue, vec![3, 1, 2]).await?))
        })
        .expect("it runs")
        .expect("nothing panics");
    let mut names: Vec<_> = names.into_iter().flatten().collect();
    names.sort();
    assert_eq!(names, ["compute-0", "compute-1"]);
    assert_eq!(sorted, [1, 2, 3]);
}
