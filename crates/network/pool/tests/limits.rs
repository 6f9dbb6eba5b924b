//! Never more open than the limit, and none that nobody needs.

mod session;

use std::sync::{Arc, Barrier};

use millstream_base::Kind;
use millstream_pool::{EvictCause, Grant, PoolOptions};
use session::{Manual, Room, block_on, place, session};

/// `callers` threads at once, each holding what it has until all have asked; gives how many were opened.
fn opened_by_threads(callers: usize, max_open: usize, shards: usize) -> Arc<session::World> {
    let room = Room::new(PoolOptions::default().shards(shards).max_open(max_open));
    let start = Barrier::new(callers);
    let full = Barrier::new(max_open);
    std::thread::scope(|scope| {
        for shard in 0..callers {
            let (room, start, full) = (&room, &start, &full);
            scope.spawn(move || {
                start.wait();
                match block_on(room.bucket.checkout(shard, room.now)).expect("open") {
                    Grant::Dial(permit) => {
                        let lent = permit.fill(room.world.open("s"), room.now);
                        full.wait(); // All that may be open are.
                        lent.give_back(shard, room.now);
                    }
                    Grant::Session(lent) => lent.give_back(shard, room.now),
                }
            });
        }
    });
    let stats = room.bucket.stats();
    assert_eq!((stats.open, stats.idle, stats.waiting), (max_open, max_open, 0));
    assert_eq!(stats.dialled + stats.reused, callers as u64);
    Arc::clone(&room.world)
}

