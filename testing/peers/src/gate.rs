//! What tests wait for each other with: a gate that opens once, and a count that others wait to rise.
//!
//! Both wait in threads ([`Gate::wait`]) and in tasks of any runtime ([`Gate::passed`]).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// Opens once. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Count);

/// Rises, and wakes who waits for that. Clones are the same count.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    tasks: Vec<Waker>,
}

impl Count {
    /// A count at zero.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one and gives the sum.
    pub fn rise(&self) -> u64 {
        self.add(1)
    }

    /// Adds `amount` and gives the sum.
    pub fn add(&self, amount: u64) -> u64 {
        let (count, tasks) = {
            let mut state = self.lock();
            state.count += amount;
            (state.count, std::mem::take(&mut state.tasks))
        };
        self.0.changed.notify_all();
        tasks.into_iter().for_each(Waker::wake);
        count
    }

    /// What it is now.
    pub fn value(&self) -> u64 {
        self.lock().count
    }

    /// Blocks the thread until the count is at least `least`, and gives it.
    ///
    /// # Panics
    /// After ten seconds.
    #[track_caller]
    pub fn wait_for(&self, least: u64) -> u64 {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while state.count < least {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {PATIENCE:?} for a count of {least}, it is {}", state.count);
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.count
    }

    /// Ends once the count is at least `least`. Dropping the future changes nothing.
    pub async fn reached(&self, least: u64) -> u64 {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.count >= least {
                return Poll::Ready(state.count);
            }
            state.tasks.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// What adds one when it is dropped.
    pub fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it for everybody, for ever.
    pub fn open(&self) {
        self.0.rise();
    }

    /// Is it open?
    pub fn is_open(&self) -> bool {
        self.0.value() > 0
    }

    /// Blocks the thread until it is open.
    ///
    /// # Panics
    /// After ten seconds.
    #[track_caller]
    pub fn wait(&self) {
        self.0.wait_for(1);
    }

    /// Ends once it is open. Dropping the future changes nothing.
    pub async fn passed(&self) {
        self.0.reached(1).await;
    }

    /// What opens it when it is dropped.
    pub fn on_drop(&self) -> OnDrop {
        self.0.on_drop()
    }
}

/// Adds one, or opens a gate, when it is dropped: put it into what should be dropped.
#[derive(Debug)]
pub struct OnDrop(Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.rise();
    }
}

/// Waits until `is_so`, for what has no gate: a counter of the tested program. Gives how long it took.
///
/// # Panics
/// After ten seconds.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    for attempt in 0.. {
        if is_so() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for: {what}");
        if attempt < 100 {
            std::thread::yield_now();
        } else {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_thread_and_waiting_task_pass_when_the_gate_opens() {
        let (gate, here) = (Gate::new(), Gate::new());
        let waits = std::thread::spawn({
            let (gate, here) = (gate.clone(), here.clone());
            move || {
                here.open();
                gate.wait();
            }
        });
        here.wait();
        assert!(!gate.is_open());
        drop(gate.on_drop());
        waits.join().expect("passed");
        let mut passed = std::pin::pin!(gate.passed());
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(passed.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn count_is_reached_by_the_rise_that_reaches_it() {
        let count = Count::new();
        let mut reached = std::pin::pin!(count.reached(2));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(reached.as_mut().poll(&mut cx).is_pending());
        count.rise();
        assert!(reached.as_mut().poll(&mut cx).is_pending());
        count.rise();
        assert!(reached.as_mut().poll(&mut cx).is_ready());
        assert_eq!(count.wait_for(2), 2);
    }
}
