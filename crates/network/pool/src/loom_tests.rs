//! The races of `bucket`, in every order that the memory model allows.
//!
//! Run with `cargo test -p millstream-pool --release --features loom --lib`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;

use crate::shared::Shared;
use crate::{Bucket, EvictCause, Grant, Lent, PoolOptions, Pooled};

struct Session(Arc<World>);

/// How many sessions live. A loom atomic, so that its checks take part in the orders tried.
struct World {
    live: AtomicUsize,
    max_open: usize,
}

impl Pooled for Session {
    fn is_usable(&mut self) -> bool {
        true
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, SeqCst);
    }
}

#[derive(Clone)]
struct Room {
    bucket: Arc<Bucket<Session>>,
    world: Arc<World>,
    now: Instant,
}

impl Room {
    fn new(shards: usize, max_open: usize) -> Self {
        let options = PoolOptions::default().shards(shards).max_open(max_open);
        Self {
            bucket: Arc::new(Bucket::new(Arc::new(Shared::new(options)))),
            world: Arc::new(World { live: AtomicUsize::new(0), max_open }),
            now: Instant::now(),
        }
    }

    fn session(&self) -> Session {
        let before = self.world.live.fetch_add(1, SeqCst);
        assert!(before < self.world.max_open, "one more than the limit");
        Session(Arc::clone(&self.world))
    }

    /// Waits for a session, opening it if that is what is granted.
    fn checkout(&self, shard: usize) -> Lent<Session> {
        match block_on(self.bucket.checkout(shard, self.now)).expect("open") {
            Grant::Session(lent) => lent,
            Grant::Dial(permit) => permit.fill(self.session(), self.now),
        }
    }

    fn spawn(&self, run: impl FnOnce(Room) + 'static) -> thread::JoinHandle<()> {
        let room = self.clone();
        thread::spawn(move || run(room))
    }

    /// Once nothing moves, nothing is lost: all that is open is idle, nobody waits, no place is taken.
    fn assert_quiet(&self) {
        let stats = self.bucket.stats();
        assert_eq!((stats.lent, stats.reserved, stats.waiting), (0, 0, 0));
        assert_eq!(stats.open, self.world.live.load(SeqCst));
    }
}

/// Bounds the orders tried to those with this many forced switches; the published experience is that 2 or 3 find
/// nearly all races.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

#[test]
fn session_given_back_while_a_waiter_joins_reaches_it() {
    explore(3, || {
        let room = Room::new(1, 1);
        let lent = room.checkout(0);
        let waiter = room.spawn(|room| room.checkout(0).give_back(0, room.now));
        lent.give_back(0, room.now);
        waiter.join().expect("served");
        room.assert_quiet();
        assert_eq!(room.bucket.stats().dialled, 1);
    });
}

#[test]
fn session_given_back_to_another_shard_reaches_a_waiter() {
    explore(3, || {
        let room = Room::new(2, 1);
        let lent = room.checkout(0);
        let waiter = room.spawn(|room| room.checkout(1).give_back(1, room.now));
        lent.give_back(0, room.now);
        waiter.join().expect("served");
        room.assert_quiet();
        assert_eq!(room.bucket.stats().dialled, 1);
    });
}

#[test]
fn place_given_up_while_a_waiter_joins_reaches_it() {
    explore(3, || {
        let room = Room::new(1, 1);
        let Ok(Grant::Dial(permit)) = block_on(room.bucket.checkout(0, room.now)) else { unreachable!() };
        let waiter = room.spawn(|room| room.checkout(0).give_back(0, room.now));
        drop(permit);
        waiter.join().expect("served");
        room.assert_quiet();
    });
}

#[test]
fn session_closed_while_a_waiter_joins_leaves_it_the_place() {
    explore(3, || {
        let room = Room::new(1, 1);
        let lent = room.checkout(0);
        let waiter = room.spawn(|room| room.checkout(0).give_back(0, room.now));
        lent.close(EvictCause::Failed);
        waiter.join().expect("served");
        room.assert_quiet();
        assert_eq!(room.bucket.stats().dialled, 2);
    });
}