#[test]
fn callers_at_once_open_exactly_the_limit_on_threads() {
    for (callers, max_open, shards) in [(1, 1, 1), (8, 1, 2), (8, 8, 2), (32, 5, 4), (64, 16, 2), (200, 7, 8)]
    {
        for _ in 0..10 {
            let world = opened_by_threads(callers, max_open, shards);
            assert_eq!((world.opened(), world.peak()), (max_open, max_open));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn callers_at_once_open_exactly_the_limit_in_tasks() {
    for (callers, max_open) in [(1, 1), (2000, 1), (2000, 64), (201, 200), (50, 50)] {
        let room = Room::new(PoolOptions::default().shards(2).max_open(max_open));
        let call = |caller: usize| {
            let (bucket, world, now) = (Arc::clone(&room.bucket), Arc::clone(&room.world), room.now);
            async move {
                let lent = match bucket.checkout(caller, now).await.expect("open") {
                    Grant::Session(lent) => lent,
                    Grant::Dial(permit) => {
                        tokio::time::sleep(session::SECOND).await;
                        permit.fill(world.open("s"), now)
                    }
                };
                tokio::time::sleep(session::SECOND).await;
                lent.give_back(caller, now);
            }
        };
        let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(call(caller))).collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!((room.world.opened(), room.world.peak()), (max_open, max_open));
        assert_eq!(room.bucket.stats().idle, max_open);
    }
}

/// What one caller does in the storm; each from its own seed.
fn storm(room: &Room, seed: usize, turns: usize) {
    let mut seed = seed as u64 * 0x9e37_79b9 + 1;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..turns {
        let shard = random(4) as usize;
        let mut waiting = Manual::new(room.bucket.checkout(shard, room.now));
        if random(8) == 0 {
            let _ = waiting.poll(); // Goes away, whatever it has got.
            continue;
        }
        drop(waiting);
        let mut lent = match block_on(room.bucket.checkout(shard, room.now)).expect("open") {
            Grant::Session(lent) => lent,
            Grant::Dial(_) if random(6) == 0 => continue, // Opening fails.
            Grant::Dial(permit) => permit.fill(room.world.open("s"), room.now),
        };
        match random(16) {
            0 => drop(lent),
            1 => lent.close(EvictCause::Failed),
            2 => {
                let (session, permit) = lent.detach();
                drop((session, permit));
            }
            3 => {
                lent.is_usable = false;
                lent.give_back(shard, room.now);
            }
            4 => {
                let id = lent.id();
                lent.give_back(shard, room.now);
                drop(room.bucket.take_idle(id));
            }
            _ => lent.give_back(shard, room.now),
        }
    }
}

#[test]
fn storm_of_callers_never_passes_the_limit_and_nobody_is_forgotten() {
    for max_open in [1, 2, 5] {
        let room = Room::new(PoolOptions::default().shards(4).max_open(max_open));
        std::thread::scope(|scope| {
            for caller in 0..8 {
                let room = &room;
                scope.spawn(move || storm(room, caller, 4000));
            }
        });
        assert!(room.world.peak() <= max_open, "{} of {max_open}", room.world.peak());
        let stats = room.bucket.stats();
        assert_eq!((stats.lent, stats.reserved, stats.waiting), (0, 0, 0));
        assert_eq!(stats.open, room.world.live());
        assert_eq!(stats.dialled, stats.open as u64 + stats.evicted_total());
    }
}

#[test]
fn one_waiter_too_many_is_refused_with_the_name_of_the_limit() {
    let room = Room::new(PoolOptions::default().shards(1).max_open(1).max_waiters(2));
    let lent = room.open("a");
    let mut first = room.waiter();
    let _second = room.waiter();
    let error = room.checkout().try_poll().expect("at once").expect_err("too many");
    assert_eq!(error.kind(), Kind::Limit);
    assert!(error.to_string().contains("waiting for a connection over 2"), "{error}");
    assert!(error.is_retryable());
    room.give_back(lent);
    let _lent = session(first.served());
    drop(room.waiter());
}

#[test]
fn more_than_max_idle_is_closed() {
    let room = Room::new(PoolOptions::default().shards(2).max_open(3).max_idle(1));
    let (a, b, c) = (room.open("a"), room.open("b"), room.open("c"));
    a.give_back(0, room.now);
    b.give_back(1, room.now);
    c.give_back(0, room.now);
    let lost = |name: &str| (name.to_owned(), EvictCause::Capacity);
    assert_eq!(room.world.ended(), [lost("b"), lost("c")]);
    room.give_back(room.take());
    assert_eq!(room.bucket.stats().idle, 1);
    assert_eq!(room.bucket.sweep(room.now + 3600 * session::SECOND).len(), 1);
    room.give_back(room.open("d"));
    assert_eq!(room.bucket.stats().idle, 1, "what was swept counts no more");
}

#[test]
fn lower_limit_closes_idle_ones_now_and_lent_ones_as_they_come_back() {
    let room = Room::with_max_open(4);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| room.open(name));
    room.give_back(a);
    room.give_back(b);
    room.bucket.set_max_open(1);
    room.give_back(c);
    assert_eq!(room.bucket.stats().evicted(EvictCause::Capacity), 3);
    room.give_back(d);
    let stats = room.bucket.stats();
    assert_eq!((stats.open, stats.idle, stats.evicted_total()), (1, 1, 3));
}

#[test]
fn lower_limit_lets_nobody_open_until_there_is_room() {
    let room = Room::with_max_open(2);
    let (a, b) = (room.open("a"), room.open("b"));
    room.bucket.set_max_open(1);
    let mut waiter = room.waiter();
    drop(a);
    assert!(!waiter.was_woken());
    drop(b);
    drop(place(waiter.served()));
}

#[test]
fn withdrawn_place_goes_to_nobody_until_the_limit_is_raised() {
    let room = Room::with_max_open(3);
    let lent = room.open("a");
    let (kept, withdrawn) = (room.permit(), room.permit());
    let (mut first, mut second) = (room.waiter(), room.waiter());
    withdrawn.withdraw();
    assert!(!first.was_woken());
    assert_eq!((room.bucket.max_open(), room.bucket.places(), room.bucket.waiting()), (2, 2, 2));
    // What comes back still serves, and a place that is given up goes on: there may be two.
    room.give_back(lent);
    drop(first.served());
    drop(place(second.served()));
    kept.withdraw();
    assert_eq!((room.bucket.max_open(), room.bucket.places()), (0, 0));
    let mut waiter = room.waiter();
    assert!(!waiter.was_woken());
    room.bucket.set_max_open(1);
    drop(place(waiter.served()));
}

#[test]
fn higher_limit_lets_those_who_wait_open_in_order() {
    let room = Room::with_max_open(1);
    let _lent = room.open("a");
    let mut waiters: Vec<_> = (0..4).map(|_| room.waiter()).collect();
    room.bucket.set_max_open(3);
    let _second = place(waiters[0].served());
    let _third = place(waiters[1].served());
    assert!(!waiters[2].was_woken() && !waiters[3].was_woken());
}

#[test]
fn numbers_say_what_there_is() {
    let room = Room::with_max_open(4);
    let lent = room.open("a");
    room.give_back(room.open("b"));
    let _held = (room.take(), room.permit(), room.permit());
    let _waits = room.waiter();
    let stats = room.bucket.stats();
    assert_eq!((stats.open, stats.idle, stats.lent), (2, 0, 2));
    assert_eq!((stats.reserved, stats.waiting), (2, 1));
    assert_eq!((stats.dialled, stats.reused, stats.evicted_total()), (2, 1, 0));
    assert_eq!(room.pool.totals(), stats);
    assert_eq!(room.pool.stats(), [("key", stats)]);
    drop(lent);
}

#[test]
fn futures_and_sessions_can_move_between_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<millstream_pool::Checkout<session::Session>>();
    is_send::<millstream_pool::Lent<session::Session>>();
    is_send::<millstream_pool::Permit<session::Session>>();
    is_sync::<millstream_pool::Pool<String, session::Session>>();
}
