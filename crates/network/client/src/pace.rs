//! To dial, or to wait for a connection that is about to come back.
//!
//! A caller that finds all connections in use could have one sooner by waiting, where dialling takes longer than the next return does:
//! a connection more would be opened for nothing (hyper issue 4134). So what a dial takes and how long a session is in use are
//! measured for each target, and the caller waits for twice the span that the next return should take, but no longer than a dial.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a target's dials and uses take, in microseconds, each the mean of about the last eight; 0 before the first.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    dial_us: AtomicU64,
    use_us: AtomicU64,
}

/// One use in so many is measured: all workers would write to one cell otherwise.
const SAMPLED: u64 = 16;
/// A quicker dial is not worth a wait, whose steps are a millisecond.
const LEAST_DIAL: Duration = Duration::from_millis(2);
/// What one sample weighs: an eighth.
const WEIGHT: u64 = 8;

impl Pace {
    /// A session was opened in so long.
    pub(crate) fn dialled_in(&self, span: Duration) {
        blend(&self.dial_us, span);
    }

    /// Is this use, the session's `number`th, one to measure?
    #[inline]
    pub(crate) fn wants_use(number: u64) -> bool {
        number % SAMPLED == 1
    }

    /// A session was in use for so long.
    pub(crate) fn used_for(&self, span: Duration) {
        blend(&self.use_us, span);
    }

    /// How long to wait for one of `lent` sessions rather than dial; `None` where a dial is as quick.
    pub(crate) fn patience(&self, lent: usize) -> Option<Duration> {
        let [dial, each_use] =
            [&self.dial_us, &self.use_us].map(|cell| Duration::from_micros(cell.load(Relaxed)));
        if dial < LEAST_DIAL || each_use.is_zero() || lent == 0 {
            return None;
        }
        // They come back evenly spread.
        let next = each_use / u32::try_from(lent).unwrap_or(u32::MAX);
        (next * 2 <= dial).then(|| (next * 2).max(Duration::from_millis(1)))
    }
}

/// Two at once: one of them counts.
fn blend(mean: &AtomicU64, span: Duration) {
    let new = u64::try_from(span.as_micros()).unwrap_or(u64::MAX / WEIGHT).max(1);
    let old = mean.load(Relaxed);
    mean.store(if old == 0 { new } else { old - old / WEIGHT + new / WEIGHT }, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(dial_us: u64, use_us: u64) -> Pace {
        Pace { dial_us: dial_us.into(), use_us: use_us.into() }
    }

    #[test]
    fn wait_is_twice_the_next_return_and_never_longer_than_a_dial() {
        for (dial_us, use_us, lent, expected_us) in [
            (20_000, 10_000, 1, Some(20_000)),
            (20_000, 10_001, 1, None),
            (20_000, 100_000, 10, Some(20_000)),
            (20_000, 100_000, 64, Some(3_125)),
            (20_000, 50, 64, Some(1_000)),
            (1_999, 50, 64, None),
            (20_000, 50, 0, None),
            (20_000, 0, 64, None),
            (0, 50, 64, None),
        ] {
            let told = pace(dial_us, use_us).patience(lent);
            assert_eq!(told, expected_us.map(Duration::from_micros), "{dial_us}, {use_us}, {lent}");
        }
    }

    #[test]
    fn means_follow_what_is_measured() {
        let pace = Pace::default();
        (0..100).for_each(|_| pace.dialled_in(Duration::from_millis(80)));
        (0..100).for_each(|_| pace.used_for(Duration::from_millis(8)));
        assert_eq!(pace.patience(1), Some(Duration::from_millis(16)));
        (0..100).for_each(|_| pace.dialled_in(Duration::from_millis(1)));
        assert_eq!(pace.patience(1), None);
        let sampled = (1..=160).filter(|number| Pace::wants_use(*number)).count();
        assert_eq!((sampled, Pace::wants_use(1)), (10, true), "the first of each session, too");
    }
}
