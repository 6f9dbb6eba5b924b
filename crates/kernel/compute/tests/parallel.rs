//! Several threads of a pool at one computation.

mod support;

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier, Mutex};

use millstream_base::Kind;
use millstream_compute::rayon;
use millstream_compute::rayon::prelude::*;
use millstream_compute::{QueueOptions, WhenFull};
use support::{Crowd, hold, serial, threads};

#[test]
fn all_threads_of_the_pool_join_and_none_besides() {
    let compute = threads(3);
    let queue = compute.queue("wide");
    let names = Arc::new(Mutex::new(BTreeSet::new()));
    let (noted, together) = (names.clone(), Arc::new(Barrier::new(3)));
    // Before all else of the queue.
    let gates = [(); 3].map(|()| hold(&compute.queue("gate")));
    let work = queue.parallel(move || {
        let each = rayon::broadcast(|_| {
            together.wait();
            let name = std::thread::current().name().map(str::to_owned);
            noted.lock().expect("nobody panics").insert(name.expect("it has one"));
        });
        each.len()
    });
    let others: Vec<_> = (0..10_000).map(|number| queue.run(move || number)).collect();
    gates.into_iter().for_each(support::Held::release);
    assert_eq!(work.wait().expect("it ran"), 3);
    let names: Vec<_> = names.lock().expect("nobody panics").iter().cloned().collect();
    assert_eq!(names, ["test-0", "test-1", "test-2"]);
    for (number, other) in others.into_iter().enumerate() {
        assert_eq!(other.wait().expect("it ran"), number);
    }
}

#[test]
fn many_at_once_do_not_use_more_threads_than_there_are() {
    let (compute, crowd) = (threads(2), Crowd::default());
    let (narrow, wide) = (compute.queue_with("serial", serial()).expect("a new name"), compute.queue("wide"));
    let jobs: Vec<_> = (0..100)
        .map(|number| {
            let crowd = crowd.clone();
            let queue = if number % 3 == 0 { &narrow } else { &wide };
            queue.parallel(move || {
                (0..100_u32).into_par_iter().with_max_len(1).map(|n| crowd.enter(|| n)).sum::<u32>()
            })
        })
        .collect();
    for job in jobs {
        assert_eq!(job.wait().expect("it ran"), 4950);
    }
    assert!((1..=2).contains(&crowd.most()), "{}", crowd.most());
}

#[test]
fn one_free_thread_is_enough() {
    let compute = threads(2);
    let held = hold(&compute.queue("gate"));
    let queue = compute.queue("jobs");
    for round in 0..100_u64 {
        let sum = queue.parallel(move || (0..1000_u64).into_par_iter().map(|n| n + round).sum::<u64>());
        assert_eq!(sum.wait().expect("it ran"), 499_500 + 1000 * round);
    }
    held.release();
    assert_eq!(queue.parallel(rayon::current_num_threads).wait().expect("it ran"), 2);
    queue.run(|| ()).wait().expect("late helpers hold up nobody");
    assert_eq!(queue.stats().done, 102, "helpers are not counted: {:?}", queue.stats());
}

#[test]
fn queue_with_a_limit_keeps_to_it() {
    let compute = threads(4);
    let two = compute.queue_with("two", QueueOptions::default().max_parallel(2)).expect("a new name");
    let together = Arc::new(Barrier::new(2));
    let pair = two.parallel(move || {
        rayon::join(|| together.wait().is_leader(), || together.wait().is_leader());
        rayon::current_num_threads()
    });
    assert_eq!(pair.wait().expect("both came together"), 2);
    let one = compute.queue_with("one", serial()).expect("a new name");
    let order = Arc::new(Mutex::new(Vec::new()));
    let jobs: Vec<_> = (0..100)
        .map(|number| {
            let order = order.clone();
            one.parallel(move || {
                rayon::join(
                    || order.lock().expect("nobody panics").push(number),
                    || order.lock().expect("nobody panics").push(number),
                );
            })
        })
        .collect();
    jobs.into_iter().for_each(|job| job.wait().expect("it ran"));
    let order = order.lock().expect("nobody panics");
    assert!(order.is_sorted() && order.len() == 200, "{order:?}");
}

