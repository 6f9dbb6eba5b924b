//! Deadlines of connections: a coarse wheel per worker in which re-arming is one store.
//!
//! A hashed wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 6) of 1,024 slots of
//! 16 ms. A [`Timer`] that is moved later only stores its new moment; the wheel finds out when the old slot comes up and
//! moves it then. So a keep-alive connection costs one store a request and a few visits a minute.
//!
//! Rules:
//! 1. `Entry::at` is the truth: the tick at which the timer is due, [`NEVER`] when disarmed. Only its `Timer` and its `Alarm`s write it.
//! 2. `Entry::slotted` is the tick under which the wheel holds the entry, [`NEVER`] when it doesn't. Written only under
//!    the wheel's lock.
//! 3. Whoever arms stores `at`, then loads `slotted`; whoever visits stores `slotted`, then loads `at`; both `SeqCst`.
//!    So of an arming and a visit at the same time at least one sees the other, and the entry is never left in a slot
//!    later than its moment.
//! 4. Wakers are called after the wheel's lock is released.

// Long because its tests stand here: they look at ticks and slots, which nobody else may see.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::clock::micros_of;
use crate::local::contain_call;
use crate::timers::drive;

/// How long a tick is: the precision of every deadline kept here.
const TICK_MS: u64 = 16;
/// Slots in the wheel: one turn takes 16.4 s. A later deadline is visited once a turn.
const SLOTS: usize = 1024;
/// The tick of a timer that is not armed.
const NEVER: u64 = u64::MAX;
/// The tick of a timer that was rung: always past. Tick 0 is the moment the wheel was made, so no deadline is lost.
const RUNG: u64 = 0;
/// The end of a slot's list.
const NIL: usize = usize::MAX;

/// The deadlines of one worker's connections. Clones share the wheel.
#[derive(Clone)]
pub struct Wheel(Arc<Shared>);

struct Shared {
    origin: Instant,
    /// The same, as [`micros_of`] has it.
    origin_us: u64,
    state: Mutex<State>,
}

struct State {
    nodes: Slab<Node>,
    heads: Box<[usize; SLOTS]>,
    /// All ticks before this one have been visited.
    visited: u64,
    /// The tick the driver sleeps until.
    sleeps_until: u64,
    driver: Option<Waker>,
}

struct Node {
    entry: Arc<Entry>,
    tick: u64,
    previous: usize,
    next: usize,
}

struct Entry {
    at: AtomicU64,
    slotted: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// One deadline that can be moved. Dropping it takes it out of the wheel.
pub struct Timer {
    wheel: Wheel,
    entry: Arc<Entry>,
    key: usize,
}

/// Rings a [`Timer`] from elsewhere. It does not keep the timer in the wheel.
#[derive(Clone)]
pub struct Alarm(Arc<Entry>);

impl Alarm {
    /// Makes the timer expire now, and wakes its task. Arming the timer again takes it back.
    pub fn ring(&self) {
        self.0.at.store(RUNG, SeqCst);
        self.0.wake();
    }

    /// Wakes the timer's task without changing the deadline.
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alarm")
    }
}

impl Wheel {
    pub(crate) fn new(origin: Instant) -> Self {
        let state = State {
            nodes: Slab::new(),
            heads: Box::new([NIL; SLOTS]),
            visited: 0,
            sleeps_until: NEVER,
            driver: None,
        };
        Self(Arc::new(Shared { origin, origin_us: micros_of(origin), state: Mutex::new(state) }))
    }

    /// A timer, not armed yet.
    pub fn timer(&self) -> Timer {
        let entry = Arc::new(Entry {
            at: AtomicU64::new(NEVER),
            slotted: AtomicU64::new(NEVER),
            waker: Mutex::new(None),
        });
        let node = Node { entry: entry.clone(), tick: NEVER, previous: NIL, next: NIL };
        let key = self.lock().nodes.insert(node);
        Timer { wheel: self.clone(), entry, key }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first tick at or after this moment: never early, at most 16 ms late.
    fn tick_of(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.0.origin);
        // Rounded up twice: a begun millisecond counts.
        let begun = u64::from(!since.subsec_nanos().is_multiple_of(1_000_000));
        u64::try_from(since.as_millis())
            .unwrap_or(NEVER - TICK_MS - 1)
            .saturating_add(begun)
            .div_ceil(TICK_MS)
    }

