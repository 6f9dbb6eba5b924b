//! Whose turn it is.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use millstream_base::Kind;
use millstream_compute::{Compute, Computing, Queue, QueueOptions};

/// Keeps a thread of the pool busy until it is told to go on.
struct Held {
    go_on: SyncSender<()>,
    held: Computing<()>,
}

fn hold(queue: &Queue) -> Held {
    let (go_on, wait) = sync_channel(1);
    let (begun, has_begun): (SyncSender<()>, Receiver<()>) = sync_channel(1);
    let held = queue.run(move || {
        begun.send(()).expect("the test waits");
        wait.recv().expect("the test lets go");
    });
    has_begun.recv().expect("it begins");
    Held { go_on, held }
}

impl Held {
    fn release(self) {
        self.go_on.send(()).expect("it waits");
        self.held.wait().expect("it ends");
    }
}

#[test]
fn single_job_beside_a_million_starts_within_a_round() {
    let compute = Compute::new(1, "test").expect("threads can be started");
    let held = hold(&compute.queue("gate"));
    let (crowd, done) = (compute.queue("crowd"), Arc::new(AtomicUsize::new(0)));
    let crowd: Vec<_> = (0..1_000_000)
        .map(|_| {
            let done = done.clone();
            crowd.run(move || done.fetch_add(1, SeqCst))
        })
        .collect();
    let counted = done.clone();
    let single = compute.queue("single").run(move || counted.load(SeqCst));
    held.release();
    let before = single.wait().expect("it ran");
    // A round: the crowd's turn, of 64 jobs at most.
    assert!(before <= 64, "{before} jobs ran before");
    for job in crowd {
        job.wait().expect("it ran");
    }
    assert_eq!(done.load(SeqCst), 1_000_000);
}

#[test]
fn queues_share_the_threads_by_weight() {
    let compute = Compute::new(1, "test").expect("threads can be started");
    let held = hold(&compute.queue("gate"));
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut jobs = Vec::new();
    for (index, weight) in [1, 2, 4].into_iter().enumerate() {
        let options = QueueOptions::default().weight(weight);
        let queue = compute.queue_with(&format!("weight {weight}"), options).expect("a new name");
        for _ in 0..10_000 {
            let order = order.clone();
            jobs.push(queue.run(move || order.lock().expect("nobody panics").push(index)));
        }
    }
    held.release();
    jobs.into_iter().for_each(|job| job.wait().expect("it ran"));
    let order = order.lock().expect("nobody panics");
    let count = |index| order[..10_000].iter().filter(|one| **one == index).count();
    for (index, share) in [1_000.0 / 0.7, 2_000.0 / 0.7, 4_000.0 / 0.7].into_iter().enumerate() {
        let off = count(index) as f64 / share;
        assert!(
            (0.95..=1.05).contains(&off),
            "queue {index}: {} of 10,000, {share:.0} expected",
            count(index)
        );
    }
}

#[test]
fn serial_queue_keeps_its_order_under_panics_and_cancels() {
    let compute = Compute::new(4, "test").expect("threads can be started");
    let serial = compute.queue_with("serial", QueueOptions::default().max_parallel(1)).expect("a new name");
    let (running, (tell, told)) = (Arc::new(AtomicUsize::new(0)), channel());
    let jobs: Vec<_> = (0..10_000)
        .map(|number| {
            let (running, tell) = (running.clone(), tell.clone());
            let job = serial.run(move || {
                assert_eq!(running.fetch_add(1, SeqCst), 0, "one at a time");
                tell.send(number).expect("the test listens");
                running.fetch_sub(1, SeqCst);
                assert!(number % 7 != 3, "as the test wants: {number}");
                number
            });
            (number, job)
        })
        .collect();
    let mut ended = 0;
    for (number, job) in jobs {
        match number % 5 {
            4 => drop(job),
            _ if number % 7 == 3 => {
                let error = job.wait().expect_err("it panicked");
                assert_eq!(error.kind(), Kind::Panic);
                assert!(error.to_string().contains(&format!("as the test wants: {number}")), "{error}");
                ended += 1;
            }
            _ => {
                assert_eq!(job.wait().expect("it ran"), number);
                ended += 1;
            }
        }
    }
    drop(tell);
    serial.run(|| ()).wait().expect("the queue goes on");
    let order: Vec<u32> = told.try_iter().collect();
    assert!(order.is_sorted() && order.len() >= ended, "{} of {ended}", order.len());
    let stats = serial.stats();
    assert_eq!(stats.done + stats.panicked + stats.skipped, 10_001, "{stats:?}");
    assert!(stats.panicked >= 1143, "{stats:?}");
}

#[test]
fn jobs_of_one_queue_run_on_all_threads() {
    let compute = Compute::new(3, "test").expect("threads can be started");
    let together = Arc::new(std::sync::Barrier::new(3));
    let queue = compute.queue("wide");
    let jobs: Vec<_> = (0..3)
        .map(|_| {
            let together = together.clone();
            queue.run(move || together.wait().is_leader())
        })
        .collect();
    let leaders = jobs.into_iter().filter_map(|job| job.wait().expect("it ran").then_some(())).count();
    assert_eq!(leaders, 1);
}

/// The weight has one thread take all of them in one turn.
#[test]
fn short_jobs_do_not_lie_behind_a_long_one_while_a_thread_is_idle() {
    let compute = Compute::new(2, "test").expect("threads can be started");
    let options = QueueOptions::default().weight(1000);
    let (mixed, gate) = (compute.queue_with("mixed", options).expect("a new name"), compute.queue("gate"));
    for _ in 0..100 {
        let held = [hold(&gate), hold(&gate)];
        let (go_on, wait) = sync_channel::<()>(1);
        let long = mixed.run(move || wait.recv().expect("the test lets go"));
        let short: Vec<_> = (0..40).map(|number| mixed.run(move || number)).collect();
        held.into_iter().for_each(Held::release);
        for (number, job) in short.into_iter().enumerate() {
            assert_eq!(job.wait().expect("it ran beside the long one"), number);
        }
        go_on.send(()).expect("the long one still waits");
        long.wait().expect("it ended");
    }
}
