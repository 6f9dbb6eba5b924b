//! Waiting once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::task::coop::{has_budget_remaining, poll_proceed};

use super::wheel::{Fate, Seat, SleepWheel};
use crate::clock::{fresh_now, turn_now};

/// Waits for this long: never less, at most two milliseconds more unless the worker is busy. With [`Duration::MAX`], or
/// whatever else is beyond what the clock can tell, it does not end.
///
/// The span begins with this call, not with the first poll. Zero ends at the first poll.
///
/// ```
/// # use millstream_runtime::{Engine, sleep};
/// # let engine = Engine::builder().workers(1).build()?;
/// # engine.run(async |_| {
/// let before = std::time::Instant::now();
/// sleep(std::time::Duration::from_millis(3)).await;
/// assert!(before.elapsed() >= std::time::Duration::from_millis(3));
/// # })?;
/// # Ok::<(), millstream_base::Error>(())
/// ```
///
/// # Panics
/// Of the future: when it is polled where there is neither a worker nor a tokio runtime with timers. A
/// [timer with a name](crate::Engine::timer) waits anywhere.
pub fn sleep(span: Duration) -> Sleep {
    Sleep { deadline: fresh_now().checked_add(span), place: Place::Nowhere }
}

/// Waits for this moment, as [`sleep`] does, and panics where that does.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline: Some(deadline), place: Place::Nowhere }
}

/// Ends at its deadline. It can be moved to another thread, worker or runtime, also after it was polled.
///
/// Dropping it takes it out of the timers, whatever their number, in the same short time.
///
/// # Panics
/// When it is polled where there is neither a worker nor a tokio runtime with timers.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    /// `None`: never.
    deadline: Option<Instant>,
    place: Place,
}

/// Where it stands while it waits.
enum Place {
    Nowhere,
    Wheel(Seat),
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Over,
}

impl Sleep {
    /// The moment it ends at; `None` if it does not.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Has it ended, as far as polls have told?
    pub fn is_elapsed(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    /// Moves the deadline; one that has ended waits again. Moving it later costs a store. The task that waits is woken at the
    /// new deadline if it polls again after this, as whoever calls this in a poll will.
    pub fn reset(&mut self, deadline: Instant) {
        let keeps_place = match &self.place {
            Place::Wheel(_) => self.deadline.is_some_and(|old| old <= deadline),
            _ => false,
        };
        if !keeps_place {
            self.place = Place::Nowhere;
        }
        self.deadline = Some(deadline);
    }

    /// The same as [`Future::poll`]; on a thread that is no worker it waits in the wheel of this one, and goes on waiting when that
    /// has ended.
    pub(super) fn poll_with(&mut self, home: Option<&SleepWheel>, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.place, Place::Nowhere) {
            ready!(poll_budget(cx));
        }
        self.poll_place(home, cx)
    }

    /// The same as [`Future::poll`], whatever the task's budget: for who has asked for it already.
    pub(super) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_place(None, cx)
    }

    fn poll_place(&mut self, home: Option<&SleepWheel>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        loop {
            match &mut self.place {
                Place::Over => return Poll::Ready(()),
                Place::Wheel(seat) => match seat.poll(cx) {
                    Fate::Waits if turn_now() < deadline => return Poll::Pending,
                    Fate::Fired if !seat.is_for(deadline) => self.place = Place::Nowhere,
                    Fate::Closed => self.place = Place::Nowhere,
                    Fate::Waits | Fate::Fired => self.place = Place::Over,
                },
                Place::Tokio(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.place = Place::Over;
                }
                Place::Nowhere if turn_now() >= deadline => self.place = Place::Over,
                Place::Nowhere => {
                    let here = SleepWheel::seat_here(deadline, cx);
                    let seat = here.or_else(|| home?.seat_from_outside(deadline, cx));
                    match seat {
                        Some(seat) => self.place = Place::Wheel(seat),
                        None if home.is_some() => {}
                        None => {
                            let sleep = tokio::time::sleep_until(deadline.into());
                            self.place = Place::Tokio(Box::pin(sleep));
                            continue;
                        }
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_with(None, cx)
    }
}

/// A loop over timers that have all passed must leave others their turn. One that has to wait needs no budget.
///
/// Tokio's own would wake a task whose budget is used up when nobody else is ready, unseen by those that poll many futures in
/// one task: they would poll all that are ready for nothing, each time.
pub(super) fn poll_budget(cx: &mut Context<'_>) -> Poll<()> {
    if !has_budget_remaining() {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    poll_proceed(cx).map(|coop| coop.made_progress())
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "Nowhere",
            Self::Wheel(_) => "Wheel",
            Self::Tokio(_) => "Tokio",
            Self::Over => "Over",
        })
    }
}
