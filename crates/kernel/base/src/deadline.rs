//! A moment by which something must be done.

use std::time::{Duration, Instant};

/// A moment by which something must be done. Copy it along a call; each step takes the earlier of it and its own.
///
/// ```
/// use millstream_base::Deadline;
/// use std::time::{Duration, Instant};
/// let now = Instant::now();
/// let call = Deadline::after(now, Duration::from_secs(30));
/// let step = call.earlier(Deadline::after(now, Duration::from_secs(10)));
/// assert_eq!(step.remaining(now), Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// `span` after `now`. A span too long for the clock ends in a hundred years.
    pub fn after(now: Instant, span: Duration) -> Self {
        Self(now.checked_add(span).unwrap_or_else(|| now + FAR))
    }

    /// At this moment.
    pub fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// The moment itself.
    pub fn moment(self) -> Instant {
        self.0
    }

    /// The earlier of the two.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// How much is left, zero when it has passed.
    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Has it passed?
    pub fn is_past(self, now: Instant) -> bool {
        self.0 <= now
    }
}

/// What "no end" is cut to: `Instant` can't hold every `Duration`.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_span_does_not_overflow() {
        let now = Instant::now();
        let deadline = Deadline::after(now, Duration::MAX);
        assert!(!deadline.is_past(now));
        assert_eq!(deadline.remaining(now), FAR);
    }

    #[test]
    fn passed_at_its_own_moment() {
        let now = Instant::now();
        assert!(Deadline::at(now).is_past(now));
        assert_eq!(Deadline::at(now).remaining(now), Duration::ZERO);
    }
}
