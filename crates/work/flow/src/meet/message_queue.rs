//! Messages from any number of tasks to any number of tasks, in order, no more than fit.
//!
//! Rules, all under the one lock:
//! 1. A message is in `messages`, in the hands of a getter that was served and has not looked, or with a poster that waits. The first two
//!    are never more than `bound`.
//! 2. While a getter waits to be served, `messages` is empty; while a poster does, the queue is full. `settle` restores both.
//! 3. `messages` is sorted by number. A getter that leaves puts what it was served back where it was.
//! 4. Wakers are called, and they and messages dropped, outside of the lock.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use millstream_base::{Error, Kind, Origin};
use tokio::task::coop::cooperative;

use super::line::{Line, Ticket};
use super::sync::wake;
use super::unsent::Unsent;
use crate::{Task, TaskKind};

/// A queue of at most so many messages. First in, first out: messages, who waits to get one, and who waits to post one. Clones are the
/// same queue.
///
/// ```
/// use millstream_flow::MessageQueue;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let queue = MessageQueue::new(2);
/// queue.post("first").await?;
/// queue.post("second").await?;
/// assert_eq!(queue.try_post("third").unwrap_err().message, "third");
/// assert_eq!(queue.get().await, Some("first"));
/// queue.close();
/// assert_eq!(queue.get().await, Some("second"));
/// assert_eq!(queue.get().await, None);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
pub struct MessageQueue<T>(Arc<Shared<T>>);

struct Shared<T> {
    bound: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// The number of the next message that comes in.
    next: u64,
    messages: VecDeque<(u64, T)>,
    /// Messages with getters that have not looked.
    handed: usize,
    is_closed: bool,
    getters: Line<(), Option<(u64, T)>>,
    /// A poster that waits leaves its message here, so that it comes in in its turn; it comes back if the queue closes first.
    posters: Line<T, Result<(), T>>,
}

impl<T: Send + 'static> MessageQueue<T> {
    /// For at most `bound` messages, at least one.
    pub fn new(bound: usize) -> Self {
        let state = State {
            next: 0,
            messages: VecDeque::new(),
            handed: 0,
            is_closed: false,
            getters: Line::new(),
            posters: Line::new(),
        };
        Self(Arc::new(Shared { bound: bound.max(1), state: Mutex::new(state) }))
    }

    /// Posts a message, when there is room and all who waited before have posted theirs. Dropping the future before that drops the
    /// message and leaves the line; once it has come in it stays.
    ///
    /// # Errors
    /// The message, with [`Kind::Cancelled`], when the queue is or gets closed.
    pub async fn post(&self, message: T) -> Result<(), Unsent<T>> {
        cooperative(Posting { queue: self, stage: PostStage::New(message) }).await
    }

    /// Posts a message if there is room now.
    ///
    /// # Errors
    /// The message, with [`Kind::Limit`] when the queue is full, with [`Kind::Cancelled`] when it is closed.
    pub fn try_post(&self, message: T) -> Result<(), Unsent<T>> {
        let mut wakers = Vec::new();
        let offered = self.0.lock().offer(self.0.bound, message, &mut wakers);
        wake(wakers);
        match offered {
            Ok(()) => Ok(()),
            Err((message, Refusal::Closed)) => Err(closed(message)),
            Err((message, Refusal::Full)) => {
                let text = format!("the queue is full with {} messages", self.0.bound);
                Err(Unsent::new(message, Error::new(Kind::Limit, Origin::Local, text)))
            }
        }
    }

    /// The oldest message, when all who asked before have one; `None` when the queue is closed and empty. Dropping the future loses
    /// nothing: what it would have given goes back to its place, ahead of all that came after it, some of which others may have by then.
    pub async fn get(&self) -> Option<T> {
        cooperative(Getting { queue: self, ticket: None }).await
    }

    /// Nothing comes in any more: who waits to post gets the message back; who gets finds what is there, then `None`.
    pub fn close(&self) {
        let mut wakers = Vec::new();
        {
            let mut state = self.0.lock();
            state.is_closed = true;
            wakers.extend(std::iter::from_fn(|| state.posters.serve(Err)));
            state.settle(self.0.bound, &mut wakers);
        }
        wake(wakers);
    }

    /// [`get`](Self::get) as a task.
    ///
    /// ```
    /// use millstream_flow::{MessageQueue, Parallel};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let queue = MessageQueue::new(1);
    /// let post = queue.post_task("post", 5).map(|()| None);
    /// let outputs = Parallel::of("meet", [queue.get_task("get"), post]).all().await?;
    /// assert_eq!(outputs, [Some(5), None]);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn get_task(&self, name: impl Into<Cow<'static, str>>) -> Task<Option<T>> {
        let queue = self.clone();
        Task::new(name, TaskKind::Other, async move { Ok(queue.get().await) })
    }

    /// [`post`](Self::post) as a task. If it fails the message is dropped.
    pub fn post_task(&self, name: impl Into<Cow<'static, str>>, message: T) -> Task<()> {
        let queue = self.clone();
        Task::new(name, TaskKind::Other, async move { Ok(queue.post(message).await?) })
    }

    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.0.lock().count()
    }

    /// Is no message in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Was it closed?
    pub fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }
}

