//! The queue against a list of messages, polled and dropped in any order.

use std::collections::BTreeMap;
use std::task::Poll;

use millstream_base::Kind;
use millstream_flow::{MessageQueue, Unsent};
use proptest::prelude::*;

use crate::{Waiting, poll};

#[derive(Clone, Debug)]
enum Step {
    /// A new one, polled once.
    Post,
    Get,
    TryPost,
    /// The others name one that waits, modulo how many do.
    PollPost(usize),
    PollGet(usize),
    DropPost(usize),
    DropGet(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Post),
        8 => Just(Step::Get),
        2 => Just(Step::TryPost),
        4 => any::<usize>().prop_map(Step::PollPost),
        4 => any::<usize>().prop_map(Step::PollGet),
        3 => any::<usize>().prop_map(Step::DropPost),
        3 => any::<usize>().prop_map(Step::DropGet),
        1 => Just(Step::Close),
    ]
}

/// What the queue should be.
#[derive(Default)]
struct Model {
    bound: usize,
    is_closed: bool,
    /// Oldest first, each with the getter that it is for.
    inside: Vec<(u32, Option<u32>)>,
    /// Waiting, oldest first.
    posters: Vec<u32>,
    getters: Vec<u32>,
}

impl Model {
    fn settle(&mut self) {
        loop {
            let free = self.inside.iter_mut().find(|(_, getter)| getter.is_none());
            if let Some((_, getter)) = free.filter(|_| !self.getters.is_empty()) {
                *getter = Some(self.getters.remove(0));
            } else if !self.posters.is_empty() && self.inside.len() < self.bound {
                self.inside.push((self.posters.remove(0), None));
            } else {
                break;
            }
        }
        if self.is_closed && self.inside.is_empty() {
            self.getters.clear();
        }
    }

    fn post(&mut self, number: u32) -> bool {
        let has_room = !self.is_closed && self.inside.len() < self.bound;
        if has_room {
            self.inside.push((number, None));
            self.settle();
        }
        has_room
    }

    fn take(&mut self, at: Option<usize>) -> Option<u32> {
        let message = at.map(|at| self.inside.remove(at).0);
        self.settle();
        message
    }
}

/// The queue, the model, and who waits, each under its number.
struct World {
    queue: MessageQueue<u32>,
    model: Model,
    next: u32,
    posting: BTreeMap<u32, Waiting<Result<(), Unsent<u32>>>>,
    getting: BTreeMap<u32, Waiting<Option<u32>>>,
}

