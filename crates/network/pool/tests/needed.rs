//! What is needed stays beyond the idle timeout, as far as its peer and its lifetime allow.

mod session;

use millstream_pool::{EvictCause, Evicted, Lent, PoolOptions};
use session::{Room, SECOND, Session};

const IDLE: u32 = 60;
const LIFETIME: u32 = 1800;

fn names(evicted: &[Evicted<Session>]) -> Vec<(&str, EvictCause)> {
    evicted.iter().map(|gone| (gone.name.as_str(), gone.cause())).collect()
}

/// Two shards, and that many needed.
fn room(needed: usize) -> Room {
    let options = PoolOptions::default().shards(2).max_open(8).lifetime_jitter(0.0);
    let room = Room::new(options.idle_timeout(IDLE * SECOND).lifetime(LIFETIME * SECOND));
    room.bucket.set_needed(needed);
    assert_eq!(room.bucket.needed(), needed);
    room
}

fn open(room: &Room, names: &[&str]) -> Vec<Lent<Session>> {
    names.iter().map(|name| room.open(name)).collect()
}

/// Opens all at once and gives them back one after the other, a second between any two, to one shard and the other.
fn idle(room: &Room, names: &[&str]) {
    let give_back =
        |(turn, lent): (u32, Lent<Session>)| lent.give_back(turn as usize, room.now + turn * SECOND);
    (0..).zip(open(room, names)).for_each(give_back);
}

#[test]
fn nothing_is_needed_unless_somebody_says_so() {
    let room = room(0);
    idle(&room, &["a", "b"]);
    assert_eq!(room.bucket.sweep(room.now + 2 * IDLE * SECOND).len(), 2);
}

#[test]
fn sessions_that_are_needed_stay_and_are_lent() {
    let room = room(2);
    idle(&room, &["a", "b"]);
    let late = room.now + 10 * IDLE * SECOND;
    assert!(room.pool.sweep(late).is_empty());
    let b = room.bucket.try_checkout(1, late).expect("kept");
    assert_eq!((b.name.as_str(), b.idle_for()), ("b", (10 * IDLE - 1) * SECOND));
    assert!(room.bucket.sweep(late).is_empty(), "the one that is lent is needed as well");
    assert_eq!(room.bucket.try_checkout(1, late).expect("kept").name, "a");
    assert_eq!(room.bucket.stats().reused, 2);
}

#[test]
fn sweep_ends_the_surplus_and_of_that_the_ones_idle_for_longest() {
    let room = room(2);
    idle(&room, &["a", "b", "c", "d"]);
    assert!(room.bucket.sweep(room.now + (IDLE - 1) * SECOND).is_empty(), "all are within their timeout");
    let evicted = room.bucket.sweep(room.now + IDLE * SECOND);
    assert_eq!(names(&evicted), [("a", EvictCause::IdleTimeout)], "the others are within theirs");
    drop(evicted);
    let evicted = room.bucket.sweep(room.now + 2 * IDLE * SECOND);
    assert_eq!(names(&evicted), [("b", EvictCause::IdleTimeout)]);
    drop(evicted);
    let stats = room.bucket.stats();
    assert_eq!((stats.open, stats.idle, stats.evicted(EvictCause::IdleTimeout)), (2, 2, 2));
}

#[test]
fn sessions_that_are_lent_leave_less_to_be_kept() {
    let room = room(2);
    let lent = room.open("lent");
    idle(&room, &["a", "b"]);
    let late = room.now + 2 * IDLE * SECOND;
    assert_eq!(names(&room.bucket.sweep(late)), [("a", EvictCause::IdleTimeout)]);
    lent.close(EvictCause::Closed);
    assert!(room.bucket.sweep(late).is_empty());
}

#[test]
fn checkout_ends_the_surplus_and_lends_what_is_needed() {
    let room = room(1);
    idle(&room, &["a", "b"]);
    let lent = room.bucket.try_checkout(1, room.now + 2 * IDLE * SECOND).expect("one is needed");
    assert_eq!(lent.name, "a");
    assert_eq!(room.world.ended(), [("b".into(), EvictCause::IdleTimeout)]);
}

#[test]
fn sessions_end_once_they_are_needed_no_more() {
    let room = room(3);
    idle(&room, &["a", "b", "c"]);
    let late = room.now + 5 * IDLE * SECOND;
    assert!(room.bucket.sweep(late).is_empty());
    room.bucket.set_needed(2);
    assert_eq!(names(&room.bucket.sweep(late)), [("a", EvictCause::IdleTimeout)]);
    room.bucket.set_needed(0);
    assert_eq!(room.bucket.sweep(late).len(), 2);
    assert_eq!(room.bucket.stats().evicted(EvictCause::IdleTimeout), 3);
}