    /// The tick that has begun by this moment.
    fn tick_begun(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.0.origin);
        u64::try_from(since.as_millis()).unwrap_or(NEVER - 1) / TICK_MS
    }

    /// Runs for as long as the worker: sleeps until the next slot with an entry, visits, sleeps again.
    pub(crate) async fn drive(self) {
        let moment = |tick| self.0.origin + Duration::from_millis(tick * TICK_MS);
        drive(|now, cx| Some(self.visit(now, cx)).filter(|next| *next != NEVER).map(moment)).await;
    }

    /// Fires or moves what is due by `now`; gives the next tick to visit.
    fn visit(&self, now: Instant, cx: &mut Context<'_>) -> u64 {
        let mut due = Vec::new();
        let until = self.tick_begun(now);
        let next = {
            let mut state = self.lock();
            state.visit_until(until, &mut due);
            let next = state.next_tick();
            state.sleeps_until = next;
            match &mut state.driver {
                Some(driver) if driver.will_wake(cx.waker()) => {}
                driver => *driver = Some(cx.waker().clone()),
            }
            next
        };
        due.iter().for_each(|entry: &Arc<Entry>| entry.wake());
        next
    }
}

impl State {
    fn visit_until(&mut self, until: u64, due: &mut Vec<Arc<Entry>>) {
        if until < self.visited {
            return;
        }
        // After a long sleep one turn over all slots is enough.
        let first = self.visited.max(until.saturating_sub(SLOTS as u64 - 1));
        for tick in first..=until {
            self.visit_slot(slot_of(tick), until, due);
        }
        self.visited = until + 1;
    }

    fn visit_slot(&mut self, slot: usize, until: u64, due: &mut Vec<Arc<Entry>>) {
        let mut key = self.heads[slot];
        while key != NIL {
            let next = self.nodes[key].next;
            if self.nodes[key].tick <= until {
                self.visit_node(key, until, due);
            }
            key = next;
        }
    }

    fn visit_node(&mut self, key: usize, until: u64, due: &mut Vec<Arc<Entry>>) {
        self.unlink(key);
        let entry = self.nodes[key].entry.clone();
        // Rule 3: store `slotted`, then load `at`.
        entry.slotted.store(NEVER, SeqCst);
        let at = entry.at.load(SeqCst);
        if at <= until {
            due.push(entry);
        } else if at != NEVER {
            self.link(key, at);
        }
    }

    fn link(&mut self, key: usize, tick: u64) {
        let tick = tick.max(self.visited);
        let slot = slot_of(tick);
        let head = self.heads[slot];
        if head != NIL {
            self.nodes[head].previous = key;
        }
        let node = &mut self.nodes[key];
        (node.tick, node.previous, node.next) = (tick, NIL, head);
        node.entry.slotted.store(tick, SeqCst);
        self.heads[slot] = key;
    }

    fn unlink(&mut self, key: usize) {
        let node = &mut self.nodes[key];
        let (tick, previous, next) = (node.tick, node.previous, node.next);
        if tick == NEVER {
            return;
        }
        (node.tick, node.previous, node.next) = (NEVER, NIL, NIL);
        if next != NIL {
            self.nodes[next].previous = previous;
        }
        if previous != NIL {
            self.nodes[previous].next = next;
        } else {
            self.heads[slot_of(tick)] = next;
        }
    }

    /// The tick of the next slot that holds anything, searched over one turn.
    fn next_tick(&self) -> u64 {
        let turn = self.visited..self.visited + SLOTS as u64;
        turn.into_iter().find(|tick| self.heads[slot_of(*tick)] != NIL).unwrap_or(NEVER)
    }
}

