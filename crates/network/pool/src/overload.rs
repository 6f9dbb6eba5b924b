//! Whom to serve while a queue does not get shorter: the newest.
//!
//! First in, first out is fair while everybody is served in time. When more callers come than there are sessions for, each of them would
//! get one just before its patience ends, or just after: all wait for as long as they can, and many in vain. Serving the newest first then
//! lets most go at once, and those who wait in vain are those who would have. So a queue is first in, first out until its oldest caller
//! has waited for longer than a target at each serving of an interval, as CoDel tells a standing queue from a burst (RFC 8289 §3; turned
//! to last in, first out in "Fail at Scale", B. Maurer, ACM Queue 13(8), 2015).

use std::time::{Duration, Instant};

/// RFC 8289 §3.2: a burst is over by then.
const INTERVAL: Duration = Duration::from_millis(100);

/// Has the queue been too long for an interval?
#[derive(Debug)]
pub(crate) struct Overload {
    target: Duration,
    above_since: Option<Instant>,
    is_standing: bool,
}

impl Overload {
    /// The oldest caller should not wait for longer than `target`.
    pub(crate) fn new(target: Duration) -> Self {
        Self { target, above_since: None, is_standing: false }
    }

    /// Somebody is served while the oldest has waited since `joined`. Is the newest to be served? Without `now` as last time.
    pub(crate) fn is_newest_next(&mut self, joined: Instant, now: Option<Instant>) -> bool {
        let Some(now) = now else { return self.is_standing };
        if now.saturating_duration_since(joined) <= self.target {
            self.above_since = None;
        } else {
            self.above_since.get_or_insert(now);
        }
        let is_over = |since: Instant| now.saturating_duration_since(since) >= INTERVAL;
        self.is_standing = self.above_since.is_some_and(is_over);
        self.is_standing
    }

    /// Nobody waits any more.
    pub(crate) fn end(&mut self) {
        (self.above_since, self.is_standing) = (None, false);
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn queue_stands_after_an_interval_above_the_target() {
        let begin = Instant::now();
        let mut overload = Overload::new(ms(50));
        let mut is_newest =
            |joined: u64, now: u64| overload.is_newest_next(begin + ms(joined), Some(begin + ms(now)));
        assert!(!is_newest(0, 50), "at the target");
        assert!(!is_newest(0, 51), "above it, but not for an interval");
        assert!(!is_newest(60, 150), "the interval has not passed");
        assert!(is_newest(60, 151));
        assert!(is_newest(60, 200));
        assert!(!is_newest(190, 240), "the oldest is young again");
        assert!(!is_newest(190, 300), "and the interval begins anew");
        assert!(!is_newest(190, 399));
        assert!(is_newest(190, 400));
    }

    #[test]
    fn without_a_moment_all_stays_as_it_was() {
        let begin = Instant::now();
        let mut overload = Overload::new(ms(50));
        assert!(!overload.is_newest_next(begin, None));
        assert!(!overload.is_newest_next(begin, Some(begin + ms(60))));
        assert!(overload.is_newest_next(begin, Some(begin + ms(160))));
        assert!(overload.is_newest_next(begin, None));
        overload.end();
        assert!(!overload.is_newest_next(begin, None));
        assert!(!overload.is_newest_next(begin, Some(begin + ms(300))), "counted anew");
    }

    #[test]
    fn endless_target_is_never_passed() {
        let begin = Instant::now();
        let mut overload = Overload::new(Duration::MAX);
        assert!((0..10).all(|hour| !overload.is_newest_next(begin, Some(begin + ms(3_600_000 * hour)))));
    }
}
