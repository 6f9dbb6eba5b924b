//! Why sessions end, and what that does to their places.

mod session;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::Kind;
use millstream_pool::{EvictCause, Evicted, Grant, Lent, Pool, PoolOptions, Pooled};
use session::{Room, SECOND, Session, place};

fn names(evicted: &[Evicted<Session>]) -> Vec<(&str, EvictCause)> {
    evicted.iter().map(|gone| (gone.name.as_str(), gone.cause())).collect()
}

fn room() -> Room {
    let options = PoolOptions::default().shards(2).max_open(8).lifetime_jitter(0.0);
    Room::new(options.idle_timeout(60 * SECOND).lifetime(1800 * SECOND))
}

#[test]
fn sweep_takes_what_was_idle_for_too_long_and_leaves_the_rest() {
    let room = room();
    let (a, b) = (room.open("a"), room.open("b"));
    a.give_back(0, room.now);
    b.give_back(0, room.now + SECOND);
    assert!(room.pool.sweep(room.now + 59 * SECOND).is_empty());
    let evicted = room.pool.sweep(room.now + 60 * SECOND);
    assert_eq!(names(&evicted), [("a", EvictCause::IdleTimeout)]);
    assert_eq!(room.take().name, "b");
}

#[test]
fn sweep_takes_what_has_lived_for_long_enough() {
    let room = room();
    let lent = room.open("a");
    lent.give_back(0, room.now + 1790 * SECOND);
    let evicted = room.bucket.sweep(room.now + 1800 * SECOND);
    assert_eq!(names(&evicted), [("a", EvictCause::Lifetime)]);
}

#[test]
fn sessions_in_the_last_tenth_of_their_lifetime_are_counted_until_they_end() {
    let room = room();
    let (a, b, c) = (room.open("a"), room.open("b"), room.open("c"));
    a.give_back(0, room.now + 1619 * SECOND);
    b.give_back(0, room.now + 1620 * SECOND);
    assert_eq!(room.bucket.ending(), 1, "b, when it came back");
    assert!(room.pool.sweep(room.now + 1621 * SECOND).is_empty());
    assert_eq!(room.bucket.ending(), 2, "a was swept");
    c.give_back(1, room.now + 1622 * SECOND);
    assert_eq!(room.bucket.ending(), 3);
    drop(room.take());
    let (_session, _place) = room.take().detach();
    assert_eq!(room.bucket.ending(), 1, "one was closed, one was taken out");
    assert_eq!(room.bucket.close_all().len(), 1);
    assert_eq!(room.bucket.ending(), 0);
}

#[test]
fn peak_is_the_most_that_were_lent_at_once() {
    let room = room();
    assert_eq!(room.bucket.take_peak(), 0);
    // Opened one after the other, as ahead of need.
    let all: Vec<_> = ["a", "b", "c", "d"].map(|name| room.open(name)).into();
    assert_eq!(room.bucket.take_peak(), 4);
    all.into_iter().enumerate().for_each(|(shard, lent)| lent.give_back(shard, room.now));
    assert_eq!(room.bucket.take_peak(), 4, "they were lent when it was asked before");
    assert_eq!(room.bucket.take_peak(), 0);
    let (one, two) = (room.take(), room.take());
    drop(two);
    one.give_back(0, room.now);
    assert_eq!(room.bucket.take_peak(), 1, "what has ended counts no more");
    for name in ["e", "f"] {
        let place = room.bucket.try_reserve().expect("below the limit");
        place.fill(room.world.open(name), room.now).give_back(0, room.now);
    }
    assert_eq!(room.bucket.take_peak(), 1, "never both");
}

#[test]
fn peak_counts_what_is_lent_while_others_are_swept() {
    let room = room();
    let (_lent, idle) = (room.open("a"), ["b", "c", "d"].map(|name| room.open(name)));
    idle.into_iter().for_each(|lent| room.give_back(lent));
    assert_eq!((room.bucket.take_peak(), room.bucket.take_peak()), (4, 1));
    assert_eq!(room.bucket.sweep(room.now + 60 * SECOND).len(), 3);
    assert_eq!(room.bucket.take_peak(), 1);
    room.give_back(room.open("e"));
    assert_eq!((room.bucket.take_peak(), room.bucket.close_all().len()), (2, 1));
    assert_eq!(room.bucket.take_peak(), 1);
}