#[allow(clippy::cast_possible_truncation)] // the remainder is below SLOTS
fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

impl Entry {
    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            contain_call(|| waker.wake());
        }
    }
}

impl Timer {
    /// Sets the deadline. Moving it later is one store; moving it before every slot that would look at it takes the
    /// wheel's lock once.
    #[inline]
    pub fn arm(&self, deadline: Instant) {
        self.arm_tick(self.wheel.tick_of(deadline));
    }

    /// [`arm`](Self::arm) with `now + span`, cheaper where `now` is the moment of the present turn.
    #[inline]
    pub fn arm_after(&self, now: Instant, span: Duration) {
        // A microsecond that has begun counts, of the moment and of the span: never early.
        let span =
            span.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(span.subsec_micros()) + 2);
        let since = micros_of(now).saturating_sub(self.wheel.0.origin_us);
        self.arm_tick(since.saturating_add(span).div_ceil(TICK_MS * 1000));
    }

    #[inline]
    fn arm_tick(&self, tick: u64) {
        let tick = tick.max(RUNG + 1);
        // Rule 3: store `at`, then load `slotted`.
        self.entry.at.store(tick, SeqCst);
        if tick < self.entry.slotted.load(SeqCst) {
            self.move_forward(tick);
        }
    }

    /// Takes the deadline away.
    #[inline]
    pub fn disarm(&self) {
        self.entry.at.store(NEVER, SeqCst);
    }

    #[cold]
    fn move_forward(&self, tick: u64) {
        let driver = {
            let mut state = self.wheel.lock();
            // Another visit may have come first.
            if tick >= self.entry.slotted.load(SeqCst) {
                return;
            }
            state.unlink(self.key);
            state.link(self.key, tick);
            let earlier = tick < state.sleeps_until;
            if earlier {
                state.sleeps_until = tick;
            }
            if earlier { state.driver.clone() } else { None }
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Has the deadline passed? If not, the task is woken when it does. A timer that is not armed never passes.
    ///
    /// One task at a time: the last one that polled is woken.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.register(cx.waker());
        let at = self.entry.at.load(SeqCst);
        if at != NEVER && at <= self.wheel.tick_begun(crate::now()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Sets whom to wake, without looking at the clock.
    pub fn register(&self, waker: &Waker) {
        let mut slot = self.entry.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(known) if known.will_wake(waker) => {}
            _ => *slot = Some(waker.clone()),
        }
    }

    /// A handle with which others make it expire.
    pub fn alarm(&self) -> Alarm {
        Alarm(self.entry.clone())
    }

    /// Was it rung, and not armed since?
    pub fn is_rung(&self) -> bool {
        self.entry.at.load(SeqCst) == RUNG
    }

    /// Has the wheel seen the deadline pass, or was it rung, and was it not armed since? Without a look at the clock: for
    /// a task that was woken, and asks why.
    #[inline]
    pub fn has_fired(&self) -> bool {
        // Rule 3: an armed timer that has not fired is in a slot. Only its own worker arms and visits it.
        let at = self.entry.at.load(Relaxed);
        at == RUNG || (at != NEVER && self.entry.slotted.load(Relaxed) == NEVER)
    }

    /// Has the deadline passed by `now`?
    #[inline]
    pub fn is_expired(&self, now: Instant) -> bool {
        let at = self.entry.at.load(Relaxed);
        at != NEVER && at <= self.wheel.tick_begun(now)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut state = self.wheel.lock();
        state.unlink(self.key);
        let node = state.nodes.try_remove(self.key);
        drop(state);
        drop(node);
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").field("at", &self.entry.at).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Wheel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wheel").field("timers", &self.lock().nodes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn expired(timer: &Timer) {
        poll_fn(|cx| timer.poll_expired(cx)).await;
    }

    fn wheel() -> Wheel {
        let wheel = Wheel::new(crate::now());
        tokio::spawn(wheel.clone().drive());
        wheel
    }

    #[tokio::test(start_paused = true)]
    async fn timer_fires_never_early_and_within_a_tick() {
        let wheel = wheel();
        for us in [0, 1_000, 15_000, 15_999, 16_000, 16_001, 17_000, 80_900, 100_000, 16_384_000, 61_000_000]
        {
            let timer = wheel.timer();
            let (start, span) = (crate::now(), Duration::from_micros(us));
            timer.arm(start + span);
            expired(&timer).await;
            let took = crate::now() - start;
            assert!(took >= span, "{span:?} fired after {took:?}");
            assert!(took <= span + Duration::from_millis(2 * TICK_MS), "{span:?} fired after {took:?}");
            let start = crate::now();
            timer.arm_after(start, span);
            expired(&timer).await;
            let took = crate::now() - start;
            assert!(took >= span, "{span:?} fired after {took:?}");
            assert!(took <= span + Duration::from_millis(2 * TICK_MS), "{span:?} fired after {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn moving_later_holds_and_moving_earlier_holds() {
        let wheel = wheel();
        let timer = wheel.timer();
        let start = crate::now();
        timer.arm(start + Duration::from_secs(1));
        timer.arm(start + Duration::from_secs(5));
        expired(&timer).await;
        assert!(crate::now() - start >= Duration::from_secs(5));

        let start = crate::now();
        timer.arm(start + Duration::from_secs(60));
        tokio::time::sleep(Duration::from_secs(1)).await;
        timer.arm(start + Duration::from_secs(2));
        expired(&timer).await;
        assert!((Duration::from_secs(2)..Duration::from_millis(2050)).contains(&(crate::now() - start)));
    }

    #[tokio::test(start_paused = true)]
    async fn disarmed_timer_stays_silent_and_dropped_timer_leaves_the_wheel() {
        let wheel = wheel();
        let timer = wheel.timer();
        timer.arm(crate::now() + Duration::from_millis(50));
        timer.disarm();
        let waited = tokio::time::timeout(Duration::from_secs(30), expired(&timer)).await;
        assert!(waited.is_err());
        timer.arm(crate::now() + Duration::from_secs(5));
        drop(timer);
        assert!(wheel.lock().nodes.is_empty());
        assert!(wheel.lock().heads.iter().all(|head| *head == NIL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_timers_in_one_slot_list_all_fire() {
        let wheel = wheel();
        let start = crate::now();
        let timers: Vec<_> = (0..1000u64)
            .map(|n| {
                let timer = wheel.timer();
                timer.arm(start + Duration::from_millis(n * 37 % 40_000));
                timer
            })
            .collect();
        for timer in &timers {
            expired(timer).await;
        }
        assert!(crate::now() - start <= Duration::from_millis(40_000));
    }

    #[test]
    fn arming_and_visiting_at_once_never_loses_a_deadline() {
        // The driver visits on one thread while another moves the deadline back and forth.
        let wheel = Wheel::new(Instant::now());
        let timer = wheel.timer();
        let mut cx = Context::from_waker(Waker::noop());
        for round in 0..2_000u64 {
            timer.arm(wheel.0.origin + Duration::from_millis((round + 50) * TICK_MS));
            std::thread::scope(|scope| {
                let late = wheel.0.origin + Duration::from_millis((round + 1) * TICK_MS);
                let wheel = &wheel;
                scope.spawn(move || {
                    let mut cx = Context::from_waker(Waker::noop());
                    wheel.visit(late, &mut cx)
                });
                timer.arm(wheel.0.origin + Duration::from_millis((round + 2) * TICK_MS));
            });
            let at = timer.entry.at.load(SeqCst);
            let slotted = timer.entry.slotted.load(SeqCst);
            assert!(slotted <= at.max(round + 2), "round {round}: due at {at} but looked at {slotted}");
            wheel.visit(wheel.0.origin + Duration::from_millis((round + 1) * TICK_MS), &mut cx);
        }
    }
}
