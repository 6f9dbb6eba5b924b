//! Names: who meets under one, and that none stays.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millstream_base::Kind;
use millstream_flow::{Mailbox, Names, Task};
use millstream_runtime::Engine;

#[test]
fn engines_do_not_share_names() {
    let engine = || Engine::builder().workers(1).build().expect("an engine");
    let (first, second) = (engine(), engine());
    let counter = Names::of(&first).counter("same", 1);
    assert_eq!(Names::of(&second).count("same"), 1, "nobody needs it there");
    assert_eq!((Names::of(&first).len(), Names::of(&second).len()), (1, 0));
    assert_eq!(Names::of(&first).count("same"), 0);
    first.run(async move |_| counter.wait().await).expect("reached");
}

#[test]
fn hundred_thousand_names_are_forgotten() {
    let names = Names::new();
    for number in 0..100_000 {
        let name = format!("name {number}");
        let counter = names.counter(&name, 1);
        let mailbox: Mailbox<u8> = names.mailbox(&name).expect("new");
        let task = names.conditional(name.clone(), |(): ()| Task::empty()).expect("new");
        let guard = names.guard(&name);
        assert_eq!(names.len(), 4);
        match number % 3 {
            // What was met at goes before it is dropped, or with it.
            0 => {
                names.count(&name);
                names.send(&name, 1_u8).expect("it waits");
                names.signal(&name, ()).expect("it waits");
                assert_eq!(names.len(), 1);
            }
            1 => drop((counter, mailbox, task)),
            _ => drop((guard.try_lock(), task)),
        }
    }
    assert!(names.is_empty());
}

#[test]
fn name_is_of_one_type_while_anybody_waits_under_it() {
    let names = Names::new();
    let numbers: Mailbox<u8> = names.mailbox("name").expect("new");
    let error = names.mailbox::<String>("name").expect_err("it is for numbers");
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(error.to_string(), r#"the name "name" is for messages of u8, not of alloc::string::String"#);
    let unsent = names.send("name", "text").expect_err("it is for numbers");
    assert_eq!((unsent.message, unsent.error.kind()), ("text", Kind::Invalid));
    // A conditional of the same name is another thing.
    let task = names.conditional("name", |text: &'static str| async move { Ok(text) }).expect("new");
    assert_eq!(names.signal("name", 1).expect_err("it is for texts").error.kind(), Kind::Invalid);
    drop((numbers, task));
    let mut texts: Mailbox<&str> = names.mailbox("name").expect("forgotten");
    assert_eq!(names.send("name", "text").expect("it waits"), 1);
    drop(texts.receive());
}

#[tokio::test]
async fn message_goes_to_the_oldest_and_comes_back_when_nobody_waits() {
    let names = Names::new();
    let mut mailboxes: Vec<Mailbox<u32>> =
        (0..4).map(|_| names.mailbox("name").expect("of one type")).collect();
    drop(mailboxes.remove(1));
    assert_eq!(names.send_at_most(0, "name", 7_u32).expect_err("to nobody").message, 7);
    assert_eq!(names.send_at_most(2, "name", 8_u32).expect("they wait"), 2);
    assert_eq!(names.send("name", 9_u32).expect("one waits"), 1);
    let unsent = names.send("name", 10_u32).expect_err("all have one");
    assert_eq!((unsent.message, unsent.error.kind()), (10, Kind::Cancelled));
    assert_eq!(unsent.to_string(), r#"nobody waits for the name "name""#);
    for (mailbox, expected) in mailboxes.iter_mut().zip([8, 8, 9]) {
        assert_eq!(mailbox.receive().await.expect("sent"), expected);
    }
}

#[tokio::test]
async fn signal_starts_the_oldest_or_all() {
    let names = Names::new();
    let add = |number: u32| names.conditional("go", move |start: u32| async move { Ok(start + number) });
    let tasks: Vec<_> = (0..5).map(|number| add(number).expect("of one type")).collect();
    let mut tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    assert_eq!(names.signal_at_most(2, "go", 10_u32).expect("they wait"), 2);
    tasks.remove(2).abort();
    tokio::task::yield_now().await;
    assert_eq!(names.signal("go", 20_u32).expect("they wait"), 2);
    for (task, expected) in tasks.into_iter().zip([10, 11, 23, 24]) {
        assert_eq!(task.await.expect("no panic").expect("started"), expected);
    }
    assert!(names.is_empty());
}

#[tokio::test]
async fn guard_of_a_name_is_one_while_anybody_holds_it() {
    let names = Names::new();
    let held = names.guard("name").lock().await;
    assert!(names.guard("name").try_lock().is_none());
    assert!(names.guard("another").try_lock().is_some());
    let waiting = tokio::spawn(names.guard("name").around(Task::ready("after", 1)));
    tokio::task::yield_now().await;
    assert_eq!(names.len(), 1);
    drop(held);
    assert_eq!(waiting.await.expect("no panic").expect("let in"), 1);
    assert!(names.is_empty());
}

/// Does something with the names when it is cloned and when it is dropped.
struct Meddler(Names);

impl Clone for Meddler {
    fn clone(&self) -> Self {
        assert!(self.0.counter("meddled", 1).count() == 0 && !self.0.is_empty());
        Self(self.0.clone())
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        drop(self.0.send("meddled", 1_u8));
        drop(self.0.mailbox::<u8>("meddled"));
    }
}

#[test]
fn messages_may_use_the_names_when_they_are_cloned_and_dropped() {
    let names = Names::new();
    let mailboxes: Vec<Mailbox<Meddler>> = (0..3).map(|_| names.mailbox("name").expect("new")).collect();
    assert_eq!(names.send("name", Meddler(names.clone())).expect("they wait"), 3);
    drop(mailboxes);
    assert!(names.is_empty());
}

/// Panics when it is cloned.
struct Single(Arc<()>);

impl Clone for Single {
    fn clone(&self) -> Self {
        panic!("there is one only, known to {}", Arc::strong_count(&self.0));
    }
}

#[test]
fn panic_of_a_clone_leaves_all_waiting() {
    let names = Names::new();
    let mailboxes: Vec<Mailbox<Single>> = (0..2).map(|_| names.mailbox("name").expect("new")).collect();
    let message = Arc::new(());
    let sent = catch_unwind(AssertUnwindSafe(|| names.send("name", Single(message.clone()))));
    assert!(sent.is_err() && Arc::strong_count(&message) == 1);
    for mailbox in mailboxes {
        assert_eq!(names.send_at_most(1, "name", Single(message.clone())).expect("it needs no clone"), 1);
        drop(mailbox);
    }
    assert!(names.is_empty());
}