/// Why a message is not taken.
enum Refusal {
    Full,
    Closed,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn count(&self) -> usize {
        self.messages.len() + self.handed
    }

    /// Takes a message in, if there is room.
    fn offer(&mut self, bound: usize, message: T, wakers: &mut Vec<Waker>) -> Result<(), (T, Refusal)> {
        if self.is_closed {
            return Err((message, Refusal::Closed));
        }
        if self.count() >= bound {
            return Err((message, Refusal::Full));
        }
        self.push(message);
        self.settle(bound, wakers);
        Ok(())
    }

    fn push(&mut self, message: T) {
        self.messages.push_back((self.next, message));
        self.next += 1;
    }

    /// Serves whoever can be served.
    fn settle(&mut self, bound: usize, wakers: &mut Vec<Waker>) {
        loop {
            if self.getters.is_waiting()
                && let Some(message) = self.messages.pop_front()
            {
                self.handed += 1;
                wakers.extend(self.getters.serve(|()| Some(message)));
            } else if self.posters.is_waiting() && self.count() < bound {
                let mut came = None;
                wakers.extend(self.posters.serve(|message| {
                    came = Some(message);
                    Ok(())
                }));
                came.into_iter().for_each(|message| self.push(message));
            } else {
                break;
            }
        }
        // A message in a getter's hands may come back.
        if self.is_closed && self.count() == 0 {
            wakers.extend(std::iter::from_fn(|| self.getters.serve(|()| None)));
        }
    }

    /// Puts back what a getter was served and did not take.
    fn put_back(&mut self, number: u64, message: T) {
        self.handed -= 1;
        let at = self.messages.partition_point(|(other, _)| *other < number);
        self.messages.insert(at, (number, message));
    }
}

#[cold]
fn closed<T>(message: T) -> Unsent<T> {
    Unsent::new(message, Error::new(Kind::Cancelled, Origin::Caller, "the queue is closed"))
}

struct Getting<'a, T> {
    queue: &'a MessageQueue<T>,
    ticket: Option<Ticket>,
}

impl<T> Future for Getting<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let (mut waker, mut wakers) = (cx.waker().clone(), Vec::new());
        let shared = &*self.queue.0;
        let mut state = shared.lock();
        let got = match &self.ticket {
            Some(ticket) => {
                let Some(got) = state.getters.look(ticket, &mut waker) else { return Poll::Pending };
                self.ticket = None;
                state.handed -= usize::from(got.is_some());
                got
            }
            None => match state.messages.pop_front() {
                None if state.is_closed && state.count() == 0 => None,
                None => {
                    self.ticket = Some(state.getters.join((), waker));
                    return Poll::Pending;
                }
                got => got,
            },
        };
        state.settle(shared.bound, &mut wakers);
        drop(state);
        wake(wakers);
        Poll::Ready(got.map(|(_, message)| message))
    }
}

impl<T> Drop for Getting<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut wakers = Vec::new();
        let shared = &*self.queue.0;
        let mut state = shared.lock();
        let (left, served) = state.getters.leave(&ticket);
        if let Some((number, message)) = served.flatten() {
            state.put_back(number, message);
            state.settle(shared.bound, &mut wakers);
        }
        drop(state);
        wake(wakers);
        drop(left);
    }
}

struct Posting<'a, T> {
    queue: &'a MessageQueue<T>,
    stage: PostStage<T>,
}

enum PostStage<T> {
    /// Not polled yet.
    New(T),
    Waiting(Ticket),
    Done,
}

impl<T: Send + 'static> Future for Posting<'_, T> {
    type Output = Result<(), Unsent<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut waker, mut wakers) = (cx.waker().clone(), Vec::new());
        let this = &mut *self;
        let shared = &*this.queue.0;
        let mut state = shared.lock();
        let posted = match std::mem::replace(&mut this.stage, PostStage::Done) {
            PostStage::New(message) => match state.offer(shared.bound, message, &mut wakers) {
                Err((message, Refusal::Full)) => {
                    this.stage = PostStage::Waiting(state.posters.join(message, waker));
                    return Poll::Pending;
                }
                offered => offered.map_err(|(message, _)| message),
            },
            PostStage::Waiting(ticket) => match state.posters.look(&ticket, &mut waker) {
                None => {
                    this.stage = PostStage::Waiting(ticket);
                    return Poll::Pending;
                }
                Some(posted) => posted,
            },
            PostStage::Done => panic!("a future is not to be polled after it has ended"),
        };
        drop(state);
        wake(wakers);
        Poll::Ready(posted.map_err(closed))
    }
}

impl<T> Drop for Posting<'_, T> {
    fn drop(&mut self) {
        let PostStage::Waiting(ticket) = &self.stage else { return };
        let left = self.queue.0.lock().posters.leave(ticket);
        drop(left);
    }
}

impl<T> Unpin for Posting<'_, T> {}

impl<T> Clone for MessageQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for MessageQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("MessageQueue")
            .field("bound", &self.0.bound)
            .field("count", &state.count())
            .field("is_closed", &state.is_closed)
            .finish()
    }
}
