//! What several tests need.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{SyncSender, sync_channel};

use millstream_compute::{Compute, Computing, Queue, QueueOptions};

pub(crate) fn threads(count: usize) -> Compute {
    Compute::new(count, "test").expect("threads can be started")
}

pub(crate) fn serial() -> QueueOptions {
    QueueOptions::default().max_parallel(1)
}

/// Keeps a thread busy until it is told to go on, or dropped.
pub(crate) struct Held(SyncSender<()>, Computing<()>);

pub(crate) fn hold(queue: &Queue) -> Held {
    let (go_on, wait) = sync_channel(1);
    let (begun, has_begun) = sync_channel(1);
    let held = queue.run(move || {
        begun.send(()).expect("the test waits");
        let _ = wait.recv();
    });
    has_begun.recv().expect("it begins");
    Held(go_on, held)
}

impl Held {
    pub(crate) fn release(self) {
        drop(self.0);
        self.1.wait().expect("it ends");
    }
}

/// How many were inside at once at most.
#[derive(Clone, Default)]
pub(crate) struct Crowd(Arc<[AtomicUsize; 2]>);

impl Crowd {
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let [inside, most] = &*self.0;
        most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
        let output = work();
        inside.fetch_sub(1, SeqCst);
        output
    }

    pub(crate) fn most(&self) -> usize {
        self.0[1].load(SeqCst)
    }
}
