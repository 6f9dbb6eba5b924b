//! The deadlines of jobs, kept by a thread of its own: the others may be busy with what is late.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::cell::Computation;
use crate::sync::{Condvar, Mutex, lock};

/// Deadlines, soonest first.
#[derive(Default)]
pub(crate) struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By when, and by a number that tells apart those of one moment.
    deadlines: BTreeMap<(Instant, u64), Deadline>,
    /// At so many, those whose jobs have ended are thrown away: most end long before their deadline.
    crowded_at: usize,
    last: u64,
    is_closed: bool,
}

struct Deadline {
    limit: Duration,
    job: Weak<dyn Computation>,
}

impl Clock {
    /// The job is late after `limit`, counted from now. One beyond what the clock can tell has no deadline.
    pub(crate) fn add(&self, job: &Arc<dyn Computation>, limit: Duration) {
        let Some(at) = Instant::now().checked_add(limit) else { return };
        let mut state = lock(&self.state);
        if state.is_closed {
            return;
        }
        if state.deadlines.len() >= state.crowded_at {
            state.deadlines.retain(|_, deadline| deadline.job.strong_count() > 0);
            state.crowded_at = (2 * state.deadlines.len()).max(LEAST_CROWD);
        }
        state.last += 1;
        let key = (at, state.last);
        let is_next = state.deadlines.first_key_value().is_none_or(|(first, _)| at < first.0);
        state.deadlines.insert(key, Deadline { limit, job: Arc::downgrade(job) });
        drop(state);
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Tells jobs that they are late, until the clock is closed.
    pub(crate) fn run(&self) {
        let mut state = lock(&self.state);
        while !state.is_closed {
            let now = Instant::now();
            match state.deadlines.first_key_value().map(|((at, _), _)| *at) {
                Some(at) if at <= now => {
                    let late = state.deadlines.pop_first();
                    drop(state);
                    if let Some((_, Deadline { limit, job })) = late
                        && let Some(job) = job.upgrade()
                    {
                        job.expire(limit);
                    }
                    state = lock(&self.state);
                }
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(crate) fn close(&self) {
        {
            let mut state = lock(&self.state);
            state.is_closed = true;
            state.deadlines.clear();
        }
        self.changed.notify_all();
    }
}

/// So few are never looked through.
const LEAST_CROWD: usize = 1024;

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::cell::Work;

    fn job() -> Arc<dyn Computation> {
        Work::new(|_: crate::CancelToken<'_>| Ok(()))
    }

    #[test]
    fn deadlines_of_jobs_that_have_ended_do_not_pile_up() {
        let (clock, kept) = (Clock::default(), job());
        let day = Duration::from_secs(86_400);
        clock.add(&kept, day);
        (0..100_000).for_each(|_| clock.add(&job(), day));
        let left = || lock(&clock.state).deadlines.len();
        assert!(left() <= 2 * LEAST_CROWD, "{}", left());
        let is_alive = |deadline: &&Deadline| deadline.job.strong_count() > 0;
        let alive = lock(&clock.state).deadlines.values().filter(is_alive).count();
        assert_eq!(alive, 1, "one has not ended");
        clock.add(&kept, Duration::MAX);
    }
}