#[test]
fn peer_with_a_shorter_keep_alive_is_left_earlier() {
    let room = room();
    room.open("a").give_back_until(0, room.now, 5 * SECOND);
    assert!(room.bucket.sweep(room.now + 4 * SECOND).is_empty());
    assert_eq!(names(&room.bucket.sweep(room.now + 5 * SECOND)), [("a", EvictCause::IdleTimeout)]);
}

#[test]
fn watch_borrows_its_own_session_and_no_other() {
    let room = room();
    let (a, b) = (room.open("a"), room.open("b"));
    let id = a.id();
    assert!(room.bucket.lend_idle(id).is_none(), "it is lent");
    a.give_back(1, room.now);
    b.give_back(1, room.now);
    let a = room.bucket.lend_idle(id).expect("it is in stock");
    assert_eq!((a.name.as_str(), room.bucket.stats().idle), ("a", 1));
    a.give_back(0, room.now);
    assert_eq!(room.bucket.stats().idle, 2);
}

#[test]
fn peer_with_a_longer_keep_alive_is_left_at_our_own_limit() {
    let room = room();
    room.open("a").give_back_until(0, room.now, Duration::MAX);
    assert_eq!(room.bucket.sweep(room.now + 60 * SECOND).len(), 1);
}

#[test]
fn keep_alive_of_zero_is_not_kept_at_all() {
    let room = room();
    room.open("a").give_back_until(0, room.now, Duration::ZERO);
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::IdleTimeout)]);
}

#[test]
fn checkout_passes_over_what_is_past_its_time() {
    let room = room();
    let (a, b) = (room.open("a"), room.open("b"));
    a.give_back(0, room.now);
    b.give_back_until(0, room.now, SECOND);
    let lent = room.bucket.try_checkout(0, room.now + 2 * SECOND).expect("a is good");
    assert_eq!(lent.name, "a");
    assert_eq!(room.world.ended(), [("b".into(), EvictCause::IdleTimeout)]);
}

#[test]
fn lifetime_ends_when_the_session_comes_back() {
    let room = room();
    let lent = room.open("a");
    lent.give_back(0, room.now + 1800 * SECOND);
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::Lifetime)]);
}

#[test]
fn waiter_opens_anew_when_what_came_back_is_too_old() {
    let room = room();
    room.bucket.set_max_open(1);
    let lent = room.open("a");
    let mut waiter = room.waiter();
    lent.give_back(0, room.now + 1800 * SECOND);
    drop(place(waiter.served()));
}

#[test]
fn lifetimes_of_sessions_opened_together_differ() {
    let room = Room::new(PoolOptions::default().shards(1).lifetime(100 * SECOND).idle_timeout(1000 * SECOND));
    let lent: Vec<_> = (0..100).map(|_| room.open("s")).collect();
    lent.into_iter().for_each(|lent| room.give_back(lent));
    let gone = |after| room.bucket.sweep(room.now + after * SECOND).len();
    assert_eq!(gone(79), 0);
    let (early, late) = (gone(100), gone(121));
    assert_eq!(early + late, 100);
    assert!((20..=80).contains(&early), "{early}");
}

#[test]
fn unusable_session_is_not_lent() {
    let room = room();
    let (mut a, b) = (room.open("a"), room.open("b"));
    a.is_usable = false;
    room.give_back(b);
    room.give_back(a);
    let lent = room.take();
    assert_eq!(lent.name, "b");
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::StaleOnCheckout)]);
}

#[test]
fn watch_takes_exactly_the_session_that_it_saw_end() {
    let room = room();
    let lent = ["a", "b", "c"].map(|name| room.open(name));
    let id = lent[1].id();
    assert!(room.bucket.take_idle(id).is_none(), "lent, not idle");
    lent.into_iter().for_each(|lent| lent.give_back(1, room.now));
    let gone = room.bucket.take_idle(id).expect("idle");
    assert_eq!((gone.name.as_str(), gone.cause()), ("b", EvictCause::PeerClosed));
    drop(gone);
    assert!(room.bucket.take_idle(id).is_none());
    assert_eq!([room.take().name.as_str(), room.take().name.as_str()], ["c", "a"]);
}

#[test]
fn place_of_an_evicted_session_is_free_only_when_that_has_gone() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let id = lent.id();
    room.give_back(lent);
    let gone = room.bucket.take_idle(id).expect("idle");
    let mut waiter = room.waiter();
    let (session, cause, permit) = gone.into_parts();
    drop(session);
    assert_eq!((cause, waiter.was_woken()), (EvictCause::PeerClosed, false));
    drop(permit);
    drop(place(waiter.served()));
    assert!(room.world.ended().is_empty(), "who took it out closes it");
}

