//! Which request a caller begins next, and from when its latency counts.
//!
//! With a rate, requests are due at fixed moments, whatever became of earlier ones. Who is late begins the oldest that is
//! due; what would have to wait in a queue that is full is counted as overdue and never begun.

use std::time::{Duration, Instant};

/// The moments at which one worker's requests are due.
pub(crate) struct Schedule {
    start: Instant,
    step: Duration,
    next: u64,
    /// Behind the last one.
    end: Option<u64>,
    overdue: u64,
}

impl Schedule {
    /// `rate` each second from `start` on, `count` in all.
    pub(crate) fn new(start: Instant, rate: f64, count: Option<u64>) -> Self {
        Self { start, step: Duration::from_secs_f64(1.0 / rate), next: 0, end: count, overdue: 0 }
    }

    /// When the next one is due; `None` when there is none, or none before `until`.
    pub(crate) fn take(&mut self, now: Instant, until: Option<Instant>) -> Option<Instant> {
        let is_due = self.due_at(now);
        if is_due.saturating_sub(self.next) > MAX_QUEUED {
            self.skip_to(is_due - MAX_QUEUED);
        }
        if self.end.is_some_and(|end| self.next >= end) {
            return None;
        }
        let due = self.moment(self.next);
        if until.is_some_and(|until| due >= until || now >= until) {
            return None;
        }
        self.next += 1;
        Some(due)
    }

    /// What was due before `until` and never begun is overdue. Gives all that ever were.
    pub(crate) fn finish(&mut self, until: Instant) -> u64 {
        self.skip_to(self.due_at(until));
        self.overdue
    }

    fn skip_to(&mut self, next: u64) {
        self.overdue += next.saturating_sub(self.next);
        self.next = self.next.max(next);
    }

    /// How many are due at `now`.
    #[allow(clippy::cast_possible_truncation)] // a day at ten million a second is 2^40
    fn due_at(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_nanos();
        let due = (passed / self.step.as_nanos().max(1)) as u64 + 1;
        self.end.map_or(due, |end| due.min(end))
    }

    #[allow(clippy::cast_possible_truncation)] // 2^64 ns are 584 years
    fn moment(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos((self.step.as_nanos() as u64).saturating_mul(number))
    }
}

/// How many may be due and not begun, for a worker: a guess, beyond which a server is plainly too slow for the rate.
const MAX_QUEUED: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(1);

    #[test]
    fn late_requests_are_due_when_they_were_due() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0, Some(3));
        assert_eq!(schedule.take(start, None), Some(start));
        let late = start + STEP * 50;
        assert_eq!(schedule.take(late, None), Some(start + STEP));
        assert_eq!(schedule.take(late, None), Some(start + STEP * 2));
        assert_eq!((schedule.take(late, None), schedule.finish(late)), (None, 0));
    }

    #[test]
    fn queue_is_bounded_and_what_does_not_fit_is_overdue() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0, None);
        let late = start + STEP * 100_010;
        assert_eq!(schedule.take(late, None), Some(start + STEP * 11));
        assert_eq!(schedule.finish(late), 100_010);
    }

    #[test]
    fn nothing_is_begun_at_the_end() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0, None);
        assert!(schedule.take(start, Some(start + STEP)).is_some());
        assert_eq!(schedule.take(start, Some(start + STEP)), None);
    }
}
