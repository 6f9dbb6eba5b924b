//! Timers with a name, which others can cancel.
//!
//! Rules:
//! 1. A timer is in its engine's list from its making until it fires, is cancelled or is dropped. Whoever takes it out, under
//!    the list's lock, has decided what became of it: so it has one outcome, and cancelling counts right.
//! 2. Wakers are cloned, called and dropped when the lock is free.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result};

use super::sleep::{Sleep, sleep};
use super::wheel::SleepWheel;
use crate::local::wake_each;
use crate::worker::stopped;
use crate::{Engine, Stage};

impl Engine {
    /// A timer of this name, one of any number: a future that ends with `Ok` after this span, or with an error when it is
    /// cancelled before. With [`Duration::MAX`] it only ends by being cancelled. It counts from this call on, polled or not,
    /// and can be awaited anywhere: off the workers, a worker of this engine keeps the time and wakes whoever waits, and no runtime is
    /// needed. Like [`sleep`](crate::sleep()), it is never early, and at most two milliseconds late unless that worker is busy.
    ///
    /// Whoever polls it is told what came first: a timer whose moment has passed can still be cancelled until it is polled.
    /// Dropping it takes it out of the list.
    ///
    /// ```
    /// use millstream_runtime::Engine;
    /// use std::time::Duration;
    /// let engine = Engine::builder().workers(1).build()?;
    /// engine.run(async |engine| {
    ///     let retry = engine.timer("retry", Duration::from_secs(60));
    ///     assert_eq!(engine.cancel_timers("retry", None), 1);
    ///     assert!(retry.await.unwrap_err().is_cancelled());
    ///     engine.timer("retry", Duration::from_millis(1)).await
    /// })??;
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of the future: [`Kind::Cancelled`], by [`cancel_timers`](Self::cancel_timers) or because the engine has stopped.
    pub fn timer(&self, name: &str, span: Duration) -> NamedTimer {
        let names = self.shared(|engine| Names::new(engine.stage() == Stage::Stopped));
        let (name, number) = names.add(name);
        let home = self.workers()[0].0.sleepers.get().cloned();
        NamedTimer { names, name, number, sleep: sleep(span), home, is_over: false }
    }

    /// Cancels the timers of this name that were made first, at most so many or all; gives how many they were. Whoever awaits them
    /// is woken here; a waker that panics is logged and keeps nobody behind it from being woken.
    pub fn cancel_timers(&self, name: &str, at_most: Option<usize>) -> usize {
        let names = self.shared(|engine| Names::new(engine.stage() == Stage::Stopped));
        names.cancel(name, at_most.unwrap_or(usize::MAX))
    }
}

/// The named timers of an engine.
pub(crate) struct Names(Mutex<State>);

struct State {
    is_closed: bool,
    next: u64,
    /// By name, then by age. A name without timers is not in it.
    timers: HashMap<Arc<str>, BTreeMap<u64, Option<Waker>>>,
}

/// What [`Engine::timer`] gives. Dropping it takes the timer out of the list.
#[must_use = "futures do nothing unless polled"]
pub struct NamedTimer {
    names: Arc<Names>,
    name: Arc<str>,
    number: u64,
    sleep: Sleep,
    /// Where it waits off the workers. When it has ended, the list is closed, or about to be.
    home: Option<SleepWheel>,
    is_over: bool,
}

impl Names {
    fn new(is_closed: bool) -> Self {
        Self(Mutex::new(State { is_closed, next: 0, timers: HashMap::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new timer: its name and number. In a list that is closed it is not in it.
    fn add(&self, name: &str) -> (Arc<str>, u64) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let number = state.next;
        state.next += 1;
        let name = state.timers.get_key_value(name).map_or_else(|| Arc::from(name), |(name, _)| name.clone());
        if !state.is_closed {
            state.timers.entry(name.clone()).or_default().insert(number, None);
        }
        (name, number)
    }

    fn cancel(&self, name: &str, at_most: usize) -> usize {
        let mut cancelled = BTreeMap::new();
        let mut guard = self.lock();
        if let Some(timers) = guard.timers.get_mut(name) {
            let rest = timers.keys().nth(at_most).copied();
            let rest = rest.map(|first| timers.split_off(&first)).unwrap_or_default();
            cancelled = std::mem::replace(timers, rest);
            if timers.is_empty() {
                guard.timers.remove(name);
            }
        }
        drop(guard);
        let count = cancelled.len();
        wake_each(cancelled.into_values().flatten());
        count
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().timers.len()
    }

    /// Cancels all, and whatever is made later.
    pub(crate) fn close(&self) {
        let timers = {
            let mut state = self.lock();
            state.is_closed = true;
            std::mem::take(&mut state.timers)
        };
        wake_each(timers.into_values().flat_map(BTreeMap::into_values).flatten());
    }

    /// Takes a timer out; says whether it was there.
    fn take(&self, name: &str, number: u64) -> bool {
        let mut state = self.lock();
        let Some(timers) = state.timers.get_mut(name) else { return false };
        let taken = timers.remove(&number);
        if timers.is_empty() {
            state.timers.remove(name);
        }
        drop(state);
        taken.is_some()
    }

    /// Sets whom to wake when a timer is cancelled; says whether it is still there.
    fn set_waker(&self, name: &str, number: u64, waker: &Waker) -> bool {
        let is_known = |known: &mut Option<Waker>| known.as_ref().is_some_and(|known| known.will_wake(waker));
        match self.look_at(name, number, is_known) {
            Some(false) => {}
            known => return known.is_some(),
        }
        let mut new = Some(waker.clone());
        // The old one is dropped behind it: rule 2.
        self.look_at(name, number, |place| std::mem::swap(place, &mut new)).is_some()
    }

    /// What `look` makes, under the lock, of a timer's waker; `None` where the timer is not there any more.
    fn look_at<R>(&self, name: &str, number: u64, look: impl FnOnce(&mut Option<Waker>) -> R) -> Option<R> {
        self.lock().timers.get_mut(name)?.get_mut(&number).map(look)
    }

    fn error(&self) -> Error {
        if self.lock().is_closed {
            return stopped();
        }
        Error::new(Kind::Cancelled, Origin::Caller, "timer cancelled")
    }
}

impl NamedTimer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Future for NamedTimer {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let has_fired = this.sleep.poll_with(this.home.as_ref(), cx).is_ready();
        let (name, number) = (&*this.name, this.number);
        let was_there = match has_fired {
            true => this.names.take(name, number),
            false => this.names.set_waker(name, number, cx.waker()),
        };
        this.is_over = has_fired || !was_there;
        match was_there {
            true if has_fired => Poll::Ready(Ok(())),
            true => Poll::Pending,
            false => Poll::Ready(Err(this.names.error().with_target(name))),
        }
    }
}

impl Drop for NamedTimer {
    fn drop(&mut self) {
        if !self.is_over {
            self.names.take(&self.name, self.number);
        }
    }
}

impl std::fmt::Debug for NamedTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedTimer").field("name", &self.name).finish_non_exhaustive()
    }
}