#[test]
fn detached_session_keeps_its_place_until_the_permit_goes() {
    let room = Room::with_max_open(1);
    let (session, permit) = room.open("a").detach();
    let mut waiter = room.waiter();
    drop(session);
    assert!(!waiter.was_woken());
    drop(permit);
    drop(place(waiter.served()));
    assert_eq!(room.bucket.stats().evicted(EvictCause::Detached), 1);
}

#[test]
fn close_says_why() {
    let room = room();
    room.open("a").close(EvictCause::Failed);
    room.open("b").close(EvictCause::Closed);
    let stats = room.bucket.stats();
    assert_eq!((stats.evicted(EvictCause::Failed), stats.evicted(EvictCause::Closed)), (1, 1));
}

#[test]
fn close_all_ends_what_is_idle_now_and_what_is_lent_later() {
    let room = room();
    let (a, b) = (room.open("a"), room.open("b"));
    room.give_back(a);
    assert_eq!(names(&room.pool.close_all()), [("a", EvictCause::Drain)]);
    room.give_back(b);
    room.world.ended();
    room.give_back(room.open("c"));
    assert_eq!(room.take().name, "c");
}

#[test]
fn drained_pool_refuses_those_who_wait_and_those_who_come() {
    let room = Room::with_max_open(2);
    let (a, b) = (room.open("a"), room.open("b"));
    let mut waiter = room.waiter();
    assert!(room.pool.drain().is_empty());
    let refused =
        |result: Option<Result<_, millstream_base::Error>>| result.expect("at once").err().map(|e| e.kind());
    assert!(waiter.was_woken());
    assert_eq!(refused(waiter.try_poll()), Some(Kind::Cancelled));
    assert_eq!(refused(room.checkout().try_poll()), Some(Kind::Cancelled));
    room.give_back(a);
    drop(b);
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::Drain), ("b".into(), EvictCause::Dropped)]);
    assert_eq!((room.world.live(), room.bucket.stats().reserved), (0, 0));
    let other = room.pool.bucket(&"other");
    assert_eq!(refused(session::Manual::new(other.checkout(0, room.now)).try_poll()), Some(Kind::Cancelled));
}

#[test]
fn last_handle_of_the_pool_closes_what_is_idle() {
    let room = room();
    room.give_back(room.open("a"));
    let Room { world, pool, bucket, now } = room;
    let clone = pool.clone();
    drop(pool);
    assert_eq!(world.live(), 1);
    let lent = bucket.try_checkout(0, now).expect("still open");
    drop(clone);
    lent.give_back(0, now);
    assert_eq!(world.ended(), [("a".into(), EvictCause::Drain)]);
}

/// Panics where it is told to.
struct Fragile {
    in_evicted: bool,
}

impl Pooled for Fragile {
    fn is_usable(&mut self) -> bool {
        assert!(self.in_evicted, "on purpose");
        true
    }

    fn evicted(self, _: EvictCause) {
        assert!(!self.in_evicted, "on purpose");
    }
}

fn place_is_free_after(in_evicted: bool, end: impl FnOnce(Lent<Fragile>)) {
    let pool: Pool<u8, Fragile> = Pool::new(PoolOptions::default().max_open(1));
    let bucket = pool.bucket(&1);
    let now = Instant::now();
    let open = || match session::block_on(bucket.checkout(0, now)).expect("open") {
        Grant::Dial(permit) => permit,
        Grant::Session(_) => panic!("nothing is idle"),
    };
    let lent = open().fill(Fragile { in_evicted }, now);
    assert!(catch_unwind(AssertUnwindSafe(|| end(lent))).is_err());
    let stats = bucket.stats();
    assert_eq!((stats.open, stats.reserved), (0, 0));
    drop(open());
}

#[test]
fn place_is_free_although_closing_panicked() {
    place_is_free_after(true, |lent| lent.close(EvictCause::Closed));
}

#[test]
fn place_is_free_although_asking_panicked() {
    place_is_free_after(false, |lent| {
        let bucket = Arc::clone(lent.bucket());
        lent.give_back(0, Instant::now());
        bucket.try_checkout(0, Instant::now());
    });
}

#[test]
fn sessions_of_a_forgotten_future_are_not_lost() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let weak = Arc::downgrade(&room.bucket);
    let waiter = room.waiter();
    let Room { world, pool, bucket, .. } = room;
    drop((pool, bucket, waiter, lent));
    assert_eq!((world.live(), weak.strong_count()), (0, 0));
}
