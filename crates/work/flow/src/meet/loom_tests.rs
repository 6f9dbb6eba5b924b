//! The races of counters and mailboxes, in every order that the memory model allows.
//!
//! Run with `cargo test -p millstream-flow --release --features loom --lib loom`.

use std::sync::Arc;
use std::task::{Context, Waker};

use loom::future::block_on;
use loom::thread;

use super::mailbox::NoMessage;
use super::{Counter, Mailbox, Names, mailbox};

/// Bounds the orders tried to those with this many forced switches; the published experience is that 2 or 3 find
/// nearly all races.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

/// Polls once, and drops the future.
fn poll_once(future: impl Future) -> bool {
    let mut future = std::pin::pin!(future);
    future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn count_while_two_join_reaches_both() {
    explore(2, || {
        let counter = Counter::new(2);
        let waiters = [counter.clone(), counter.clone()];
        let waiters = waiters.map(|counter| thread::spawn(move || block_on(counter.wait())));
        assert_eq!(counter.count() + counter.count(), 0);
        waiters.into_iter().for_each(|waiter| waiter.join().expect("reached"));
    });
}

#[test]
fn counts_at_once_are_each_taken_or_told() {
    explore(3, || {
        let counter = Counter::new(2);
        let other = counter.clone();
        let other = thread::spawn(move || other.count_by(2));
        let surplus = counter.count() + other.join().expect("no panic");
        assert_eq!((surplus, counter.left()), (1, 0));
        block_on(counter.wait());
    });
}

#[test]
fn waiter_dropped_while_the_counter_is_reached_keeps_nobody_waiting() {
    explore(3, || {
        let counter = Counter::new(1);
        let (quitter, waiter) = (counter.clone(), counter.clone());
        let quitter = thread::spawn(move || poll_once(quitter.wait()));
        let waiter = thread::spawn(move || block_on(waiter.wait()));
        counter.count();
        quitter.join().expect("no panic");
        waiter.join().expect("reached");
    });
}

#[test]
fn count_by_name_while_the_oldest_is_dropped_loses_nothing() {
    explore(3, || {
        let names = Names::new();
        let (first, second) = (names.counter("name", 1), names.counter("name", 2));
        let dropper = thread::spawn(move || drop(first));
        let surplus = names.count_by("name", 2);
        dropper.join().expect("no panic");
        // Either the first took one, or all went to the second.
        assert!(matches!((surplus, second.left()), (0, 0 | 1)), "{surplus} {}", second.left());
        drop(second);
        assert!(names.is_empty());
    });
}

#[test]
fn message_sent_while_the_receiver_begins_to_wait_reaches_it() {
    explore(3, || {
        let (sender, mut mailbox) = mailbox();
        let receiver = thread::spawn(move || block_on(mailbox.received()));
        sender.send(7).expect("there is room");
        drop(sender);
        assert_eq!(receiver.join().expect("no panic"), Ok(7));
    });
}

#[test]
fn of_two_senders_one_is_received_and_the_other_comes_back() {
    explore(3, || {
        let (sender, mut mailbox) = mailbox();
        let other = sender.clone();
        let other = thread::spawn(move || other.send(1).map_err(|unsent| unsent.message));
        let ours = sender.send(2).map_err(|unsent| unsent.message);
        drop(sender);
        let received = block_on(mailbox.received()).expect("one is sent");
        let theirs = other.join().expect("no panic");
        let expected = if received == 1 { (Ok(()), Err(2)) } else { (Err(1), Ok(())) };
        assert_eq!((theirs, ours), expected);
    });
}

#[test]
fn receiver_that_begins_to_wait_while_the_last_sender_goes_hears_of_it() {
    explore(3, || {
        let (sender, mut mailbox) = mailbox::<u8>();
        let other = sender.clone();
        let other = thread::spawn(move || drop(other));
        let receiver = thread::spawn(move || block_on(mailbox.received()));
        drop(sender);
        other.join().expect("no panic");
        assert_eq!(receiver.join().expect("no panic"), Err(NoMessage::NoSender));
    });
}

#[test]
fn message_sent_while_the_mailbox_is_dropped_comes_back_or_goes_with_it() {
    explore(3, || {
        let (sender, mailbox) = mailbox();
        let message = Arc::new(());
        let dropper = thread::spawn(move || drop(mailbox));
        let outcome = sender.send(message.clone());
        dropper.join().expect("no panic");
        assert_eq!(Arc::strong_count(&message), 1 + usize::from(outcome.is_err()));
    });
}

#[test]
fn message_sent_while_the_receiver_stops_is_with_one_of_the_two() {
    explore(3, || {
        let names = Names::new();
        let mailbox: Mailbox<u8> = names.mailbox("name").expect("the first");
        let stopper = thread::spawn(move || mailbox.into_message());
        let sent = names.send("name", 5_u8);
        let message = stopper.join().expect("no panic");
        assert_eq!(message.is_some(), sent.is_ok());
        assert!(names.is_empty());
    });
}

#[test]
fn receiver_that_gives_up_and_waits_again_has_the_message() {
    explore(3, || {
        let (sender, mut mailbox) = mailbox();
        let receiver = thread::spawn(move || {
            let is_early = poll_once(mailbox.received());
            (is_early, block_on(mailbox.received()))
        });
        sender.send(3).expect("there is room");
        drop(sender);
        let expected = match receiver.join().expect("no panic") {
            (true, again) => again == Err(NoMessage::Received),
            (false, message) => message == Ok(3),
        };
        assert!(expected);
    });
}

#[test]
fn message_to_one_of_a_name_reaches_one_though_the_oldest_goes() {
    explore(2, || {
        let names = Names::new();
        let oldest: Mailbox<u8> = names.mailbox("name").expect("the first");
        let mut second: Mailbox<u8> = names.mailbox("name").expect("of the same type");
        let dropper = thread::spawn(move || drop(oldest));
        let sent = names.send_at_most(1, "name", 9_u8).expect("one is there in any case");
        dropper.join().expect("no panic");
        assert_eq!(sent, 1);
        // It went to the oldest before that was dropped, or to the second.
        if names.is_empty() {
            assert_eq!(block_on(second.received()), Ok(9));
        } else {
            assert_eq!(names.send("name", 10_u8).expect("it waits"), 1);
        }
        drop(second);
        assert!(names.is_empty());
    });
}

#[test]
fn name_that_is_forgotten_while_it_is_asked_for_stays_whole() {
    explore(3, || {
        let names = Names::new();
        let old: Mailbox<u8> = names.mailbox("name").expect("the first");
        let asked = names.clone();
        let asker = thread::spawn(move || {
            let mut new: Mailbox<u8> = asked.mailbox("name").expect("of the same type");
            let got = asked.send("name", 1_u8).expect("there is one at least");
            assert_eq!(block_on(new.received()), Ok(1));
            got
        });
        drop(old);
        let got = asker.join().expect("no panic");
        assert!((1..=2).contains(&got) && names.is_empty());
    });
}
