//! Many callers, one question.

mod script;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use millstream_base::Kind;
use millstream_upstream::{Cache, CacheOptions, Resolve, Resolved, Resolving};
use script::{Reply, Stage, failure, ips, run};

#[test]
fn callers_at_once_ask_once_and_all_are_told() {
    let stage = Stage::new();
    let mut callers: Vec<_> = (0..10).map(|_| stage.lookup("db").waiting()).collect();
    let question = stage.question();
    stage.assert_not_asked();
    question.reply(ips("10.0.0.1", 60));
    assert!(callers[0].was_woken() && !callers[1].was_woken(), "the first asks for all");
    assert_eq!(callers[0].answered(), "10.0.0.1 for 60s");
    for caller in &mut callers[1..] {
        assert!(caller.was_woken());
        assert_eq!(caller.answered(), "10.0.0.1 for 60s");
    }
}

#[test]
fn failure_is_told_to_all() {
    let stage = Stage::new();
    let mut callers: Vec<_> = (0..3).map(|_| stage.lookup("db").waiting()).collect();
    stage.question().reply(failure(Kind::Resolve));
    callers.iter_mut().for_each(|caller| assert_eq!(caller.answered(), "Resolve"));
}

#[test]
fn another_goes_on_with_the_question_when_the_one_who_asked_goes_away() {
    let stage = Stage::new();
    let first = stage.lookup("db").waiting();
    let second = stage.lookup("db").waiting();
    let mut third = stage.lookup("db").waiting();
    let question = stage.question();
    drop(first);
    assert!(second.was_woken() && third.was_woken());
    // The second goes away too, without having been polled.
    drop(second);
    assert!(third.poll().is_none());
    assert!(!question.is_given_up());
    question.reply(ips("10.0.0.1", 60));
    assert_eq!(third.answered(), "10.0.0.1 for 60s");
    stage.assert_not_asked();
}

#[test]
fn question_is_given_up_with_its_last_caller() {
    let stage = Stage::new();
    let callers: Vec<_> = (0..3).map(|_| stage.lookup("db").waiting()).collect();
    let question = stage.question();
    drop(callers);
    assert!(question.is_given_up());
    assert_eq!(stage.cache.stats().asking, 0);
    stage.learn("db", ips("10.0.0.1", 60));
}

#[test]
fn caller_that_was_never_polled_holds_nobody_up() {
    let stage = Stage::new();
    let mut never_polled = stage.lookup("db");
    let mut second = stage.lookup("db").waiting();
    stage.question().reply(ips("10.0.0.1", 60));
    assert_eq!(second.answered(), "10.0.0.1 for 60s");
    assert_eq!(never_polled.answered(), "10.0.0.1 for 60s");
}

#[test]
fn panic_of_the_resolver_is_told_to_those_who_wait_and_not_remembered() {
    let stage = Stage::new();
    let mut first = stage.lookup("db").waiting();
    let mut second = stage.lookup("db").waiting();
    stage.question().reply(Reply::Panic);
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll())).is_err());
    drop(first);
    assert!(second.was_woken());
    assert_eq!(second.answered(), "Panic");
    stage.learn("db", ips("10.0.0.1", 60));
}

#[test]
fn one_asks_anew_while_the_others_get_the_old_answer() {
    let stage = Stage::new();
    stage.learn("db", ips("10.0.0.1", 60));
    stage.pass(60.0);
    let mut first = stage.lookup("db").waiting();
    assert_eq!(stage.known("db"), "10.0.0.1 for 0ns");
    stage.question().reply(ips("10.0.0.2", 60));
    assert_eq!(first.answered(), "10.0.0.2 for 60s");
    assert_eq!(stage.known("db"), "10.0.0.2 for 60s");
    stage.assert_not_asked();
    assert_eq!(stage.cache.stats().stale, 2);
}

#[test]
fn next_one_asks_anew_when_the_one_who_did_went_away() {
    let stage = Stage::new();
    stage.learn("db", ips("10.0.0.1", 60));
    stage.pass(60.0);
    drop(stage.lookup("db").waiting());
    assert!(stage.question().is_given_up());
    let mut second = stage.lookup("db").waiting();
    stage.question().reply(ips("10.0.0.2", 60));
    assert_eq!(second.answered(), "10.0.0.2 for 60s");
}

