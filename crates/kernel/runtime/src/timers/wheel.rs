//! The timers of one worker: its slots, its clock, and who may touch them.
//!
//! The worker's other wheel ([`crate::Wheel`]) is for deadlines that move with every request and seldom pass: an entry that
//! lives as long as its connection, moved by one store, looked at every 16 ms. These are for waiting: made, waited for once,
//! gone. Nothing is allocated for one, and one that fires is not touched by its owner again.
//!
//! Rules:
//! 1. The slots are touched under the lock. Only the driver has ticks come.
//! 2. `elapsed` is written under the lock, behind the slots. Whoever reads a tick there knows, without the lock, that all
//!    entries up to it are out of the slots: a [`Seat`] whose tick has come has no entry any more. Release, Acquire.
//! 3. A wheel whose worker ends is closed: all ticks have come, and everybody in it is woken, to wait elsewhere.
//! 4. Wakers of others are cloned, called and dropped when the lock is free.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::driver::drive;
use super::slots::{Slots, Who};
use crate::local::wake_each;
use crate::reactor;

/// The timers of one worker. Clones share them.
#[derive(Clone)]
pub(crate) struct SleepWheel(Arc<Shared>);

struct Shared {
    origin: Instant,
    elapsed: AtomicU64,
    state: Mutex<State>,
}

struct State {
    slots: Slots,
    /// Whose tick has come, and who has not been woken yet.
    due: VecDeque<Who>,
    /// The tick that the driver sleeps until.
    sleeps_until: u64,
    driver: Option<Waker>,
}

/// A place in a wheel, until its tick has come. Dropping it gives the place up.
pub(super) struct Seat {
    wheel: SleepWheel,
    tick: u64,
    key: usize,
}

/// What became of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its tick has not come.
    Waits,
    /// Its tick has come.
    Fired,
    /// Its wheel has ended before.
    Closed,
}

thread_local! {
    static HERE: RefCell<Option<SleepWheel>> = const { RefCell::new(None) };
}

/// The current thread's timers stand in this wheel from here on.
pub(crate) fn enter(wheel: SleepWheel) {
    HERE.set(Some(wheel));
}

/// Closes the wheel of the current thread.
pub(crate) fn leave() {
    // The thread's locals are there: they go after all that its function has.
    if let Some(wheel) = HERE.take() {
        wheel.close();
    }
}

impl SleepWheel {
    pub(crate) fn new(origin: Instant) -> Self {
        let state = State { slots: Slots::new(), due: VecDeque::new(), sleeps_until: u64::MAX, driver: None };
        Self(Arc::new(Shared { origin, elapsed: AtomicU64::new(0), state: Mutex::new(state) }))
    }

    /// A seat in the wheel of the current thread, if it has one.
    #[inline]
    pub(super) fn seat_here(deadline: Instant, cx: &Context<'_>) -> Option<Seat> {
        HERE.try_with(|here| here.borrow().as_ref().and_then(|wheel| wheel.seat(deadline, Who::of(cx, true))))
            .ok()?
    }

    /// A seat for who polls on another thread than the wheel's worker's; `None` where the worker has ended.
    pub(super) fn seat_from_outside(&self, deadline: Instant, cx: &Context<'_>) -> Option<Seat> {
        self.seat(deadline, Who::of(cx, false))
    }

    #[cfg(test)]
    pub(super) fn here() -> Option<Self> {
        HERE.with_borrow(Clone::clone)
    }

    /// How many stand in it.
    pub(super) fn len(&self) -> usize {
        self.lock().slots.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first tick at or after this moment: never early, and late by less than a tick.
    fn tick_of(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.0.origin);
        since.as_secs().saturating_mul(1000).saturating_add(since.subsec_nanos().div_ceil(NANOS).into())
    }

