//! One question under way, and all who wait for its answer. The rules stand in [`cache`](super).

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millstream_base::{Phase, Result, Seen};

use super::Shared;
use super::names::{Answer, Failure};
use crate::{Resolved, Resolving};

/// One question under way.
pub(super) struct Flight {
    host: Arc<str>,
    inner: Mutex<Inner>,
}

struct Inner {
    work: Work,
    /// All callers by number, with the waker of those that wait.
    callers: BTreeMap<u64, Option<Waker>>,
    last_caller: u64,
}

enum Work {
    /// A caller has the future: its driver.
    Driven,
    /// The driver went away; whoever is polled next goes on.
    Parked(Resolving<'static>),
    Landed(Answer, Duration),
}

/// The future of [`Cache::lookup`](super::Cache::lookup).
#[must_use = "futures do nothing unless polled"]
pub struct Lookup {
    shared: Arc<Shared>,
    step: Step,
}

pub(super) enum Step {
    Known(Result<Resolved>),
    Flying(Caller),
    Done,
}

/// One caller's part in a flight.
pub(super) struct Caller {
    flight: Arc<Flight>,
    number: u64,
    role: Role,
    /// What to give if the question fails.
    old: Option<Resolved>,
}

enum Role {
    Waits,
    /// `None` while the future is being polled: found so later only if that panicked.
    Drives(Option<Resolving<'static>>),
}

impl Flight {
    /// A flight without callers yet: the first to be polled drives.
    pub(super) fn parked(host: Arc<str>, question: Resolving<'static>) -> Arc<Self> {
        Self::new(host, Inner { work: Work::Parked(question), callers: BTreeMap::new(), last_caller: 0 })
    }

    /// A flight with one caller, its driver.
    pub(super) fn driven(host: Arc<str>, question: Resolving<'static>) -> (Arc<Self>, Caller) {
        let callers = BTreeMap::from([(0, None)]);
        let flight = Self::new(host, Inner { work: Work::Driven, callers, last_caller: 0 });
        let role = Role::Drives(Some(question));
        (Arc::clone(&flight), Caller { flight, number: 0, role, old: None })
    }

    fn new(host: Arc<str>, inner: Inner) -> Arc<Self> {
        Arc::new(Self { host, inner: Mutex::new(inner) })
    }

    pub(super) fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// One more who waits. Under the lock of the cache: rule 3.
    pub(super) fn join(self: &Arc<Self>, old: Option<Resolved>) -> Caller {
        let mut inner = self.lock();
        inner.last_caller += 1;
        let number = inner.last_caller;
        inner.callers.insert(number, None);
        drop(inner);
        Caller { flight: Arc::clone(self), number, role: Role::Waits, old }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, answer: Answer, ttl: Duration) {
        let callers = {
            let mut inner = self.lock();
            inner.work = Work::Landed(answer, ttl);
            std::mem::take(&mut inner.callers)
        };
        callers.into_values().flatten().for_each(Waker::wake);
    }
}

impl Lookup {
    pub(super) fn new(shared: &Arc<Shared>, step: Step) -> Self {
        Self { shared: Arc::clone(shared), step }
    }

    /// Is the answer there, so that the first poll is ready?
    pub fn is_known(&self) -> bool {
        matches!(self.step, Step::Known(_))
    }
}

impl Caller {
    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Result<Resolved>> {
        if let Role::Waits = self.role {
            match self.wait(cx) {
                Ok(poll) => return poll,
                Err(question) => self.role = Role::Drives(Some(question)),
            }
        }
        self.drive(shared, cx)
    }

    /// The answer if it is there; the question if nobody asks it any more.
    fn wait(&mut self, cx: &Context<'_>) -> Result<Poll<Result<Resolved>>, Resolving<'static>> {
        let waker = cx.waker().clone();
        let mut inner = self.flight.lock();
        match std::mem::replace(&mut inner.work, Work::Driven) {
            Work::Parked(question) => Err(question),
            Work::Driven => {
                let before = inner.callers.insert(self.number, Some(waker));
                drop(inner);
                drop(before);
                Ok(Poll::Pending)
            }
            Work::Landed(answer, ttl) => {
                let result = answer.result(&self.flight.host, ttl);
                inner.work = Work::Landed(answer, ttl);
                Ok(Poll::Ready(result))
            }
        }
    }

    fn drive(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Result<Resolved>> {
        let Role::Drives(place) = &mut self.role else { return Poll::Pending };
        let Some(mut question) = place.take() else { return Poll::Pending };
        let Poll::Ready(outcome) = question.as_mut().poll(cx) else {
            *place = Some(question);
            return Poll::Pending;
        };
        drop(question);
        let answer = Answer::of(&outcome);
        let ttl = outcome.as_ref().map_or(Duration::ZERO, Resolved::ttl);
        shared.land(&self.flight, &answer, ttl);
        let result = match (outcome, &answer) {
            (Err(error), _) => Err(error.with_phase(Phase::Resolve).with_seen(Seen::No)),
            (Ok(_), answer) => answer.result(&self.flight.host, ttl),
        };
        self.flight.land(answer, ttl);
        Poll::Ready(result)
    }

    /// Goes away before the answer.
    fn leave(self, shared: &Shared) {
        let question = match self.role {
            Role::Drives(None) => return panicked(shared, &self.flight),
            Role::Drives(question) => question,
            Role::Waits => None,
        };
        let mut state = shared.lock();
        let mut inner = self.flight.lock();
        let own = inner.callers.remove(&self.number);
        let mut wakers = Vec::new();
        if let Some(question) = question {
            inner.work = Work::Parked(question);
        }
        if let Work::Parked(_) = inner.work {
            wakers.extend(inner.callers.values_mut().filter_map(Option::take));
        }
        let is_over = inner.callers.is_empty() && !matches!(inner.work, Work::Landed(..));
        let forgotten = is_over.then(|| state.flights.remove(&*self.flight.host));
        drop((inner, state));
        wakers.into_iter().for_each(Waker::wake);
        drop((own, forgotten));
    }
}

/// Unwinding has taken the question with it: those who wait are told, the next to come asks anew.
fn panicked(shared: &Shared, flight: &Arc<Flight>) {
    let answer = Answer::Failure(Failure::panicked());
    shared.land(flight, &answer, Duration::ZERO);
    flight.land(answer, Duration::ZERO);
}

impl Future for Lookup {
    type Output = Result<Resolved>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Step::Flying(caller) = &mut this.step {
            let Poll::Ready(result) = caller.poll(&this.shared, cx) else { return Poll::Pending };
            let old = caller.old.take();
            this.step = Step::Done;
            return Poll::Ready(result.or_else(|error| old.ok_or(error)));
        }
        match std::mem::replace(&mut this.step, Step::Done) {
            Step::Known(result) => Poll::Ready(result),
            _ => panic!("a lookup is not to be polled after it has ended"),
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let Step::Flying(caller) = std::mem::replace(&mut self.step, Step::Done) {
            caller.leave(&self.shared);
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("is_known", &self.is_known()).finish_non_exhaustive()
    }
}