#[test]
fn those_who_come_when_the_old_answer_is_of_no_use_wait_for_the_new_one() {
    let stage = Stage::new();
    stage.learn("db", ips("10.0.0.1", 60));
    stage.pass(60.0);
    let mut first = stage.lookup("db").waiting();
    stage.pass(30.0);
    let mut second = stage.lookup("db").waiting();
    stage.question().reply(failure(Kind::Resolve));
    assert_eq!(first.answered(), "10.0.0.1 for 0ns");
    assert_eq!(second.answered(), "Resolve");
}

#[test]
fn with_a_hook_nobody_waits_for_a_refresh() {
    let stage = Stage::with_tasks();
    let mut first = stage.lookup("db").waiting();
    stage.assert_not_asked();
    assert!(!run(&stage.tasks));
    stage.question().reply(ips("10.0.0.1", 60));
    assert!(run(&stage.tasks));
    assert_eq!(first.answered(), "10.0.0.1 for 60s");
    stage.pass(61.0);
    assert_eq!(stage.known("db"), "10.0.0.1 for 0ns");
    assert_eq!(stage.known("db"), "10.0.0.1 for 0ns");
    assert_eq!(stage.tasks.lock().expect("not poisoned").len(), 1);
    assert!(!run(&stage.tasks));
    stage.question().reply(ips("10.0.0.2", 60));
    assert!(run(&stage.tasks));
    assert_eq!(stage.known("db"), "10.0.0.2 for 60s");
}

#[test]
fn with_a_hook_the_answer_is_remembered_although_nobody_waits_any_more() {
    let stage = Stage::with_tasks();
    drop(stage.lookup("db").waiting());
    assert!(!run(&stage.tasks));
    stage.question().reply(ips("10.0.0.1", 60));
    assert!(run(&stage.tasks));
    assert_eq!(stage.known("db"), "10.0.0.1 for 60s");
}

#[test]
fn caller_goes_on_when_the_hook_drops_the_task() {
    let stage = Stage::with_tasks();
    let mut caller = stage.lookup("db").waiting();
    stage.tasks.lock().expect("not poisoned").clear();
    assert!(caller.was_woken());
    assert!(caller.poll().is_none());
    stage.question().reply(ips("10.0.0.1", 60));
    assert_eq!(caller.answered(), "10.0.0.1 for 60s");
}

#[test]
fn hook_that_takes_no_task_at_all_is_survived() {
    let stage = Stage::with(CacheOptions::default().spawn(drop));
    let mut caller = stage.lookup("db").waiting();
    stage.question().reply(ips("10.0.0.1", 60));
    assert_eq!(caller.answered(), "10.0.0.1 for 60s");
    stage.pass(61.0);
    assert_eq!(stage.known("db"), "10.0.0.1 for 0ns");
    assert_eq!(stage.cache.stats().asking, 0);
}

/// Answers after a few polls, each in its own time; counts how many are under way at once.
#[derive(Default)]
struct Slow {
    at_once: AtomicUsize,
    most: AtomicUsize,
}

impl Resolve for Slow {
    fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let now = self.at_once.fetch_add(1, SeqCst) + 1;
            let _leaves = Leaves(&self.at_once);
            self.most.fetch_max(now, SeqCst);
            for _ in 0..3 {
                let mut was_polled = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut was_polled, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            Ok(Resolved::new([IpAddr::from([10, 0, 0, 1])], Duration::from_secs(60)))
        })
    }
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Six threads that look one name up, some of them going away after as many polls as `patience` says for their turn.
fn storm(patience: impl Fn(usize) -> usize + Sync) -> Arc<Slow> {
    let slow = Arc::new(Slow::default());
    let cache = Cache::new(Arc::clone(&slow), CacheOptions::default());
    std::thread::scope(|scope| {
        for thread in 0..6usize {
            let (cache, patience) = (&cache, &patience);
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                let mut cx = Context::from_waker(&waker);
                for turn in 0..3000usize {
                    let mut lookup = cache.lookup("db");
                    for _ in 0..patience(turn + thread) {
                        if Pin::new(&mut lookup).poll(&mut cx).is_ready() {
                            break;
                        }
                        // A wake since the poll makes this return at once.
                        std::thread::park();
                    }
                    if turn % 4 == thread % 4 {
                        cache.forget("db");
                    }
                }
            });
        }
    });
    assert_eq!((slow.at_once.load(SeqCst), cache.stats().asking), (0, 0));
    slow
}

#[test]
fn threads_at_once_are_all_told_and_never_ask_twice_at_once() {
    assert_eq!(storm(|_| usize::MAX).most.load(SeqCst), 1);
}

#[test]
fn threads_that_go_away_leave_nobody_waiting() {
    storm(|turn| if turn % 3 == 0 { turn % 5 } else { usize::MAX });
}
