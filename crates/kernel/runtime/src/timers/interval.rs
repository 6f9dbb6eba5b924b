//! Waiting again and again.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::sleep::{Sleep, poll_budget, sleep_until};
use crate::clock::fresh_now;

/// What an interval does when a tick was taken late, by more than 5 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTick {
    /// The ticks that were missed come at once, until it has caught up: the number of ticks is right.
    #[default]
    Burst,
    /// The next tick comes a period after this one: the distance is right.
    Delay,
    /// The ticks that were missed are left out; the next comes at a whole number of periods from the beginning.
    Skip,
}

/// Ticks: at once, then each time this period has passed.
///
/// ```
/// # use millstream_runtime::{Engine, interval};
/// # let engine = Engine::builder().workers(1).build()?;
/// # engine.run(async |_| {
/// let mut beat = interval(std::time::Duration::from_millis(2));
/// let first = beat.tick().await;
/// assert_eq!(beat.tick().await - first, beat.period());
/// # })?;
/// # Ok::<(), millstream_base::Error>(())
/// ```
///
/// # Panics
/// When the period is zero; and where [`sleep`](crate::sleep()) does, when a tick is awaited.
pub fn interval(period: Duration) -> Interval {
    interval_at(fresh_now(), period)
}

/// The same with the first tick at this moment.
///
/// # Panics
/// As [`interval`].
pub fn interval_at(first: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval has a period");
    Interval { next: Some(sleep_until(first)), period, missed: MissedTick::default() }
}

/// What [`interval`] gives. Dropping it ends it.
#[derive(Debug)]
pub struct Interval {
    /// `None` when the next tick is beyond what the clock can tell.
    next: Option<Sleep>,
    period: Duration,
    missed: MissedTick,
}

impl Interval {
    /// Says what happens to ticks that are late.
    #[must_use]
    pub fn missed(mut self, missed: MissedTick) -> Self {
        self.missed = missed;
        self
    }

    /// The distance of its ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The next tick; gives the moment it was due at.
    ///
    /// Dropping the future loses no tick.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// The same as a poll.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let Some(next) = &mut self.next else { return Poll::Pending };
        ready!(poll_budget(cx));
        ready!(next.poll_elapsed(cx));
        let due = next.deadline().unwrap_or_else(fresh_now);
        match after(due, fresh_now(), self.period, self.missed) {
            Some(moment) => next.reset(moment),
            None => self.next = None,
        }
        Poll::Ready(due)
    }
}

/// The tick behind the one that was due at this moment.
fn after(due: Instant, now: Instant, period: Duration, missed: MissedTick) -> Option<Instant> {
    let regular = due.checked_add(period)?;
    let is_late = now.saturating_duration_since(due) > LATE;
    match missed {
        MissedTick::Delay if is_late => now.checked_add(period),
        MissedTick::Skip if is_late => {
            let into_period = now.duration_since(due).as_nanos() % period.as_nanos();
            now.checked_add(period)?.checked_sub(duration_of(into_period))
        }
        _ => Some(regular),
    }
}

fn duration_of(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let second = u64::try_from(nanos / SECOND).unwrap_or(u64::MAX);
    Duration::new(second, u32::try_from(nanos % SECOND).unwrap_or(0))
}

/// A tick is late from here on, as it is with tokio's: a timer's own lateness is below.
const LATE: Duration = Duration::from_millis(5);