#[test]
fn panic_on_any_thread_is_an_error() {
    let compute = threads(2);
    let queue = compute.queue("jobs");
    let panics = queue.parallel(|| {
        (0..1000).into_par_iter().for_each(|n| assert!(n != 777, "as the test wants: {n}"));
    });
    let error = panics.wait().expect_err("it panics");
    assert_eq!(error.kind(), Kind::Panic);
    assert!(error.to_string().contains("as the test wants: 777"), "{error}");
    // What is spawned and not waited for panics alone.
    let (tell, told) = sync_channel::<()>(1);
    let spawns = queue.parallel(move || {
        rayon::spawn(move || {
            let _tell = tell;
            panic!("as the test wants");
        });
    });
    spawns.wait().expect("it did not panic itself");
    told.recv().expect_err("it is dropped");
    let sum = queue.parallel(|| (0..1000).into_par_iter().sum::<i32>());
    assert_eq!(sum.wait().expect("the threads go on"), 499_500);
}

#[test]
fn dropping_cancels_what_waits_and_tells_what_runs() {
    let compute = threads(1);
    let (gate, queue) = (compute.queue("gate"), compute.queue("jobs"));
    let held = hold(&gate);
    drop(queue.parallel(|| panic!("nobody wants it")));
    held.release();
    queue.run(|| ()).wait().expect("it runs");
    assert_eq!((queue.stats().skipped, queue.stats().panicked), (1, 0));
    let (begun, has_begun) = sync_channel(1);
    let (tell, told) = sync_channel(1);
    let running = queue.parallel_with(move |token| {
        begun.send(()).expect("the test waits");
        let wait = || {
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
        };
        rayon::join(wait, wait);
        tell.send(()).expect("the test waits");
    });
    has_begun.recv().expect("it begins");
    drop(running);
    told.recv().expect("it saw its token");
}

#[test]
fn pool_that_ends_waits_for_what_runs_and_refuses_the_rest() {
    let compute = threads(2);
    let queue = compute.queue("jobs");
    let (begun, has_begun) = sync_channel(1);
    let running = queue.parallel_with(move |token| {
        begun.send(()).expect("the test waits");
        let wait = || {
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
            1
        };
        let (one, two) = rayon::join(wait, wait);
        one + two
    });
    has_begun.recv().expect("it begins");
    drop(compute);
    assert_eq!(running.wait().expect("it ended by itself"), 2);
    assert_eq!(queue.parallel(|| 1).wait().expect_err("it has ended").kind(), Kind::Cancelled);
}

#[test]
fn team_that_waits_for_its_helpers_ends_with_the_pool() {
    let compute = threads(2);
    let (queue, held) = (compute.queue("jobs"), hold(&compute.queue("gate")));
    let together = queue.parallel(|| rayon::broadcast(|_| ()).len());
    while queue.stats().depth == 0 || queue.stats().running == 0 {
        std::thread::yield_now();
    }
    let ending = std::thread::spawn(move || drop(compute));
    assert_eq!(together.wait().expect("all came"), 2);
    held.release();
    ending.join().expect("no panic");
}

#[test]
fn helpers_take_no_place_and_give_none_back() {
    let compute = threads(2);
    let options = QueueOptions::default().depth(1).when_full(WhenFull::Refuse);
    let (gate, queue) = (compute.queue("gate"), compute.queue_with("short", options).expect("a new name"));
    for _ in 0..10 {
        let other = hold(&gate);
        let (begun, has_begun) = sync_channel(1);
        let (go_on, wait) = sync_channel::<()>(1);
        let running = queue.parallel(move || {
            begun.send(()).expect("the test waits");
            let _ = wait.recv();
        });
        has_begun.recv().expect("it begins");
        assert_eq!(queue.stats().depth, 1, "the helper");
        let within = queue.run(|| 1);
        let error = queue.parallel(|| 2).wait().expect_err("there is no second place");
        assert_eq!(error.kind(), Kind::Limit);
        drop(go_on);
        running.wait().expect("it ran");
        other.release();
        assert_eq!(within.wait().expect("it ran"), 1);
    }
}
