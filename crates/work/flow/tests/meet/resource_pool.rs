//! The pool against a stack of things and a list of waiters.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use millstream_base::{Deadline, Kind, Result};
use millstream_flow::{Lent, ResourcePool, Task};
use proptest::prelude::*;

use crate::{Waiting, poll};

#[derive(Clone, Debug)]
enum Step {
    /// A new one, polled once.
    Get,
    TryGet,
    /// The others name one that waits or that is lent, modulo how many there are.
    PollGet(usize),
    DropGet(usize),
    GiveBack(usize),
    TakeOut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Get),
        1 => Just(Step::TryGet),
        4 => any::<usize>().prop_map(Step::PollGet),
        3 => any::<usize>().prop_map(Step::DropGet),
        6 => any::<usize>().prop_map(Step::GiveBack),
        1 => any::<usize>().prop_map(Step::TakeOut),
    ]
}

type Getting = Waiting<Result<Lent<u32>>>;

#[derive(Default)]
struct World {
    /// Things not lent, in the order in which they came back.
    free: Vec<u32>,
    size: usize,
    next: u32,
    /// Waiters in order of arrival, and whether they were let in.
    line: BTreeMap<u32, (Getting, bool)>,
    lent: Vec<Lent<u32>>,
}

impl World {
    /// Lets in as many as there are things for.
    fn settle(&mut self) {
        let mut spare = self.spare();
        for (_, is_in) in self.line.values_mut() {
            if !*is_in && spare > 0 {
                (*is_in, spare) = (true, spare - 1);
            }
        }
    }

    /// Things that are free and promised to nobody.
    fn spare(&self) -> usize {
        self.free.len() - self.line.values().filter(|(_, is_in)| *is_in).count()
    }

    fn step(&mut self, pool: &ResourcePool<u32>, step: &Step) {
        match *step {
            Step::Get => {
                let asked = pool.clone();
                let mut getting: Getting = Box::pin(async move { asked.get().await });
                let polled = poll(&mut getting);
                if self.size == 0 || self.spare() > 0 {
                    return self.came(polled);
                }
                assert!(polled.is_pending());
                self.line.insert(self.next, (getting, false));
                self.next += 1;
            }
            Step::TryGet => match pool.try_get() {
                Some(lent) => {
                    assert!(self.spare() > 0);
                    self.came(Poll::Ready(Ok(lent)));
                }
                None => assert_eq!(self.spare(), 0),
            },
            Step::PollGet(at) => {
                let Some(number) = nth(&self.line, at) else { return };
                let (getting, is_in) = self.line.get_mut(&number).expect("it waits");
                let polled = poll(getting);
                if !*is_in && self.size > 0 {
                    return assert!(polled.is_pending());
                }
                self.line.remove(&number);
                self.came(polled);
            }
            Step::DropGet(at) => {
                let Some(number) = nth(&self.line, at) else { return };
                self.line.remove(&number);
            }
            Step::GiveBack(at) if !self.lent.is_empty() => {
                let lent = self.lent.remove(at % self.lent.len());
                self.free.push(*lent);
            }
            Step::TakeOut(at) if !self.lent.is_empty() => {
                let _ = self.lent.remove(at % self.lent.len()).into_inner();
                self.size -= 1;
            }
            Step::GiveBack(_) | Step::TakeOut(_) => {}
        }
    }

    fn came(&mut self, polled: Poll<Result<Lent<u32>>>) {
        match polled {
            Poll::Ready(Ok(lent)) => {
                assert_eq!(Some(*lent), self.free.pop(), "what came back last");
                self.lent.push(lent);
            }
            Poll::Ready(Err(error)) => assert!(error.is_cancelled() && self.size == 0),
            Poll::Pending => panic!("it had its turn"),
        }
    }
}

fn nth<T>(map: &BTreeMap<u32, T>, at: usize) -> Option<u32> {
    map.keys().nth(at.checked_rem(map.len())?).copied()
}

proptest! {
    #[test]
    fn things_are_lent_in_the_order_of_asking(
        size in 0..4_u32,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let pool = ResourcePool::new(0..size);
        let mut world = World { free: (0..size).collect(), size: size as usize, ..World::default() };
        for step in &steps {
            world.step(&pool, step);
            world.settle();
            prop_assert_eq!((pool.size(), pool.free()), (world.size, world.free.len()));
        }
        world.line.clear();
        world.lent.clear();
        prop_assert_eq!(pool.free(), pool.size());
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_the_wait_and_leaves_the_line() {
    let pool = ResourcePool::new(["one"]);
    let lent = pool.get().await.expect("it is free");
    let now = tokio::time::Instant::now().into_std();
    let error = pool.get_by(Deadline::after(now, Duration::from_secs(5))).await.expect_err("it is lent");
    assert_eq!((error.kind(), error.message()), (Kind::Timeout, "none of 1 resources was free in time"));
    drop(lent);
    assert_eq!(*pool.get_by(Deadline::at(now)).await.expect("it is free"), "one");
}

#[tokio::test]
async fn thing_comes_back_after_a_panic() {
    let pool = ResourcePool::new([1]);
    let task: Task<()> = pool.lend_task("panics", |mut lent| async move {
        *lent += 1;
        panic!("with {}", *lent)
    });
    assert_eq!(task.await.expect_err("it panicked").kind(), Kind::Panic);
    assert_eq!(*pool.try_get().expect("it came back"), 2);
}

#[tokio::test]
async fn last_thing_taken_out_ends_the_wait_of_all() {
    let pool = ResourcePool::new([String::from("last")]);
    let lent = pool.get().await.expect("it is free");
    let waiting = pool.lend_task("wait", |lent| async move { Ok(lent.len()) });
    let waiting = tokio::spawn(waiting);
    tokio::task::yield_now().await;
    assert_eq!(lent.into_inner(), "last");
    assert!(waiting.await.expect("no panic").expect_err("nothing is left").is_cancelled());
    assert!(pool.try_get().is_none() && pool.get().await.is_err());
}
