//! Job objects that callers bring along.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use millstream_base::Kind;
use millstream_compute::{Compute, Job, QueueOptions, WhenFull};

/// Gives itself again until it has run as often as it should.
struct Again {
    queue: millstream_compute::Queue,
    left: AtomicUsize,
    done: Sender<&'static str>,
}

impl Job for Again {
    fn run(self: Arc<Self>) {
        if self.left.fetch_sub(1, SeqCst) > 1 {
            let queue = self.queue.clone();
            queue.submit(self).expect("no limit");
        } else {
            self.done.send("ran").expect("the test waits");
        }
    }

    fn abandon(self: Arc<Self>) {
        self.done.send("abandoned").expect("the test waits");
    }
}

fn again(queue: &millstream_compute::Queue, times: usize) -> (Arc<Again>, Receiver<&'static str>) {
    let (done, is_done) = channel();
    let job = Again { queue: queue.clone(), left: AtomicUsize::new(times), done };
    (Arc::new(job), is_done)
}

#[test]
fn job_may_give_itself_again_and_counts_each_time() {
    let compute = Compute::new(2, "test").expect("threads can be started");
    let queue = compute.queue_with("jobs", QueueOptions::default().max_parallel(1)).expect("a new name");
    let (job, is_done) = again(&queue, 1000);
    queue.submit(job).expect("no limit");
    assert_eq!(is_done.recv(), Ok("ran"));
    // Serial: what comes after it begins once it is counted.
    queue.run(|| ()).wait().expect("it runs");
    assert_eq!(queue.stats().done, 1001, "{:?}", queue.stats());
}

#[test]
fn job_that_panics_is_counted_and_the_thread_goes_on() {
    struct Panics;
    impl Job for Panics {
        fn run(self: Arc<Self>) {
            panic!("as the test wants");
        }
    }
    let compute = Compute::new(1, "test").expect("threads can be started");
    let queue = compute.queue("jobs");
    queue.submit(Arc::new(Panics)).expect("no limit");
    queue.run(|| ()).wait().expect("the thread goes on");
    assert_eq!((queue.stats().done, queue.stats().panicked), (1, 1));
}

#[test]
fn full_queue_refuses_jobs_and_the_end_of_the_pool_abandons_them() {
    let compute = Compute::new(1, "test").expect("threads can be started");
    let (go_on, wait) = sync_channel::<()>(1);
    let (begun, has_begun) = sync_channel(1);
    let held = compute.queue("gate").run(move || {
        begun.send(()).expect("the test waits");
        let _ = wait.recv();
    });
    has_begun.recv().expect("it begins");
    // It waits in line for others; a job has nobody who could.
    let options = QueueOptions::default().depth(1).when_full(WhenFull::Wait);
    let queue = compute.queue_with("short", options).expect("a new name");
    let (job, is_done) = again(&queue, 1);
    queue.submit(job.clone()).expect("there is a place");
    let error = queue.submit(job.clone()).expect_err("there is no second place");
    assert_eq!((error.kind(), queue.stats().refused), (Kind::Limit, 1), "{error}");
    let ending = std::thread::spawn(move || drop(compute));
    assert_eq!(is_done.recv(), Ok("abandoned"));
    assert_eq!(queue.submit(job).expect_err("it has ended").kind(), Kind::Cancelled);
    drop(go_on);
    held.wait().expect("what runs is waited for");
    ending.join().expect("no panic");
}

#[test]
fn job_that_runs_sees_that_the_pool_ends() {
    struct Spins(millstream_compute::Queue, Sender<bool>);
    impl Job for Spins {
        fn run(self: Arc<Self>) {
            self.1.send(self.0.is_ending()).expect("the test waits");
            while !self.0.is_ending() {
                std::thread::yield_now();
            }
            self.1.send(true).expect("the test waits");
        }
    }
    let compute = Compute::new(1, "test").expect("threads can be started");
    let (queue, (tell, told)) = (compute.queue("jobs"), channel());
    queue.submit(Arc::new(Spins(queue.clone(), tell))).expect("no limit");
    assert_eq!(told.recv(), Ok(false));
    drop(compute);
    assert_eq!((told.recv(), queue.is_ending()), (Ok(true), true));
}