#[test]
fn waiter_dropped_while_it_is_granted_passes_the_session_on() {
    explore(2, || {
        let room = Room::new(1, 1);
        let lent = room.checkout(0);
        let quitter = room.spawn(|room| {
            let mut checkout = Box::pin(room.bucket.checkout(0, room.now));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            // Gone after one poll, whatever has been granted since.
            if let Poll::Ready(Ok(Grant::Session(lent))) = checkout.as_mut().poll(&mut cx) {
                lent.give_back(0, room.now);
            }
        });
        let waiter = room.spawn(|room| room.checkout(0).give_back(0, room.now));
        lent.give_back(0, room.now);
        quitter.join().expect("no panic");
        waiter.join().expect("served");
        room.assert_quiet();
        assert_eq!(room.bucket.stats().dialled, 1);
    });
}

#[test]
fn waiter_dropped_while_it_is_granted_passes_the_place_on() {
    explore(2, || {
        let room = Room::new(1, 1);
        let Ok(Grant::Dial(permit)) = block_on(room.bucket.checkout(0, room.now)) else { unreachable!() };
        let quitter = room.spawn(|room| {
            let mut checkout = Box::pin(room.bucket.checkout(0, room.now));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            drop(checkout.as_mut().poll(&mut cx));
        });
        let waiter = room.spawn(|room| room.checkout(0).give_back(0, room.now));
        drop(permit);
        quitter.join().expect("no panic");
        waiter.join().expect("served");
        room.assert_quiet();
    });
}

#[test]
fn watch_and_checkout_never_both_get_a_session() {
    explore(3, || {
        let room = Room::new(2, 1);
        let lent = room.checkout(0);
        let id = lent.id();
        lent.give_back(0, room.now);
        let watch = room.spawn(move |room| drop(room.bucket.take_idle(id)));
        room.checkout(1).give_back(1, room.now);
        watch.join().expect("no panic");
        room.assert_quiet();
    });
}

#[test]
fn watch_that_fires_while_a_waiter_joins_leaves_it_the_place() {
    explore(2, || {
        let room = Room::new(1, 1);
        let lent = room.checkout(0);
        let id = lent.id();
        let watch = room.spawn(move |room| drop(room.bucket.take_idle(id)));
        let waiter = room.spawn(|room| room.checkout(0).give_back(0, room.now));
        lent.give_back(0, room.now);
        watch.join().expect("no panic");
        waiter.join().expect("served");
        room.assert_quiet();
    });
}

#[test]
fn two_callers_on_a_limit_of_one_open_one() {
    explore(3, || {
        let room = Room::new(2, 1);
        let other = room.spawn(|room| room.checkout(1).give_back(1, room.now));
        room.checkout(0).give_back(0, room.now);
        other.join().expect("served");
        room.assert_quiet();
        assert_eq!(room.bucket.stats().dialled, 1);
    });
}

#[test]
fn three_callers_on_a_limit_of_two_never_pass_it() {
    explore(2, || {
        let room = Room::new(1, 2);
        let others = [1, 2].map(|_| room.spawn(|room| room.checkout(0).give_back(0, room.now)));
        room.checkout(0).give_back(0, room.now);
        others.into_iter().for_each(|other| other.join().expect("served"));
        room.assert_quiet();
    });
}

#[test]
fn raised_limit_reaches_a_waiter_that_joins() {
    explore(3, || {
        let room = Room::new(1, 2);
        room.bucket.set_max_open(1);
        let lent = room.checkout(0);
        let waiter = room.spawn(|room| drop(room.checkout(0)));
        room.bucket.set_max_open(2);
        waiter.join().expect("served");
        drop(lent);
        room.assert_quiet();
    });
}

#[test]
fn waiter_that_joins_while_the_bucket_closes_is_refused() {
    explore(3, || {
        let room = Room::new(1, 1);
        let lent = room.checkout(0);
        let waiter = room.spawn(|room| {
            assert!(block_on(room.bucket.checkout(0, room.now)).is_err());
        });
        drop(room.bucket.close(EvictCause::Drain));
        waiter.join().expect("refused");
        lent.give_back(0, room.now);
        room.assert_quiet();
        assert_eq!(room.world.live.load(SeqCst), 0);
    });
}

#[test]
fn session_given_back_while_the_bucket_closes_does_not_stay() {
    explore(3, || {
        let room = Room::new(1, 1);
        let lent = room.checkout(0);
        let giver = room.spawn(move |room| lent.give_back(0, room.now));
        drop(room.bucket.close(EvictCause::Drain));
        giver.join().expect("no panic");
        room.assert_quiet();
        assert_eq!(room.world.live.load(SeqCst), 0);
    });
}
