//! Steps that compute: their order over queues, how they follow each other on a thread, and how they are stopped.

mod kit;

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use kit::{Count, Live, block_on, engine, failure, kind};
use millstream_base::Kind;
use millstream_flow::{Context, Ending, Series, Task, TaskKind};
use millstream_runtime::{Engine, Queue, QueueOptions};

const OTHER: TaskKind = TaskKind::Other;

fn serial(engine: &Engine, name: &str) -> Queue {
    engine.compute_with(name, QueueOptions::default().max_parallel(1)).expect("a new queue")
}

/// Busy for longer than a queue's turn.
fn spin() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(200) {
        std::hint::spin_loop();
    }
}

#[test]
fn steps_of_several_queues_and_futures_keep_their_order() {
    let engine = engine(2);
    let queues = [engine.compute("one").expect("threads"), serial(&engine, "serial")];
    let mut series = Series::with_context("mixed", Mutex::new(Vec::new())).then(
        "zero",
        OTHER,
        |log: Context<Mutex<Vec<u32>>>, ()| async move {
            log.lock().expect("nobody panics").push(0);
            Ok(log)
        },
    );
    for number in 1..2000_u32 {
        let step = |queue| {
            let next = |log: &Context<Mutex<Vec<u32>>>, all: Context<Mutex<Vec<u32>>>| {
                let mut log = log.lock().expect("nobody panics");
                let number = u32::try_from(log.len()).expect("few");
                log.push(number);
                Ok(all)
            };
            (queue, next)
        };
        series = match number * 7 % 11 {
            0..4 => {
                let (queue, next) = step(&queues[0]);
                series.compute("one", queue, next)
            }
            4..8 => {
                let (queue, next) = step(&queues[1]);
                series.compute("serial", queue, next)
            }
            _ => series.then("future", OTHER, move |log, all| async move {
                log.lock().expect("nobody panics").push(number);
                tokio::task::yield_now().await;
                Ok(all)
            }),
        };
    }
    let log = block_on(series).expect("no error");
    assert_eq!(*log.lock().expect("nobody panics"), (0..2000).collect::<Vec<_>>());
}

#[test]
fn computing_steps_push_others_and_pass_values_by() {
    let engine = engine(2);
    let queue = engine.compute("steps").expect("threads");
    let nested = queue.clone();
    let series = Series::with_context("pushes", Mutex::new(Vec::new()))
        .compute("first", &queue, move |log: &Context<Mutex<Vec<u32>>>, ()| {
            let noting = |number| {
                let log = log.clone();
                Task::compute("noting", &nested, move || {
                    log.lock().expect("nobody panics").push(number);
                    Ok(())
                })
            };
            log.push_front(noting(2))?;
            log.push_front(noting(1))?;
            log.push_back(noting(4))?;
            Ok(("value", log.clone()))
        })
        .compute("second", &queue, |log, passed| {
            log.lock().expect("nobody panics").push(3);
            Ok(passed)
        });
    let (value, log) = block_on(series).expect("no error");
    assert_eq!((value, &*log.lock().expect("nobody panics")), ("value", &vec![1, 2, 3, 4]));
    assert_eq!(kind(&log.push_back(Task::empty())), Some(Kind::Cancelled));
}

#[test]
fn error_and_panic_name_the_step_and_end_the_series() {
    let engine = engine(1);
    let queue = engine.compute("steps").expect("threads");
    let (ran, told) = (Count::default(), Count::default());
    for panics in [true, false] {
        let (count, end) = (ran.clone(), told.clone());
        let series = Series::new("flow")
            .compute("good", &queue, |_, ()| Ok(1))
            .compute("bad", &queue, move |_, _| if panics { panic!("boom") } else { Err(failure("boom")) })
            .compute("never", &queue, move |_, ()| Ok(count.add()))
            .on_end(move |outcome| assert!(outcome.is_err() && end.add() > 0));
        let error = block_on(series).expect_err("a step fails");
        assert_eq!(error.kind(), if panics { Kind::Panic } else { Kind::Io });
        assert_eq!(error.target(), Some("flow/bad"), "{error}");
    }
    assert_eq!((ran.get(), told.get()), (0, 2));
}

/// A series whose second step computes until it sees its token; it tells when it begins and when it has seen.
fn stoppable(
    queue: &Queue,
    live: &Live,
) -> (Series<()>, std::sync::mpsc::Receiver<&'static str>, std::sync::mpsc::Receiver<Context<()>>) {
    let ((tell, told), (keep, kept)) = (channel(), channel());
    let (ended, never) = (tell.clone(), tell.clone());
    let (held, unrun) = (live.one(), live.one());
    let series = Series::new("flow")
        .compute("keep", queue, move |context: &Context<()>, ()| {
            keep.send(context.clone()).expect("the test listens");
            Ok(())
        })
        .with(Task::compute_with("spins", queue, move |token| {
            tell.send("begun").expect("the test listens");
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
            drop(held);
            tell.send("seen").expect("the test listens");
            Ok(())
        }))
        .with(Task::compute("never", queue, move || {
            drop(unrun);
            never.send("never").expect("the test listens");
            Ok(())
        }))
        .on_end(move |outcome| {
            assert_eq!(kind(outcome), Some(Kind::Cancelled));
            ended.send("told").expect("the test listens");
        });
    (series, told, kept)
}

