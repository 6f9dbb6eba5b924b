//! Who gets what first.

mod session;

use std::time::Duration;

use millstream_pool::PoolOptions;
use session::{Room, SECOND, place, session};

#[test]
fn session_given_back_last_is_lent_first() {
    let room = Room::with_max_open(3);
    let (a, b, c) = (room.open("a"), room.open("b"), room.open("c"));
    [b, c, a].into_iter().for_each(|lent| room.give_back(lent));
    let names: Vec<_> =
        [room.take(), room.take(), room.take()].iter().map(|lent| lent.name.clone()).collect();
    assert_eq!(names, ["a", "c", "b"]);
}

#[test]
fn waiters_are_served_in_order_of_arrival() {
    let room = Room::with_max_open(1);
    let mut lent = room.open("a");
    let mut waiters: Vec<_> = (0..5).map(|_| room.waiter()).collect();
    for turn in 0..5 {
        room.give_back(lent);
        assert!(waiters[turn + 1..].iter().all(|later| !later.was_woken()));
        lent = session(waiters[turn].served());
    }
    assert_eq!(room.world.opened(), 1);
}

#[test]
fn waiter_gets_session_before_the_stock() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let mut waiter = room.waiter();
    room.give_back(lent);
    assert_eq!(room.bucket.stats().idle, 0);
    assert!(room.bucket.try_checkout(0, room.now).is_none());
    assert_eq!(session(waiter.served()).name, "a");
}

#[test]
fn newcomer_does_not_overtake_one_who_waits() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let mut first = room.waiter();
    let mut second = room.waiter();
    room.give_back(lent);
    // The first has been granted and not polled yet; the second is still in the queue.
    let mut third = room.waiter();
    room.give_back(session(first.served()));
    room.give_back(session(second.served()));
    assert_eq!(session(third.served()).name, "a");
}

#[test]
fn own_shard_comes_before_stealing() {
    let room = Room::new(PoolOptions::default().shards(3).max_open(3));
    let lent = ["zero", "one", "two"].map(|name| room.open(name));
    lent.into_iter().enumerate().for_each(|(shard, lent)| lent.give_back(shard, room.now));
    let order: Vec<_> = (0..3).map(|_| room.bucket.try_checkout(1, room.now).expect("idle")).collect();
    let names: Vec<_> = order.iter().map(|lent| lent.name.as_str()).collect();
    assert_eq!(names, ["one", "two", "zero"]);
}

#[test]
fn idle_session_of_another_shard_is_stolen_before_anybody_opens() {
    let room = Room::new(PoolOptions::default().shards(4).max_open(8));
    let lent = room.open("a");
    lent.give_back(3, room.now);
    assert_eq!(session(room.checkout().at_once()).name, "a");
    assert_eq!(room.bucket.stats().dialled, 1);
}

#[test]
fn shard_beyond_the_last_is_one_of_them() {
    let room = Room::new(PoolOptions::default().shards(2).max_open(2));
    room.open("a").give_back(usize::MAX, room.now);
    assert_eq!(room.bucket.try_checkout(12_345, room.now).expect("idle").name, "a");
}

#[test]
fn place_is_swapped_for_a_session_that_came_back_meanwhile() {
    let room = Room::with_max_open(2);
    let lent = room.open("a");
    let permit = room.permit();
    let permit = permit.or_idle(0, room.now).expect_err("nothing is idle");
    room.give_back(lent);
    let lent = permit.or_idle(0, room.now).expect("a is idle");
    assert_eq!((lent.name.as_str(), room.bucket.stats().reserved), ("a", 0));
}

#[test]
fn lent_knows_its_age_uses_and_idle_time() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let id = lent.id();
    assert_eq!((lent.uses(), lent.is_reused(), lent.idle_for()), (1, false, Duration::ZERO));
    room.give_back(lent);
    let lent = room.bucket.try_checkout(0, room.now + 3 * SECOND).expect("idle");
    assert_eq!((lent.uses(), lent.is_reused(), lent.idle_for()), (2, true, 3 * SECOND));
    assert_eq!((lent.id(), lent.opened()), (id, room.now));
    let mut waiter = room.waiter();
    lent.give_back(0, room.now + 9 * SECOND);
    let lent = session(waiter.served());
    assert_eq!((lent.uses(), lent.idle_for()), (3, Duration::ZERO));
    assert_eq!(room.bucket.stats().reused, 2);
}

#[test]
fn waiter_opens_when_a_place_becomes_free() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let mut waiter = room.waiter();
    lent.close(millstream_pool::EvictCause::Closed);
    let lent = place(waiter.served()).fill(room.world.open("b"), room.now);
    assert_eq!((lent.name.as_str(), room.world.peak()), ("b", 1));
}
