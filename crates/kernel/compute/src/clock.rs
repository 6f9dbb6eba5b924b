//! The deadlines of jobs, kept by a thread of its own: the others may be busy with what is late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::cell::Job;

/// Deadlines, soonest first.
#[derive(Default)]
pub(crate) struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    heap: BinaryHeap<Reverse<Entry>>,
    /// At so many, those whose jobs have ended are thrown away: most end long before their deadline.
    crowded_at: usize,
    last: u64,
    is_closed: bool,
}

struct Entry {
    at: Instant,
    /// Tells apart those of one moment.
    number: u64,
    limit: Duration,
    job: Weak<dyn Job>,
}

impl Clock {
    /// The job is late after `limit`, counted from now. One beyond what the clock can tell has no deadline.
    pub(crate) fn add(&self, job: &Arc<dyn Job>, limit: Duration) {
        let Some(at) = Instant::now().checked_add(limit) else { return };
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        if state.heap.len() >= state.crowded_at {
            state.heap.retain(|Reverse(entry)| entry.job.strong_count() > 0);
            state.crowded_at = (2 * state.heap.len()).max(LEAST_CROWD);
        }
        let is_next = state.heap.peek().is_none_or(|Reverse(first)| at < first.at);
        state.heap.push(Reverse(Entry { at, number, limit, job: Arc::downgrade(job) }));
        drop(state);
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Tells jobs that they are late, until the clock is closed.
    pub(crate) fn run(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            let now = Instant::now();
            match state.heap.peek().map(|Reverse(first)| first.at) {
                Some(at) if at <= now => {
                    let late = state.heap.pop();
                    drop(state);
                    if let Some((job, limit)) =
                        late.and_then(|Reverse(late)| Some((late.job.upgrade()?, late.limit)))
                    {
                        job.expire(limit);
                    }
                    state = self.lock();
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
        let heap = {
            let mut state = self.lock();
            state.is_closed = true;
            std::mem::take(&mut state.heap)
        };
        self.changed.notify_all();
        drop(heap);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So few are never looked through.
const LEAST_CROWD: usize = 1024;

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Work;

    fn job() -> Arc<dyn Job> {
        Work::new(|_: crate::CancelToken<'_>| ())
    }

    #[test]
    fn deadlines_of_jobs_that_have_ended_do_not_pile_up() {
        let (clock, kept) = (Clock::default(), job());
        let day = Duration::from_secs(86_400);
        clock.add(&kept, day);
        (0..100_000).for_each(|_| clock.add(&job(), day));
        assert!(clock.lock().heap.len() <= 2 * LEAST_CROWD, "{}", clock.lock().heap.len());
        let alive = clock.lock().heap.iter().filter(|Reverse(entry)| entry.job.strong_count() > 0).count();
        assert_eq!(alive, 1, "one has not ended");
        clock.add(&kept, Duration::MAX);
    }
}
