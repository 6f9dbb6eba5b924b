//! Algorithms that give the elements to a closure one by one stop midway, and drop them all.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use millstream_base::Kind;
use millstream_compute::algorithms;
use millstream_compute::{Computing, Queue, QueueOptions};
use support::threads;

/// Nothing ever comes from it: its receiver sees when the last one has been dropped.
#[derive(Clone)]
struct Element(u32, #[allow(dead_code, reason = "it is dropped")] Sender<()>);

fn elements() -> (Vec<Element>, Receiver<()>) {
    let (alive, all_dropped) = channel();
    ((0..COUNT).map(|number| Element(number, alive.clone())).collect(), all_dropped)
}

const COUNT: u32 = 10_000;
/// The call of the closure from which on all wait, or which panics.
const SPECIAL: usize = 10;
const THREADS: usize = 2;

/// What the closures go through.
#[derive(Clone)]
struct Gate(Arc<Inner>);

struct Inner {
    calls: AtomicUsize,
    panics: bool,
    has_come: Sender<()>,
    is_open: Mutex<bool>,
    opens: Condvar,
}

impl Gate {
    fn new(panics: bool) -> (Self, Receiver<()>) {
        let (has_come, special) = channel();
        let (is_open, opens) = (Mutex::new(false), Condvar::new());
        let inner = Inner { calls: AtomicUsize::new(0), panics, has_come, is_open, opens };
        (Self(Arc::new(inner)), special)
    }

    fn pass<T>(&self, value: T) -> T {
        let call = self.0.calls.fetch_add(1, SeqCst) + 1;
        assert!(!self.0.panics || call != SPECIAL, "as the test wants");
        if call == SPECIAL {
            let _ = self.0.has_come.send(());
        }
        if !self.0.panics && call >= SPECIAL {
            let is_open = self.0.is_open.lock().expect("nobody panics");
            drop(self.0.opens.wait_while(is_open, |is_open| !*is_open).expect("nobody panics"));
        }
        value
    }

    fn open(&self) {
        *self.0.is_open.lock().expect("nobody panics") = true;
        self.0.opens.notify_all();
    }

    /// Of each thread one call may wait, and another have been on its way; a comparison of keys is two.
    fn check(&self) {
        let calls = self.0.calls.load(SeqCst);
        assert!(calls <= SPECIAL + 3 * THREADS, "{calls} calls");
    }
}

type Begin<T> = fn(&Queue, Vec<Element>, Gate) -> Computing<T>;

fn stops_midway<T>(begin: Begin<T>) {
    stops_when_dropped(begin);
    stops_when_late(begin);
    stops_with_the_pool(begin);
    panics(begin);
}

fn stops_when_dropped<T>(begin: Begin<T>) {
    let compute = threads(THREADS);
    let ((values, all_dropped), (gate, special)) = (elements(), Gate::new(false));
    let computing = begin(&compute.queue("test"), values, gate.clone());
    special.recv().expect("it comes so far");
    drop(computing);
    gate.open();
    all_dropped.recv().expect_err("nothing is sent");
    gate.check();
}

fn stops_when_late<T>(begin: Begin<T>) {
    let compute = threads(THREADS);
    let options = QueueOptions::default().deadline(Duration::from_millis(20));
    let queue = compute.queue_with("test", options).expect("a new name");
    let ((values, all_dropped), (gate, _special)) = (elements(), Gate::new(false));
    let late = begin(&queue, values, gate.clone()).wait().map(drop);
    assert_eq!(late.expect_err("it can't end").kind(), Kind::Timeout);
    gate.open();
    all_dropped.recv().expect_err("nothing is sent");
    gate.check();
}

fn stops_with_the_pool<T>(begin: Begin<T>) {
    let compute = threads(THREADS);
    let queue = compute.queue("test");
    let ((values, all_dropped), (gate, special)) = (elements(), Gate::new(false));
    let computing = begin(&queue, values, gate.clone());
    special.recv().expect("it comes so far");
    let ending = std::thread::spawn(move || drop(compute));
    while !queue.is_ending() {
        std::thread::yield_now();
    }
    gate.open();
    let error = computing.wait().map(drop).expect_err("a part is not the whole");
    assert_eq!(error.kind(), Kind::Cancelled);
    all_dropped.recv().expect_err("nothing is sent");
    gate.check();
    ending.join().expect("it ends");
}

fn panics<T>(begin: Begin<T>) {
    let compute = threads(THREADS);
    let queue = compute.queue("test");
    let ((values, all_dropped), (gate, _special)) = (elements(), Gate::new(true));
    let error = begin(&queue, values, gate).wait().map(drop).expect_err("it panics");
    assert_eq!(error.kind(), Kind::Panic);
    assert!(error.to_string().contains("as the test wants"), "{error}");
    all_dropped.recv().expect_err("nothing is sent");
    assert_eq!(queue.stats().panicked, 1);
}

#[test]
fn map_stops_midway() {
    stops_midway(|queue, values, gate| algorithms::map(queue, values, move |value| gate.pass(value)));
}

#[test]
fn par_map_stops_midway() {
    stops_midway(|queue, values, gate| algorithms::par_map(queue, values, move |value| gate.pass(value)));
}

#[test]
fn par_map_that_stops_has_not_panicked() {
    let compute = threads(THREADS);
    let queue = compute.queue("test");
    let ((values, all_dropped), (gate, special)) = (elements(), Gate::new(false));
    let passed = gate.clone();
    let computing = algorithms::par_map(&queue, values, move |value| passed.pass(value));
    special.recv().expect("it comes so far");
    drop(computing);
    gate.open();
    all_dropped.recv().expect_err("nothing is sent");
    drop(compute);
    assert_eq!((queue.stats().done, queue.stats().panicked), (1, 0));
}

#[test]
fn filter_stops_midway() {
    stops_midway(|queue, values, gate| algorithms::filter(queue, values, move |_| gate.pass(true)));
}

#[test]
fn par_filter_stops_midway() {
    stops_midway(|queue, values, gate| algorithms::par_filter(queue, values, move |_| gate.pass(true)));
}

#[test]
fn reduce_stops_midway() {
    stops_midway(|queue, values, gate| algorithms::reduce(queue, values, move |left, _| gate.pass(left)));
}

#[test]
fn par_reduce_stops_midway() {
    stops_midway(|queue, values, gate| algorithms::par_reduce(queue, values, move |left, _| gate.pass(left)));
}

#[test]
fn scan_stops_midway() {
    stops_midway(|queue, mut values, gate| {
        let first = values.remove(0);
        algorithms::scan(queue, values, first, move |_, value| gate.pass(value))
    });
}

#[test]
fn par_scan_stops_midway() {
    stops_midway(|queue, mut values, gate| {
        let first = values.remove(0);
        algorithms::par_scan(queue, values, first, move |_, value| gate.pass(value.clone()))
    });
}

#[test]
fn unique_by_key_stops_midway() {
    stops_midway(|queue, values, gate| {
        algorithms::unique_by_key(queue, values, move |value| gate.pass(value.0))
    });
}
