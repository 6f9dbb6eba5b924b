//! What tests of flows share: things of which one can see how many there are, errors as tests want them, and where flows run.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use millstream_base::{Error, Kind, Origin, Result};
use millstream_runtime::Engine;

/// Counts what lives, and the most that ever did at once. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
    made: AtomicUsize,
}

/// Lives until it is dropped.
#[derive(Debug)]
pub struct One(Live);

impl Live {
    pub fn one(&self) -> One {
        let now = self.0.now.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(now, SeqCst);
        self.0.made.fetch_add(1, SeqCst);
        One(self.clone())
    }

    pub fn now(&self) -> usize {
        self.0.now.load(SeqCst)
    }

    pub fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }

    pub fn made(&self) -> usize {
        self.0.made.load(SeqCst)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, SeqCst);
    }
}

/// Counts calls. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// One more; how many they are with it.
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, SeqCst) + 1
    }

    pub fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

pub fn failure(text: &'static str) -> Error {
    Error::new(Kind::Io, Origin::Peer, text)
}

/// What kind of error it is; `None` without one.
pub fn kind<T>(outcome: &Result<T>) -> Option<Kind> {
    outcome.as_ref().err().map(Error::kind)
}

pub fn engine(workers: usize) -> Engine {
    Engine::builder().workers(workers).build().expect("an engine")
}

/// Outside of any engine.
pub fn block_on<T>(future: impl IntoFuture<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(future.into_future())
}