    /// The tick that has begun by this moment.
    fn tick_begun(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.0.origin);
        since.as_secs().saturating_mul(1000).saturating_add((since.subsec_nanos() / NANOS).into())
    }

    fn seat(&self, deadline: Instant, who: Who) -> Option<Seat> {
        let mut state = self.lock();
        if self.0.elapsed.load(Relaxed) == CLOSED {
            return None;
        }
        // A tick that has come already comes once more.
        let tick = self.tick_of(deadline).clamp(state.slots.elapsed() + 1, LAST);
        let key = state.slots.insert(tick, who);
        let driver = if tick < state.sleeps_until { state.hurry(tick) } else { None };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Some(Seat { wheel: self.clone(), tick, key })
    }

    /// Runs for as long as the worker.
    pub(crate) async fn drive(self) {
        let mut woken = Woken::default();
        drive(|now, cx| self.visit(now, &mut woken, cx)).await;
    }

    /// Wakes who is due by `now`; gives the moment of the next tick to look at.
    fn visit(&self, now: Instant, woken: &mut Woken, cx: &Context<'_>) -> Option<Instant> {
        let (next, is_rest) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.slots.advance(self.tick_begun(now), &mut state.due);
            self.0.elapsed.store(state.slots.elapsed(), Release); // rule 2
            woken.take(state.due.drain(..state.due.len().min(WAKES)));
            let is_rest = !state.due.is_empty();
            if !is_rest {
                state.due.shrink_to(WAKES);
            }
            let next = state.slots.next_tick();
            state.sleeps_until = next.unwrap_or(u64::MAX);
            if !state.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                state.driver = Some(cx.waker().clone());
            }
            (next, is_rest)
        };
        woken.wake();
        if is_rest {
            cx.waker().wake_by_ref();
        }
        // A moment that the clock can't tell does not come.
        next.and_then(|tick| self.0.origin.checked_add(Duration::from_millis(tick)))
    }

    /// Rule 3.
    fn close(&self) {
        let mut due = {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.slots.clear(&mut state.due);
            self.0.elapsed.store(CLOSED, Release); // rule 2
            std::mem::take(&mut state.due)
        };
        // The worker's own tasks end with it.
        wake_each(due.drain(..).filter_map(|who| match who {
            Who::Other(waker) => Some(waker),
            Who::Task(_) => None,
        }));
    }

    /// Is it the wheel of the current thread?
    fn is_here(&self) -> bool {
        let is_same = |wheel: &Self| Arc::ptr_eq(&wheel.0, &self.0);
        HERE.try_with(|here| here.borrow().as_ref().is_some_and(is_same)).unwrap_or(false)
    }
}

/// Whom a visit wakes, sorted.
#[derive(Default)]
struct Woken {
    tasks: Vec<usize>,
    others: Vec<Waker>,
}

impl Woken {
    fn take(&mut self, due: impl Iterator<Item = Who>) {
        for who in due {
            match who {
                Who::Task(key) => self.tasks.push(key),
                Who::Other(waker) => self.others.push(waker),
            }
        }
    }

    fn wake(&mut self) {
        if !self.tasks.is_empty() {
            reactor::queue_due(self.tasks.drain(..));
        }
        wake_each(self.others.drain(..));
    }
}

impl State {
    /// The driver, to be woken because there is something to do before it would look.
    #[cold]
    fn hurry(&mut self, tick: u64) -> Option<Waker> {
        self.sleeps_until = tick;
        self.driver.clone()
    }
}

impl Seat {
    /// Has its tick come? If not, who polls is woken when it does.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Fate {
        match self.fate() {
            Fate::Waits => self.set_who(cx),
            fate => fate,
        }
    }

    #[inline]
    fn fate(&self) -> Fate {
        match self.wheel.0.elapsed.load(Acquire) {
            elapsed if elapsed < self.tick => Fate::Waits,
            CLOSED => Fate::Closed,
            _ => Fate::Fired,
        }
    }

    fn set_who(&self, cx: &Context<'_>) -> Fate {
        let is_here = self.wheel.is_here();
        let is_known = |known: &mut Who| known.is(cx, is_here);
        match self.look_at(is_known) {
            Ok(false) => {}
            Ok(true) => return Fate::Waits,
            Err(fate) => return fate,
        }
        let mut new = Who::of(cx, is_here);
        // The old one is dropped behind it: rule 4.
        self.look_at(|known| std::mem::swap(known, &mut new)).err().unwrap_or(Fate::Waits)
    }

    /// What `look` makes, under the lock, of who waits; an error where nobody does any more.
    fn look_at<R>(&self, look: impl FnOnce(&mut Who) -> R) -> Result<R, Fate> {
        let mut state = self.wheel.lock();
        match self.fate() {
            Fate::Waits => Ok(look(state.slots.who_mut(self.key))),
            fate => Err(fate),
        }
    }

    /// Was it taken for a moment as late as this one?
    pub(super) fn is_for(&self, deadline: Instant) -> bool {
        self.wheel.tick_of(deadline) <= self.tick
    }
}

impl Drop for Seat {
    #[inline]
    fn drop(&mut self) {
        if self.fate() != Fate::Waits {
            return;
        }
        let mut state = self.wheel.lock();
        let who = (self.fate() == Fate::Waits).then(|| state.slots.remove(self.key));
        drop(state);
        drop(who);
    }
}

impl std::fmt::Debug for SleepWheel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SleepWheel").field("timers", &self.len()).finish()
    }
}

/// A tick is 1 ms, tokio's own precision.
const NANOS: u32 = 1_000_000;
/// The tick that has come in a wheel that is closed.
const CLOSED: u64 = u64::MAX;
/// The last tick of a seat. No clock comes to it.
const LAST: u64 = CLOSED - 1;
/// Wakes in one turn; then others have theirs. A guess: at 100 ns a wake it is a tenth of a millisecond.
const WAKES: usize = 1024;