#[test]
fn cancelling_and_dropping_reach_the_step_that_computes() {
    let engine = engine(1);
    let queue = engine.compute("steps").expect("threads");
    let live = Live::default();
    for drops in [true, false] {
        let (series, told, kept) = stoppable(&queue, &live);
        let outcome = block_on(async {
            let running = tokio::spawn(series.into_future());
            let told = tokio::task::spawn_blocking(move || {
                assert_eq!(told.recv(), Ok("begun"));
                told
            });
            let told = told.await.expect("no panic");
            if drops {
                running.abort();
            } else {
                kept.recv().expect("the first step ran").cancel("enough");
            }
            (running.await, told)
        });
        match outcome.0 {
            Ok(outcome) => assert!(!drops && outcome.expect_err("cancelled").message().contains("enough")),
            Err(error) => assert!(drops && error.is_cancelled()),
        }
        let mut rest: Vec<_> = outcome.1.iter().collect();
        rest.sort_unstable();
        assert_eq!(rest, ["seen", "told"]);
        // One thread: what the series had there is dropped before this runs.
        queue.run(|| ()).wait().expect("the thread goes on");
        assert_eq!(live.now(), 0);
    }
}

#[test]
fn cancelling_inside_a_computing_step_lets_no_other_begin() {
    let engine = engine(2);
    let queue = engine.compute("steps").expect("threads");
    let ran = Count::default();
    for _ in 0..500 {
        let count = ran.clone();
        let series = Series::new("flow")
            .compute("cancels", &queue, |context: &Context<()>, ()| {
                context.cancel("enough");
                Ok(())
            })
            .compute("never", &queue, move |_, ()| Ok(count.add()));
        let error = block_on(series).expect_err("cancelled");
        assert!(error.is_cancelled() && error.message().contains("enough"), "{error}");
    }
    assert_eq!(ran.get(), 0);
}

#[test]
fn long_series_of_computations_needs_no_stack() {
    let engine = engine(2);
    let (queue, other) =
        (engine.compute("steps").expect("threads"), engine.compute("other").expect("threads"));
    let (live, ran) = (Live::default(), Count::default());
    let long = |every: usize| {
        let mut series = Series::new("long");
        for at in 0..100_000 {
            let (one, count) = (live.one(), ran.clone());
            let queue = if at % every == 0 { &other } else { &queue };
            series.push(Task::compute("step", queue, move || {
                count.add();
                drop(one);
                Ok(())
            }));
        }
        series
    };
    drop(long(2));
    assert_eq!(live.now(), 0);
    block_on(long(100_001)).expect("no error");
    block_on(long(100)).expect("no error");
    assert_eq!((live.now(), ran.get()), (0, 200_000));
}

#[test]
fn single_job_runs_between_two_long_steps_of_a_series() {
    let engine = engine(1);
    let (crowd, single) =
        (engine.compute("crowd").expect("threads"), engine.compute("single").expect("threads"));
    let (ran, (tell, told)) = (Count::default(), channel());
    let mut series = Series::new("long");
    for at in 0..50 {
        let (count, single, tell) = (ran.clone(), single.clone(), tell.clone());
        series.push(Task::compute("step", &crowd, move || {
            count.add();
            if at == 10 {
                tell.send(single.run(move || count.get())).expect("the test listens");
            }
            spin();
            Ok(())
        }));
    }
    block_on(series).expect("no error");
    let job = told.recv().expect("the step ran");
    assert_eq!((job.wait().expect("it ran"), ran.get()), (11, 50), "it ran right after the eleventh step");
}

#[test]
fn record_names_the_threads_of_steps() {
    let engine = engine(2);
    let queue = engine.compute("steps").expect("threads");
    let series = Series::new("flow").compute("one", &queue, |_, ()| {
        spin();
        Ok(())
    });
    let series = series.then("two", TaskKind::Timer, |_, ()| async { Ok(()) });
    let series = series.compute("three", &queue, |_, ()| {
        spin();
        Ok(())
    });
    let series = series.compute("four", &queue, |_, ()| Err::<(), _>(failure("no")));
    let (outcome, record) = block_on(series.recorded());
    assert_eq!(kind(&outcome), Some(Kind::Io));
    let spans = record.spans();
    let names: Vec<_> = spans.iter().map(|span| (&*span.name, span.kind, span.ending)).collect();
    assert_eq!(
        names,
        [
            ("one", TaskKind::Compute, Ending::Done),
            ("two", TaskKind::Timer, Ending::Done),
            ("three", TaskKind::Compute, Ending::Done),
            ("four", TaskKind::Compute, Ending::Failed)
        ]
    );
    for span in spans {
        assert!(span.ready <= span.begun && span.begun <= span.ended && span.ended <= record.took());
        assert_eq!(span.worker.starts_with("compute-"), span.kind == TaskKind::Compute, "{}", span.worker);
    }
    assert!(spans.windows(2).all(|two| two[0].ended <= two[1].begun));
}

#[test]
fn series_ends_when_the_engine_does() {
    let engine = engine(1);
    let queue = engine.compute("steps").expect("threads");
    let (begin, begun) = channel();
    let mut series = Series::new("flow").with(Task::compute_with("spins", &queue, move |token| {
        begin.send(()).expect("the test listens");
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(())
    }));
    series.push(Task::compute("after", &queue, || Ok(())));
    let stopper = std::thread::spawn(move || {
        begun.recv().expect("it begins");
        drop(engine);
    });
    let error = block_on(series).expect_err("the engine ends");
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    stopper.join().expect("no panic");
    let error = block_on(Series::new("flow").compute("late", &queue, |_, ()| Ok(())));
    assert_eq!(kind(&error), Some(Kind::Cancelled));
}