#[test]
fn patience_of_the_peer_is_not_outstayed() {
    let room = room(3);
    let [longer, shorter, always] = ["longer", "shorter", "always"].map(|name| room.open(name));
    longer.give_back_until(0, room.now, 2 * IDLE * SECOND);
    shorter.give_back_until(1, room.now, SECOND);
    room.give_back(always);
    assert_eq!(names(&room.bucket.sweep(room.now + SECOND)), [("shorter", EvictCause::IdleTimeout)]);
    assert!(room.bucket.sweep(room.now + (2 * IDLE - 1) * SECOND).is_empty());
    let end = room.now + 2 * IDLE * SECOND;
    assert_eq!(names(&room.bucket.sweep(end)), [("longer", EvictCause::IdleTimeout)]);
    room.world.ended();
    let place = room.bucket.try_reserve().expect("below the limit");
    place.fill(room.world.open("impatient"), end).give_back_until(0, end, std::time::Duration::ZERO);
    assert_eq!(room.world.ended(), [("impatient".into(), EvictCause::IdleTimeout)]);
    assert_eq!(room.bucket.try_checkout(0, end).expect("kept").name, "always");
}

#[test]
fn what_ends_for_another_reason_is_no_part_of_the_surplus() {
    let room = room(1);
    let (brief, stays) = (room.open("brief"), room.open("stays"));
    brief.give_back_until(0, room.now, 2 * IDLE * SECOND);
    room.give_back(stays);
    let end = room.now + 2 * IDLE * SECOND;
    assert_eq!(names(&room.bucket.sweep(end)), [("brief", EvictCause::IdleTimeout)]);
    assert_eq!(room.bucket.stats().idle, 1);
}

#[test]
fn checkout_does_not_outstay_the_patience_of_the_peer() {
    let room = room(1);
    room.open("a").give_back_until(0, room.now, 2 * IDLE * SECOND);
    assert!(room.bucket.try_checkout(0, room.now + 2 * IDLE * SECOND).is_none());
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::IdleTimeout)]);
}

#[test]
fn lifetime_is_not_outlived() {
    let room = room(2);
    idle(&room, &["a", "b"]);
    assert!(room.bucket.sweep(room.now + (LIFETIME - 1) * SECOND).is_empty());
    let end = room.now + LIFETIME * SECOND;
    let evicted = room.bucket.sweep(end);
    assert_eq!(names(&evicted), [("a", EvictCause::Lifetime), ("b", EvictCause::Lifetime)]);
}

/// Opens sessions of which "old" is in its last tenth at the moment given back, has been idle for that long, and has a
/// successor that is new. "other" has been idle for longest.
fn with_successor(room: &Room, idle: u32) -> std::time::Instant {
    let late = room.now + (LIFETIME - 10) * SECOND;
    let fill = |name, opened| room.permit().fill(room.world.open(name), opened);
    let (old, other) = (fill("old", room.now), fill("other", room.now + 500 * SECOND));
    other.give_back(0, room.now + 500 * SECOND);
    old.give_back(1, late - idle * SECOND);
    let place = room.bucket.try_reserve().expect("below the limit");
    place.fill(room.world.open("successor"), late).give_back(0, late);
    late
}

#[test]
fn successor_replaces_the_session_near_its_end_and_no_other() {
    let room = room(2);
    let late = with_successor(&room, 2 * IDLE);
    assert_eq!(names(&room.bucket.sweep(late)), [("old", EvictCause::IdleTimeout)]);
    assert!(room.bucket.sweep(late).is_empty());
}

#[test]
fn session_near_its_end_does_not_count_beside_another() {
    let room = room(2);
    let late = with_successor(&room, IDLE - 1);
    assert_eq!(room.bucket.ending(), 1);
    assert!(room.bucket.sweep(late).is_empty(), "two are left when the old one has gone");
    room.bucket.set_needed(1);
    assert_eq!(names(&room.bucket.sweep(late)), [("other", EvictCause::IdleTimeout)]);
}

#[test]
fn drain_ends_what_is_kept() {
    let room = room(2);
    idle(&room, &["a", "b"]);
    let late = room.now + 2 * IDLE * SECOND;
    assert!(room.bucket.sweep(late).is_empty());
    let lent = room.bucket.try_checkout(0, late).expect("kept");
    assert_eq!(names(&room.pool.close_all()), [("b", EvictCause::Drain)]);
    lent.give_back(0, late);
    assert_eq!(room.bucket.stats().evicted(EvictCause::Drain), 2);
    idle(&room, &["c"]);
    assert_eq!(room.pool.drain().len(), 1);
}

#[test]
fn lower_limit_ends_what_is_kept() {
    let room = room(2);
    idle(&room, &["a", "b"]);
    assert!(room.bucket.sweep(room.now + 2 * IDLE * SECOND).is_empty());
    room.bucket.set_max_open(1);
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::Capacity)]);
}
