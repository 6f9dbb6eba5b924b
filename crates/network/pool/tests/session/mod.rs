//! Strings as sessions, with a record of how many live at once and how each ended; and futures polled by hand.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use millstream_pool::{Bucket, Checkout, EvictCause, Grant, Lent, Permit, Pool, PoolOptions, Pooled};

pub const SECOND: Duration = Duration::from_secs(1);

/// Where sessions live and end.
#[derive(Default)]
pub struct World {
    live: AtomicUsize,
    peak: AtomicUsize,
    opened: AtomicUsize,
    ended: Mutex<Vec<(String, EvictCause)>>,
}

impl World {
    pub fn open(self: &Arc<Self>, name: impl Into<String>) -> Session {
        self.opened.fetch_add(1, SeqCst);
        let live = self.live.fetch_add(1, SeqCst) + 1;
        self.peak.fetch_max(live, SeqCst);
        Session { name: name.into(), is_usable: true, world: Arc::clone(self) }
    }

    pub fn live(&self) -> usize {
        self.live.load(SeqCst)
    }

    /// The most that ever lived at once.
    pub fn peak(&self) -> usize {
        self.peak.load(SeqCst)
    }

    pub fn opened(&self) -> usize {
        self.opened.load(SeqCst)
    }

    /// What ended through the pool since the last time this was asked.
    pub fn ended(&self) -> Vec<(String, EvictCause)> {
        std::mem::take(&mut *self.ended.lock().expect("not poisoned"))
    }
}

pub struct Session {
    pub name: String,
    pub is_usable: bool,
    world: Arc<World>,
}

impl Pooled for Session {
    fn is_usable(&mut self) -> bool {
        self.is_usable
    }

    fn evicted(self, cause: EvictCause) {
        self.world.ended.lock().expect("not poisoned").push((self.name.clone(), cause));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.world.live.fetch_sub(1, SeqCst);
    }
}

/// A pool with one bucket and a clock that stands still.
pub struct Room {
    pub world: Arc<World>,
    pub pool: Pool<&'static str, Session>,
    pub bucket: Arc<Bucket<Session>>,
    pub now: Instant,
}

impl Room {
    pub fn new(options: PoolOptions) -> Self {
        let pool = Pool::new(options);
        let bucket = pool.bucket(&"key");
        Self { world: Arc::default(), pool, bucket, now: Instant::now() }
    }

    /// One shard, this many open.
    pub fn with_max_open(max_open: usize) -> Self {
        Self::new(PoolOptions::default().shards(1).max_open(max_open))
    }

    /// Opens a session, which must be allowed at once.
    pub fn open(&self, name: &str) -> Lent<Session> {
        self.permit().fill(self.world.open(name), self.now)
    }

    /// A place, which must be there at once.
    pub fn permit(&self) -> Permit<Session> {
        match self.checkout().at_once() {
            Grant::Dial(permit) => permit,
            Grant::Session(lent) => panic!("{} was idle", lent.name),
        }
    }

    pub fn checkout(&self) -> Manual {
        Manual::new(self.bucket.checkout(0, self.now))
    }

    /// A checkout that has been polled and waits.
    pub fn waiter(&self) -> Manual {
        let mut waiter = self.checkout();
        assert!(waiter.poll().is_none(), "there was something to have");
        waiter
    }

    pub fn give_back(&self, lent: Lent<Session>) {
        lent.give_back(0, self.now);
    }

    /// The name of the session that comes from stock.
    pub fn take(&self) -> Lent<Session> {
        self.bucket.try_checkout(0, self.now).expect("something is idle")
    }
}

/// A checkout polled by hand, with a waker that counts.
pub struct Manual {
    future: Checkout<Session>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
pub struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Manual {
    pub fn new(future: Checkout<Session>) -> Self {
        Self { future, wakes: Arc::default() }
    }

    pub fn try_poll(&mut self) -> Option<Result<Grant<Session>, millstream_base::Error>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        match Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    pub fn poll(&mut self) -> Option<Grant<Session>> {
        self.try_poll().map(|result| result.expect("the pool is open"))
    }

    pub fn at_once(mut self) -> Grant<Session> {
        self.poll().expect("nobody is in the way")
    }

    /// What it got after it was woken.
    pub fn served(&mut self) -> Grant<Session> {
        assert!(self.was_woken(), "not woken");
        self.poll().expect("woken with something")
    }

    pub fn was_woken(&self) -> bool {
        self.wakes.0.load(SeqCst) > 0
    }

    /// From here on polls come with another waker; gives the old one's count.
    pub fn change_waker(&mut self) -> Arc<Wakes> {
        std::mem::take(&mut self.wakes)
    }
}

pub fn session(grant: Grant<Session>) -> Lent<Session> {
    match grant {
        Grant::Session(lent) => lent,
        Grant::Dial(_) => panic!("a place, not a session"),
    }
}

pub fn place(grant: Grant<Session>) -> Permit<Session> {
    match grant {
        Grant::Dial(permit) => permit,
        Grant::Session(lent) => panic!("{}, not a place", lent.name),
    }
}

/// Runs a future on this thread, parked while it waits.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread, AtomicBool);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.store(true, SeqCst);
            self.0.unpark();
        }
    }
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.1.swap(false, SeqCst) {
            std::thread::park();
        }
    }
}
