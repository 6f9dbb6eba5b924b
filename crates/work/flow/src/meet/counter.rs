//! Something awaited until it has been counted up to a target.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::line::{Line, Ticket};
use super::registry::Place;
use super::sync::{Mutex, lock, wake};
use crate::{Task, TaskKind};

/// Counts up to a target; any number of tasks may wait until it is reached. Clones are the same counter. It goes up only, and once
/// reached it stays so.
///
/// A counter with a name ([`Names::counter`](crate::Names::counter)) is counted by that name as well, while a clone of it lives.
///
/// ```
/// use millstream_flow::Counter;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let counter = Counter::new(2);
/// assert_eq!(counter.count(), 0);
/// assert_eq!(counter.count_by(3), 2, "two more than it needed");
/// counter.wait().await;
/// # });
/// ```
#[derive(Clone)]
pub struct Counter {
    tally: Arc<Tally>,
    /// Given up with the last clone.
    place: Option<Arc<Place>>,
}

/// How far a counter is, and who waits for it.
pub(crate) struct Tally {
    target: u64,
    state: Mutex<State>,
}

struct State {
    left: u64,
    line: Line<(), ()>,
}

impl Counter {
    /// Reached when it has been counted so often; at once with 0.
    pub fn new(target: u64) -> Self {
        Self::with(Arc::new(Tally::new(target)), None)
    }

    pub(crate) fn with(tally: Arc<Tally>, place: Option<Place>) -> Self {
        Self { tally, place: place.map(Arc::new) }
    }

    /// Counts one; gives 1 if that is more than was needed, else 0.
    pub fn count(&self) -> u64 {
        self.count_by(1)
    }

    /// Counts so many; gives how many of them are more than were needed. Those change nothing: also with a name they are not passed on
    /// to another counter, which [`Names::count_by`](crate::Names::count_by) does.
    pub fn count_by(&self, count: u64) -> u64 {
        let mut wakers = Vec::new();
        let surplus = self.tally.take(count, &mut wakers);
        wake(wakers);
        surplus
    }

    /// How often it must be counted to be reached.
    pub fn target(&self) -> u64 {
        self.tally.target
    }

    /// How many are missing.
    pub fn left(&self) -> u64 {
        lock(&self.tally.state).left
    }

    /// Ends when the target is reached. Dropping it changes nothing for the others who wait. A counter does not know whether anybody is
    /// left to count it: where that is in doubt, give the task that waits a [`timeout`](Task::timeout).
    pub async fn wait(&self) {
        Waiting { tally: &self.tally, ticket: None }.await;
    }

    /// [`wait`](Self::wait) as a task.
    ///
    /// ```
    /// use millstream_flow::{Counter, Parallel, Task};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let counter = Counter::new(1);
    /// let wait = counter.wait_task("wait");
    /// let count = Task::empty().map(move |()| drop(counter.count()));
    /// Parallel::of("both", [wait, count]).all().await?;
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn wait_task(&self, name: impl Into<Cow<'static, str>>) -> Task<()> {
        let counter = self.clone();
        Task::new(name, TaskKind::Other, async move {
            counter.wait().await;
            Ok(())
        })
    }
}

impl Tally {
    pub(crate) fn new(target: u64) -> Self {
        Self { target, state: Mutex::new(State { left: target, line: Line::new() }) }
    }

    /// Takes what is needed of `count`, and gives the rest. Who is to be woken goes to `wakers`.
    pub(crate) fn take(&self, count: u64, wakers: &mut Vec<Waker>) -> u64 {
        let mut state = lock(&self.state);
        let taken = count.min(state.left);
        state.left -= taken;
        if state.left == 0 {
            wakers.extend(std::iter::from_fn(|| state.line.serve(|()| ())));
        }
        count - taken
    }

    pub(crate) fn is_reached(&self) -> bool {
        lock(&self.state).left == 0
    }
}

struct Waiting<'a> {
    tally: &'a Tally,
    ticket: Option<Ticket>,
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = cx.waker().clone();
        let mut state = lock(&self.tally.state);
        if state.left == 0 {
            return Poll::Ready(());
        }
        match &self.ticket {
            Some(ticket) => drop(state.line.look(ticket, &mut waker)),
            None => self.ticket = Some(state.line.join((), waker)),
        }
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let left = lock(&self.tally.state).line.leave(&ticket);
        drop(left);
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Counter");
        if let Some(place) = &self.place {
            debug.field("name", &place.name());
        }
        debug.field("left", &self.left()).field("target", &self.target()).finish()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_go_when_the_target_is_reached() {
        let counter = Counter::new(3);
        let tasks: Vec<_> = (0..5).map(|_| tokio::spawn(counter.wait_task("wait"))).collect();
        assert_eq!((counter.count(), counter.left()), (0, 2));
        tokio::task::yield_now().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        assert_eq!((counter.count_by(2), counter.left()), (0, 0));
        for task in tasks {
            task.await.expect("no panic").expect("it never fails");
        }
        assert_eq!((counter.count(), counter.count_by(u64::MAX)), (1, u64::MAX));
        counter.wait().await;
    }

    #[tokio::test]
    async fn nothing_stays_of_who_stopped_waiting() {
        let mut cx = Context::from_waker(Waker::noop());
        let counter = Counter::new(1);
        let line = || lock(&counter.tally.state).line.len();
        drop(counter.wait());
        {
            let mut waiting = pin!(counter.wait());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            assert_eq!(line(), 1);
        }
        assert_eq!(line(), 0);
        {
            // Dropped when it has been woken, before it looked.
            let mut waiting = pin!(counter.wait());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            counter.count();
        }
        assert_eq!(line(), 0);
    }

    #[tokio::test]
    async fn target_of_zero_is_reached() {
        let counter = Counter::new(0);
        counter.wait().await;
        assert_eq!((counter.count_by(0), counter.count_by(7)), (0, 7));
    }
}
