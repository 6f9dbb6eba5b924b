//! Work that borrows, and waits within the pool.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Barrier};

use millstream_base::{Kind, Result};
use millstream_compute::rayon::prelude::*;
use millstream_compute::{Compute, Computing, Queue, QueueOptions, WhenFull};
use support::{Crowd, hold, serial, threads};

#[test]
fn scope_borrows_and_ends_after_all_it_spawned() {
    let compute = threads(2);
    let queue = compute.queue("jobs");
    let mut numbers: Vec<u64> = (0..10_000).rev().collect();
    let mut counts = [0_usize; 10];
    let sum = queue.scope(|scope| {
        counts.iter_mut().enumerate().for_each(|(index, count)| scope.spawn(move |_| *count = index));
        numbers.par_sort();
        numbers.par_iter().sum::<u64>()
    });
    assert_eq!(sum.expect("nothing panics"), 49_995_000);
    assert!(numbers.is_sorted());
    assert_eq!(counts, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(queue.stats().done, 1);
}

#[test]
fn panic_in_a_scope_is_an_error_after_all_have_ended() {
    let compute = threads(2);
    let (queue, done) = (compute.queue("jobs"), AtomicUsize::new(0));
    let ended = queue.scope(|scope| {
        for number in 0..100 {
            let done = &done;
            scope.spawn(move |_| {
                assert!(number != 50, "as the test wants: {number}");
                done.fetch_add(1, SeqCst);
            });
        }
    });
    let error = ended.expect_err("one panics");
    assert_eq!((error.kind(), done.load(SeqCst)), (Kind::Panic, 99));
    assert!(error.to_string().contains("as the test wants: 50"), "{error}");
    assert_eq!(queue.stats().panicked, 1);
}

#[test]
fn scopes_of_many_threads_share_the_pool() {
    let (compute, crowd) = (threads(2), Crowd::default());
    let (narrow, wide) = (compute.queue_with("serial", serial()).expect("a new name"), compute.queue("wide"));
    std::thread::scope(|plain| {
        for number in 0..8 {
            let (queue, crowd) = (if number % 2 == 0 { &narrow } else { &wide }, &crowd);
            plain.spawn(move || {
                for _ in 0..20 {
                    let mut sums = [0; 4];
                    let each = sums.iter_mut();
                    queue
                        .scope(|scope| each.for_each(|sum| scope.spawn(|_| crowd.enter(|| *sum += 1))))
                        .expect("nothing panics");
                    assert_eq!(sums, [1; 4]);
                }
            });
        }
    });
    assert!((1..=2).contains(&crowd.most()), "{}", crowd.most());
}

#[test]
fn job_of_a_serial_queue_may_have_scopes_of_that_queue() {
    fn nest(queue: &Queue, depth: usize) -> usize {
        if depth == 0 {
            return 0;
        }
        let mut below = 0;
        queue.scope(|scope| scope.spawn(|_| below = nest(queue, depth - 1))).expect("nothing panics");
        below + 1
    }
    let compute = threads(1);
    let queue = compute.queue_with("serial", serial()).expect("a new name");
    let jobs = [1, 2].map(|_| {
        let inner = queue.clone();
        queue.run(move || nest(&inner, 10))
    });
    for job in jobs {
        assert_eq!(job.wait().expect("it ran"), 10);
    }
    // Also from within a team, and from another pool's thread.
    let inner = queue.clone();
    let nested = queue.parallel(move || (0..20).into_par_iter().map(|_| nest(&inner, 3)).sum::<usize>());
    assert_eq!(nested.wait().expect("it ran"), 60);
    let (other, inner) = (threads(1), queue.clone());
    assert_eq!(other.queue("jobs").run(move || nest(&inner, 3)).wait().expect("it ran"), 3);
}

#[test]
fn scope_of_a_full_or_ended_queue_is_an_error_and_runs_nothing() {
    let compute = threads(1);
    let held = hold(&compute.queue("gate"));
    let options = QueueOptions::default().depth(1).when_full(WhenFull::Refuse);
    let queue = compute.queue_with("short", options).expect("a new name");
    let never = |queue: &Queue| queue.scope(|_| panic!("nobody wants it")).map(|()| 0);
    std::thread::scope(|plain| {
        let waits = plain.spawn(|| never(&queue).expect_err("the pool ends").kind());
        while queue.stats().depth == 0 {
            std::thread::yield_now();
        }
        assert_eq!(never(&queue).expect_err("it is full").kind(), Kind::Limit);
        let ending = plain.spawn(move || drop(compute));
        assert_eq!(waits.join().expect("no panic"), Kind::Cancelled);
        held.release();
        ending.join().expect("no panic");
    });
    assert_eq!(never(&queue).expect_err("it has ended").kind(), Kind::Cancelled);
}

/// As deep as said; each waits for the next.
fn chain(queue: &Queue, depth: usize, at_the_end: impl FnOnce() + Send + 'static) -> Result<usize> {
    if depth == 0 {
        at_the_end();
        return Ok(0);
    }
    let inner = queue.clone();
    let at_the_end: Box<dyn FnOnce() + Send> = Box::new(at_the_end);
    queue.run(move || chain(&inner, depth - 1, at_the_end)).wait()?.map(|below| below + 1)
}

#[test]
fn pool_goes_on_though_all_its_threads_wait() {
    let compute = Compute::new(2, "waiting").expect("threads can be started");
    let (queue, crowd) = (compute.queue("jobs"), Crowd::default());
    let together = Arc::new(Barrier::new(2));
    let jobs = [1, 2].map(|_| {
        let (inner, together) = (queue.clone(), together.clone());
        queue.run(move || {
            together.wait();
            let at_the_end = together.clone();
            chain(&inner, 10, move || {
                at_the_end.wait();
            })
        })
    });
    for job in jobs {
        assert_eq!(job.wait().expect("it ran").expect("all ran"), 10);
    }
    // Those that served in their place go.
    while spares("waiting") > 0 {
        std::thread::yield_now();
    }
    let many: Vec<_> = (0..10_000)
        .map(|_| {
            let crowd = crowd.clone();
            queue.run(move || crowd.enter(std::thread::yield_now))
        })
        .collect();
    many.into_iter().for_each(|job| job.wait().expect("it ran"));
    assert!(crowd.most() <= 2, "{}", crowd.most());
}

/// Threads that serve in the place of others of this pool's.
fn spares(pool: &str) -> usize {
    let tasks =
        std::fs::read_dir("/proc/self/task").expect("it is there").filter_map(std::result::Result::ok);
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(name).filter(|name| name.trim() == format!("{pool}-spare")).count()
}

#[test]
fn too_many_that_wait_are_an_error() {
    let compute = threads(1);
    let queue = compute.queue("jobs");
    let deep = queue.run({
        let inner = queue.clone();
        move || chain(&inner, 1000, || ())
    });
    let error = deep.wait().expect("it ran").expect_err("it is too deep");
    assert_eq!(error.kind(), Kind::Limit, "{error}");
    assert_eq!(chain(&queue, 200, || ()).expect("it is within the limit"), 200);
}

/// They lie in one turn, from which nobody may take.
#[test]
fn job_may_wait_for_one_behind_it() {
    let compute = threads(1);
    let options = QueueOptions::default().max_parallel(2).weight(1000);
    let queue = compute.queue_with("two", options).expect("a new name");
    let held = hold(&compute.queue("gate"));
    let (give, take) = sync_channel::<Computing<u32>>(1);
    let first = queue.run(move || take.recv().expect("the test gives it").wait());
    give.send(queue.run(|| 7)).expect("there is room");
    held.release();
    assert_eq!(first.wait().expect("it ran").expect("it ran"), 7);
}

#[test]
fn pool_ends_while_its_threads_wait() {
    for _ in 0..20 {
        let compute = threads(1);
        let queue = compute.queue("jobs");
        let (begun, has_begun) = channel();
        let waits = queue.run({
            let inner = queue.clone();
            move || {
                begun.send(()).expect("the test waits");
                chain(&inner, 5, || ())
            }
        });
        has_begun.recv().expect("it begins");
        drop(compute);
        match waits.wait().expect("what runs is waited for") {
            Ok(depth) => assert_eq!(depth, 5),
            Err(error) => assert_eq!(error.kind(), Kind::Cancelled),
        }
    }
}