impl World {
    fn new(bound: usize) -> Self {
        Self {
            queue: MessageQueue::new(bound),
            model: Model { bound, ..Model::default() },
            next: 0,
            posting: BTreeMap::new(),
            getting: BTreeMap::new(),
        }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Post => self.post(),
            Step::Get => self.get(),
            Step::TryPost => {
                let number = self.number();
                let kind =
                    self.queue.try_post(number).map_err(|unsent| (unsent.message, unsent.error.kind()));
                let refused = if self.model.is_closed { Kind::Cancelled } else { Kind::Limit };
                let expected = self.model.post(number).then_some(()).ok_or((number, refused));
                assert_eq!(kind, expected);
            }
            Step::PollPost(at) => self.poll_post(at),
            Step::PollGet(at) => self.poll_get(at),
            Step::DropPost(at) => {
                let Some(number) = nth(&self.posting, at) else { return };
                self.posting.remove(&number);
                self.model.posters.retain(|other| *other != number);
            }
            Step::DropGet(at) => {
                let Some(number) = nth(&self.getting, at) else { return };
                self.getting.remove(&number);
                self.model.getters.retain(|other| *other != number);
                self.model.inside.iter_mut().for_each(|(_, getter)| {
                    getter.take_if(|getter| *getter == number);
                });
                self.model.settle();
            }
            Step::Close => {
                self.queue.close();
                self.model.is_closed = true;
                self.model.posters.clear();
                self.model.settle();
            }
        }
    }

    fn post(&mut self) {
        let (number, queue) = (self.number(), self.queue.clone());
        let mut posting: Waiting<_> = Box::pin(async move { queue.post(number).await });
        let polled = poll(&mut posting);
        if self.model.post(number) {
            assert!(matches!(polled, Poll::Ready(Ok(()))));
        } else if self.model.is_closed {
            assert!(matches!(polled, Poll::Ready(Err(unsent)) if unsent.message == number));
        } else {
            assert!(polled.is_pending());
            self.model.posters.push(number);
            self.posting.insert(number, posting);
        }
    }

    fn get(&mut self) {
        let (number, queue) = (self.number(), self.queue.clone());
        let mut getting: Waiting<_> = Box::pin(async move { queue.get().await });
        let polled = poll(&mut getting);
        let free = self.model.inside.iter().position(|(_, getter)| getter.is_none());
        if free.is_some() || self.model.is_closed && self.model.inside.is_empty() {
            assert_eq!(polled, Poll::Ready(self.model.take(free)));
        } else {
            assert!(polled.is_pending());
            self.model.getters.push(number);
            self.getting.insert(number, getting);
        }
    }

    fn poll_post(&mut self, at: usize) {
        let Some(number) = nth(&self.posting, at) else { return };
        let polled = poll(self.posting.get_mut(&number).expect("it waits"));
        if self.model.posters.contains(&number) {
            return assert!(polled.is_pending());
        }
        self.posting.remove(&number);
        match polled {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(unsent)) => assert!(self.model.is_closed && unsent.message == number),
            Poll::Pending => panic!("{number} came in, or was refused"),
        }
    }

    fn poll_get(&mut self, at: usize) {
        let Some(number) = nth(&self.getting, at) else { return };
        let polled = poll(self.getting.get_mut(&number).expect("it waits"));
        if self.model.getters.contains(&number) {
            return assert!(polled.is_pending());
        }
        self.getting.remove(&number);
        let at = self.model.inside.iter().position(|(_, getter)| *getter == Some(number));
        assert_eq!(polled, Poll::Ready(self.model.take(at)));
    }

    /// All that waits is dropped; what is left comes out in order.
    fn drain(mut self) {
        self.posting.clear();
        self.getting.clear();
        self.model.posters.clear();
        self.model.getters.clear();
        self.queue.close();
        let mut left = Vec::new();
        let queue = self.queue.clone();
        let mut all: Waiting<()> = Box::pin(async move {
            while let Some(message) = queue.get().await {
                left.push(message);
            }
            let expected: Vec<u32> = self.model.inside.iter().map(|(message, _)| *message).collect();
            assert_eq!(left, expected);
        });
        assert!(poll(&mut all).is_ready());
    }
}

fn nth<T>(map: &BTreeMap<u32, T>, at: usize) -> Option<u32> {
    map.keys().nth(at.checked_rem(map.len())?).copied()
}

proptest! {
    #[test]
    fn messages_and_waiters_keep_their_order_whoever_leaves(
        bound in 1..4_usize,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(bound);
        for step in &steps {
            world.step(step);
            prop_assert_eq!(world.queue.len(), world.model.inside.len());
            prop_assert!(world.queue.len() <= bound);
        }
        world.drain();
    }
}

#[tokio::test]
async fn getters_hear_of_the_close_and_posters_have_their_messages_back() {
    let queue = MessageQueue::<u8>::new(0);
    let getter = tokio::spawn(queue.get_task("get"));
    tokio::task::yield_now().await;
    queue.close();
    assert_eq!(getter.await.expect("no panic").expect("it never fails"), None);

    let queue = MessageQueue::new(0);
    queue.post(1).await.expect("a bound of 0 is one of 1");
    let poster = queue.clone();
    let poster = tokio::spawn(async move { poster.post(2).await });
    tokio::task::yield_now().await;
    queue.close();
    let unsent = poster.await.expect("no panic").expect_err("it was closed");
    assert_eq!((unsent.message, unsent.error.kind()), (2, Kind::Cancelled));
    assert_eq!((queue.get().await, queue.get().await), (Some(1), None));
}

#[tokio::test]
async fn queue_that_always_has_something_leaves_others_their_turn() {
    let queue = MessageQueue::new(1);
    let other = tokio::spawn(async {});
    while !other.is_finished() {
        queue.post(()).await.expect("open");
        queue.get().await;
    }
}
