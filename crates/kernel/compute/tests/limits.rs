//! Depth, deadlines, cancelling, panics, and the end of a pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use millstream_base::Kind;
use millstream_compute::{CancelToken, Compute, Computing, Queue, QueueOptions, WhenFull};

fn one_thread() -> Compute {
    Compute::new(1, "test").expect("threads can be started")
}

/// Keeps the only thread busy until the sender is used, or dropped.
fn hold(queue: &Queue) -> (SyncSender<()>, Computing<()>) {
    let (go_on, wait) = sync_channel::<()>(1);
    let (begun, has_begun) = sync_channel(1);
    let held = queue.run(move || {
        begun.send(()).expect("the test waits");
        let _ = wait.recv();
    });
    has_begun.recv().expect("it begins");
    (go_on, held)
}

#[test]
fn full_queue_refuses_at_its_limit_and_not_below() {
    let compute = one_thread();
    let (go_on, held) = hold(&compute.queue("gate"));
    let options = QueueOptions::default().depth(2).when_full(WhenFull::Refuse);
    let queue = compute.queue_with("short", options).expect("a new name");
    let within: Vec<_> = (0..2).map(|number| queue.run(move || number)).collect();
    let error = queue.run(|| 2).wait().expect_err("there is no third place");
    assert_eq!((error.kind(), queue.stats().refused), (Kind::Limit, 1), "{error}");
    drop(go_on);
    held.wait().expect("it ends");
    for (number, job) in within.into_iter().enumerate() {
        assert_eq!(job.wait().expect("it ran"), number);
    }
    assert_eq!(queue.run(|| 3).wait().expect("there is a place again"), 3);
}

#[test]
fn what_runs_has_no_place_in_its_queue() {
    let compute = one_thread();
    let options = QueueOptions::default().depth(1).when_full(WhenFull::Refuse);
    let queue = compute.queue_with("short", options).expect("a new name");
    let (go_on, held) = hold(&queue);
    let waits = queue.run(|| 1);
    drop(go_on);
    held.wait().expect("it ends");
    assert_eq!(waits.wait().expect("there was a place"), 1);
}

#[tokio::test]
async fn callers_of_a_full_queue_wait_in_order() {
    let compute = one_thread();
    let (go_on, held) = hold(&compute.queue("gate"));
    let queue = compute.queue_with("short", QueueOptions::default().depth(1)).expect("a new name");
    let order = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..100)
        .map(|number| {
            let order = order.clone();
            let job = queue.run(move || (number, order.fetch_add(1, SeqCst)));
            tokio::spawn(job)
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(queue.stats().depth, 1);
    drop(go_on);
    held.await.expect("it ends");
    for job in jobs {
        let (number, turn) = job.await.expect("no panic").expect("it ran");
        assert_eq!(number, turn);
    }
}

#[test]
fn computation_past_its_deadline_is_late_at_once_and_sees_its_token() {
    let compute = Compute::new(2, "test").expect("threads can be started");
    let options = QueueOptions::default().deadline(Duration::from_millis(20));
    let queue = compute.queue_with("timed", options).expect("a new name");
    let saw = Arc::new(AtomicBool::new(false));
    let sees = saw.clone();
    let (go_on, wait) = sync_channel::<()>(1);
    let late = queue.run_with(move |token: CancelToken<'_>| {
        let _ = wait.recv();
        sees.store(token.is_cancelled(), SeqCst);
    });
    let error = late.wait().expect_err("it is held");
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(error.to_string().contains("20ms"), "{error}");
    assert!(!saw.load(SeqCst), "the caller did not wait for it");
    drop(go_on);
    drop(compute);
    drop(queue);
    assert!(saw.load(SeqCst), "the pool waited for it");
}

#[test]
fn deadline_holds_for_what_has_not_begun_and_for_what_waits_outside() {
    let compute = one_thread();
    let (go_on, held) = hold(&compute.queue("gate"));
    let options = QueueOptions::default().deadline(Duration::from_millis(20)).depth(1);
    let queue = compute.queue_with("timed", options).expect("a new name");
    let ran = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..3)
        .map(|_| {
            let ran = ran.clone();
            queue.run(move || ran.fetch_add(1, SeqCst))
        })
        .collect();
    for job in jobs {
        assert_eq!(job.wait().expect_err("nobody runs it").kind(), Kind::Timeout);
    }
    drop(go_on);
    held.wait().expect("it ends");
    let quick = queue.run(|| 5).wait();
    // A busy machine may be late with it, too.
    assert!(
        quick.as_ref().is_ok_and(|five| *five == 5)
            || quick.is_err_and(|error| error.kind() == Kind::Timeout)
    );
    assert_eq!(ran.load(SeqCst), 0, "what was late before never ran");
}

#[test]
fn dropping_cancels_what_waits_and_tells_what_runs() {
    let compute = one_thread();
    let (gate, queue) = (compute.queue("gate"), compute.queue("jobs"));
    let (begun, has_begun) = sync_channel(1);
    let (tell, told) = sync_channel(1);
    let running = gate.run_with(move |token| {
        begun.send(()).expect("the test waits");
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        tell.send(()).expect("the test waits");
    });
    has_begun.recv().expect("it begins");
    let waiting = queue.run(|| panic!("nobody wants it"));
    drop((running, waiting));
    told.recv().expect("it saw its token");
    queue.run(|| ()).wait().expect("the thread goes on");
    assert_eq!((queue.stats().skipped, queue.stats().panicked), (1, 0));
}

