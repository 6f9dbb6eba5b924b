//! Counters of one name against a list of numbers.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use millstream_flow::{Counter, Names};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Create(u64),
    /// By name.
    Count(u64),
    /// This counter itself, modulo how many there are.
    CountOne(usize, u64),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u64).prop_map(Step::Create),
        4 => prop_oneof![0..12_u64, Just(u64::MAX)].prop_map(Step::Count),
        1 => (any::<usize>(), 0..4_u64).prop_map(|(at, count)| Step::CountOne(at, count)),
        1 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// Takes what is needed from the oldest on.
fn spill<'a>(left: impl Iterator<Item = &'a mut u64>, mut count: u64) -> u64 {
    for left in left {
        let taken = count.min(*left);
        *left -= taken;
        count -= taken;
    }
    count
}

proptest! {
    #[test]
    fn surplus_goes_to_the_next_of_the_name_and_the_rest_is_told(steps in prop::collection::vec(step(), 0..60)) {
        let names = Names::new();
        let mut counters = Vec::new();
        let mut model: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Create(target) => {
                    counters.push(names.counter("name", target));
                    model.push(target);
                }
                Step::Count(count) => {
                    prop_assert_eq!(names.count_by("name", count), spill(model.iter_mut(), count));
                }
                Step::CountOne(at, count) if !model.is_empty() => {
                    let at = at % model.len();
                    let expected = spill(model[at..=at].iter_mut(), count);
                    prop_assert_eq!(counters[at].count_by(count), expected);
                }
                Step::Drop(at) if !model.is_empty() => {
                    let at = at % model.len();
                    counters.remove(at);
                    model.remove(at);
                }
                Step::CountOne(..) | Step::Drop(_) => {}
            }
            let left: Vec<u64> = counters.iter().map(|counter| counter.left()).collect();
            prop_assert_eq!(&left, &model);
        }
        counters.clear();
        prop_assert!(names.is_empty());
    }
}

/// Says that it was woken, or panics.
struct Woken(AtomicBool, bool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
        assert!(!self.1, "a waker that panics");
    }
}

#[test]
fn waker_that_panics_keeps_nobody_else_waiting() {
    let counter = Counter::new(1);
    let mut waits: Vec<_> = (0..3).map(|_| Box::pin(counter.wait())).collect();
    let all: Vec<_> = (0..3).map(|at| Arc::new(Woken(AtomicBool::new(false), at < 2))).collect();
    for (wait, woken) in waits.iter_mut().zip(&all) {
        let waker = Waker::from(woken.clone());
        assert!(matches!(wait.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
    }
    assert!(catch_unwind(AssertUnwindSafe(|| counter.count())).is_err(), "it is told");
    assert!(all.iter().all(|woken| woken.0.load(SeqCst)));
}
