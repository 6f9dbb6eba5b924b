//! Every phase in which a caller may go away.

mod session;

use std::time::Duration;

use millstream_pool::{EvictCause, Grant};
use session::{Room, SECOND, place, session};

#[test]
fn dropped_before_it_is_polled_leaves_nothing() {
    let room = Room::with_max_open(1);
    drop(room.checkout());
    assert_eq!(room.bucket.stats(), millstream_pool::Stats::default());
}

#[test]
fn dropped_while_waiting_leaves_the_queue() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let waiters: Vec<_> = (0..3).map(|_| room.waiter()).collect();
    assert_eq!(room.bucket.stats().waiting, 3);
    drop(waiters);
    assert_eq!(room.bucket.stats().waiting, 0);
    room.give_back(lent);
    assert_eq!(room.bucket.stats().idle, 1);
}

#[test]
fn one_who_leaves_the_middle_does_not_change_the_order() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let mut first = room.waiter();
    let second = room.waiter();
    let mut third = room.waiter();
    drop(second);
    room.give_back(lent);
    room.give_back(session(first.served()));
    assert_eq!(session(third.served()).name, "a");
}

#[test]
fn session_granted_to_one_who_left_goes_to_the_next() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let first = room.waiter();
    let mut second = room.waiter();
    room.give_back(lent);
    assert!(first.was_woken() && !second.was_woken());
    drop(first);
    assert_eq!(session(second.served()).name, "a");
}

#[test]
fn session_granted_to_the_last_who_left_goes_to_stock() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let waiter = room.waiter();
    room.give_back(lent);
    drop(waiter);
    assert_eq!(room.take().name, "a");
    assert_eq!(room.world.opened(), 1);
}

#[test]
fn place_granted_to_one_who_left_goes_to_the_next() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let first = room.waiter();
    let mut second = room.waiter();
    drop(lent);
    assert!(first.was_woken() && !second.was_woken());
    drop(first);
    drop(place(second.served()));
    assert_eq!(room.bucket.stats().reserved, 0);
}

#[test]
fn place_granted_to_the_last_who_left_is_free_again() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let waiter = room.waiter();
    drop(lent);
    assert_eq!(room.bucket.stats().reserved, 1);
    drop(waiter);
    assert_eq!(room.bucket.stats().reserved, 0);
    drop(room.permit());
}

#[test]
fn permit_dropped_while_opening_lets_the_next_open() {
    let room = Room::with_max_open(1);
    let permit = room.permit();
    let mut waiter = room.waiter();
    drop(permit);
    let lent = place(waiter.served()).fill(room.world.open("a"), room.now);
    assert_eq!(room.bucket.stats().lent, 1);
    drop(lent);
}

#[test]
fn lent_session_dropped_in_use_is_closed_and_the_next_opens() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let mut waiter = room.waiter();
    drop(lent);
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::Dropped)]);
    assert_eq!(room.world.live(), 0);
    drop(place(waiter.served()));
}

#[test]
fn session_that_died_on_the_way_to_a_waiter_leaves_it_the_place() {
    let room = Room::with_max_open(1);
    let mut lent = room.open("a");
    let mut first = room.waiter();
    let second = room.waiter();
    lent.is_usable = false;
    room.give_back(lent);
    let permit = place(first.served());
    assert_eq!(room.world.ended(), [("a".into(), EvictCause::StaleOnCheckout)]);
    assert!(!second.was_woken(), "the place is the first one's");
    drop(permit.fill(room.world.open("b"), room.now));
    assert!(second.was_woken());
}

#[test]
fn waker_of_the_last_poll_is_the_one_that_is_woken() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let mut waiter = room.waiter();
    let before = waiter.change_waker();
    assert!(waiter.poll().is_none());
    room.give_back(lent);
    assert_eq!(std::sync::Arc::strong_count(&before), 1, "the old waker was let go");
    assert_eq!(session(waiter.served()).name, "a");
}

#[test]
#[should_panic(expected = "not to be polled after it has ended")]
fn polling_after_the_end_is_a_bug_of_the_caller() {
    let room = Room::with_max_open(1);
    let mut checkout = room.checkout();
    let _grant = checkout.poll();
    checkout.poll();
}

#[tokio::test(start_paused = true)]
async fn deadline_that_passes_leaves_the_queue_to_the_others() {
    let room = Room::with_max_open(1);
    let lent = room.open("a");
    let now = || tokio::time::Instant::now().into_std();
    let impatient = tokio::time::timeout(SECOND, room.bucket.checkout(0, now()));
    let patient = tokio::time::timeout(60 * SECOND, room.bucket.checkout(0, now()));
    let holder = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        lent.give_back(0, now());
    };
    let (impatient, patient, ()) = tokio::join!(impatient, patient, holder);
    assert!(impatient.is_err());
    assert!(matches!(patient, Ok(Ok(Grant::Session(_)))));
}

#[tokio::test(start_paused = true)]
async fn grant_and_deadline_in_one_instant_lose_nothing() {
    for holder_is_first in [true, false] {
        let room = Room::with_max_open(1);
        let lent = room.open("a");
        let now = tokio::time::Instant::now();
        let first = tokio::time::timeout(SECOND, room.bucket.checkout(0, now.into_std()));
        let second = room.bucket.checkout(0, now.into_std());
        let holder = async {
            tokio::time::sleep(SECOND).await;
            lent.give_back(0, now.into_std() + SECOND);
        };
        let user = async {
            if let Ok(Ok(Grant::Session(lent))) = first.await {
                lent.give_back(0, now.into_std() + SECOND);
            }
        };
        let second = match holder_is_first {
            true => tokio::join!(biased; holder, user, second).2,
            false => tokio::join!(biased; user, second, holder).1,
        };
        assert!(matches!(second, Ok(Grant::Session(_))));
        assert_eq!(room.world.opened(), 1);
    }
}