#[test]
fn wait_is_told() {
    let compute = one_thread();
    let (gate, queue) = (compute.queue("gate"), compute.queue("jobs"));
    assert_eq!(queue.stats().wait, Duration::ZERO);
    let (go_on, held) = hold(&gate);
    let begun = std::time::Instant::now();
    let jobs: Vec<_> = (0..100).map(|_| queue.run(|| ())).collect();
    while begun.elapsed() < Duration::from_millis(20) {
        std::thread::yield_now();
    }
    let waited = begun.elapsed();
    drop(go_on);
    held.wait().expect("it ends");
    for job in jobs {
        job.wait().expect("it runs");
    }
    let stats = queue.stats();
    assert!(stats.wait >= waited / 2, "{stats:?} after {waited:?}");
    assert!(gate.stats().run_time >= waited, "{:?}", gate.stats());
}

#[test]
fn panic_is_an_error_with_its_text_and_the_thread_goes_on() {
    let compute = one_thread();
    let queue = compute.queue("jobs");
    for text in ["one", "two"] {
        let error = queue.run(move || -> () { panic!("{text}") }).wait().expect_err("it panics");
        assert_eq!(error.kind(), Kind::Panic);
        assert!(error.to_string().contains(text), "{error}");
    }
    let error = queue.run(|| -> () { std::panic::panic_any(5) }).wait().expect_err("it panics");
    assert!(error.to_string().contains("no text"), "{error}");
    assert_eq!((queue.run(|| 1).wait().expect("it runs"), queue.stats().panicked), (1, 3));
}

#[test]
fn pool_that_ends_refuses_what_waits() {
    let compute = one_thread();
    let (gate, queue) = (compute.queue("gate"), compute.queue("jobs"));
    let short = compute.queue_with("short", QueueOptions::default().depth(1)).expect("a new name");
    let (go_on, held) = hold(&gate);
    let waiting = [queue.run(|| 1), short.run(|| 1), short.run(|| 2)];
    let ending = std::thread::spawn(move || drop(compute));
    for job in waiting {
        assert_eq!(job.wait().expect_err("the pool ends").kind(), Kind::Cancelled);
    }
    assert_eq!(queue.run(|| 1).wait().expect_err("it has ended").kind(), Kind::Cancelled);
    assert_eq!(short.run(|| 1).wait().expect_err("it has ended").kind(), Kind::Cancelled);
    drop(go_on);
    held.wait().expect("what runs is waited for");
    ending.join().expect("no panic");
}

#[test]
fn what_runs_sees_the_end_of_its_pool() {
    let compute = one_thread();
    let (begun, has_begun) = sync_channel(1);
    let running = compute.queue("jobs").run_with(move |token| {
        begun.send(()).expect("the test waits");
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        "ended early"
    });
    has_begun.recv().expect("it begins");
    drop(compute);
    assert_eq!(running.wait().expect("it ended by itself"), "ended early");
}

#[test]
fn last_handle_may_be_dropped_by_a_job() {
    let compute = one_thread();
    let (queue, (give, take)) = (compute.queue("jobs"), sync_channel::<Compute>(1));
    let (tell, told) = sync_channel(1);
    let job = queue.run(move || {
        drop(take.recv().expect("the test gives it"));
        tell.send(()).expect("the test waits");
    });
    give.send(compute).expect("the job waits");
    told.recv().expect("nobody waits for himself");
    job.wait().expect("it ended");
}

#[test]
fn names_and_counts_that_make_no_sense_are_errors() {
    for threads in [0, 1025] {
        let error = Compute::new(threads, "test").expect_err("out of range");
        assert_eq!(error.kind(), Kind::Invalid);
    }
    let compute = one_thread();
    let serial = QueueOptions::default().max_parallel(1);
    compute.queue_with("a", serial.clone()).expect("a new name");
    compute.queue_with("a", serial).expect("the same");
    assert_eq!(compute.queue("a").options().max_parallel, Some(1));
    let error = compute.queue_with("a", QueueOptions::default()).expect_err("other options");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_come_to_any_runtime() {
    let compute = Compute::new(2, "test").expect("threads can be started");
    let queue = compute.queue("jobs");
    let tasks: Vec<_> = (0..1000_u64).map(|number| tokio::spawn(queue.run(move || number * 2))).collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("no panic").expect("it ran");
    }
    assert_eq!(sum, 999_000);
    assert_eq!(queue.stats().done, 1000);
}

#[test]
fn options_beyond_their_limits_are_cut_whoever_sets_them() {
    let compute = one_thread();
    let most = tokio::sync::Semaphore::MAX_PERMITS;
    let rows = [
        ("least", 0, 0, 0, (1, 1, 1)),
        ("within", 7, 3, 5, (7, 3, 5)),
        ("most", u32::MAX, usize::MAX, usize::MAX, (1000, usize::MAX, most)),
    ];
    for (name, weight, parallel, depth, expected) in rows {
        let mut fields = QueueOptions::default();
        (fields.weight, fields.max_parallel, fields.depth) = (weight, Some(parallel), Some(depth));
        let setters = QueueOptions::default().weight(weight).max_parallel(parallel).depth(depth);
        let queue = compute.queue_with(name, fields).expect("a new name");
        assert_eq!(*queue.options(), setters, "{name}");
        let (weight, parallel, depth) = expected;
        assert_eq!(
            (setters.weight, setters.max_parallel, setters.depth),
            (weight, Some(parallel), Some(depth))
        );
        for number in 0..10 {
            assert_eq!(queue.run(move || number).wait().expect("it runs"), number, "{name}");
        }
        assert!(compute.queue_with(name, setters).is_ok(), "they are the same options");
    }
}
