//! When no port will be left.

use std::time::Duration;

use super::{Book, TAKEABLE, micros};

impl Book {
    /// Free(t) = free now + what comes free by t - rate * t; its first zero. All that is held now is free after the hold;
    /// if it did not get to zero by then, it does not at this rate.
    pub(super) fn exhausted_in(&self, now: u64) -> Option<Duration> {
        let ports = self.ports();
        // The dial that finds none comes one later than the one that takes the last; half of the way to it is behind us.
        let mut free = ports.saturating_sub(self.used(now)) as f64 + 0.5;
        if free < 1.0 {
            return Some(Duration::ZERO);
        }
        let rate = self.rate.per_second(now);
        if rate <= 0.0 {
            return None;
        }
        let ends = |which: usize, hold: Duration| {
            let ends = self.waiting[which].each_since().map(move |since| since + micros(hold));
            ends.filter(move |end| *end > now)
        };
        let ours = merged(ends(TAKEABLE, self.hold(now)), ends(1 - TAKEABLE, self.terms.hold));
        let ours = merged(ours, self.private_ends(now));
        for end in merged(ours, self.foreign.ends_after(now)) {
            let empty_at = free / rate;
            if empty_at <= (end - now) as f64 / 1e6 {
                return Some(Duration::from_secs_f64(empty_at));
            }
            free += 1.0;
        }
        let empty_at = Duration::try_from_secs_f64(free / rate).ok()?;
        (empty_at <= self.longest_hold(now)).then_some(empty_at)
    }
}

/// Two sequences in order as one.
fn merged(a: impl Iterator<Item = u64>, b: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(first), Some(second)) if second < first => b.next(),
        (Some(_), _) => a.next(),
        (None, _) => b.next(),
    })
}
