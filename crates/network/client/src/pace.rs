//! To dial, or to wait for a connection that is about to come back.
//!
//! A caller that finds all connections in use could have one sooner by waiting, where dialling takes longer than the next return does:
//! a connection more would be opened for nothing (hyper issue 4134). So what a dial takes and how long a session is in use are
//! measured for each target, and the caller waits for twice the span after which a return should be its own, behind those who wait already, but
//! no longer than a dial. `pace/simulation.rs` plays it beside one who sees the future.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use millstream_base::RunningMean;

/// What a target's dials and uses take, in microseconds, each the mean of about the last eight; 0 before the first.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    dial_us: RunningMean,
    use_us: RunningMean,
    /// Callers that wait now.
    waiting: AtomicUsize,
}

/// One use in so many is measured: all workers would write to one cell otherwise.
const SAMPLED: u64 = 16;
/// A quicker dial is not worth a wait, whose steps are a millisecond.
const LEAST_DIAL: Duration = Duration::from_millis(2);
/// Between two looks for a session that came back.
pub(crate) const TICK: Duration = Duration::from_millis(1);

impl Pace {
    /// A session was opened in so long.
    pub(crate) fn dialled_in(&self, span: Duration) {
        self.dial_us.add(micros(span));
    }

    /// Is this use, the session's `number`th, one to measure?
    #[inline]
    pub(crate) fn wants_use(number: u64) -> bool {
        number % SAMPLED == 1
    }

    /// A session was in use for so long.
    pub(crate) fn used_for(&self, span: Duration) {
        self.use_us.add(micros(span));
    }

    /// Begins to wait for one of `lent` sessions; `None` where a dial is as quick.
    pub(crate) fn wait(&self, lent: usize) -> Option<Waiting<'_>> {
        let [dial, each_use] = self.dial_and_use();
        if dial < LEAST_DIAL || each_use.is_zero() || lent == 0 {
            return None;
        }
        // They come back evenly spread, first to those who wait already.
        let ahead = self.waiting.load(Relaxed);
        let own = Duration::try_from_secs_f64(each_use.as_secs_f64() * to_f64(ahead + 1) / to_f64(lent));
        let patience = own.ok()?.checked_mul(2).filter(|patience| *patience <= dial)?;
        self.waiting.fetch_add(1, Relaxed);
        Some(Waiting { pace: self, patience: patience.max(TICK) })
    }

    fn dial_and_use(&self) -> [Duration; 2] {
        [&self.dial_us, &self.use_us].map(|cell| Duration::from_micros(cell.value()))
    }
}

/// A caller that waits for a session rather than dial. Counted until it is dropped: who comes later waits behind it.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    pace: &'a Pace,
    patience: Duration,
}

impl Waiting<'_> {
    /// Having waited for so long, does it go on?
    pub(crate) fn goes_on(&self, waited: Duration) -> bool {
        waited < self.patience
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pace.waiting.fetch_sub(1, Relaxed);
    }
}

#[expect(clippy::cast_precision_loss, reason = "sessions are fewer than 2^53")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(dial_us: u64, use_us: u64) -> Pace {
        let [dial_us, use_us] = [dial_us, use_us].map(RunningMean::from_value);
        Pace { dial_us, use_us, ..Pace::default() }
    }

    #[test]
    fn wait_is_twice_the_own_return_and_never_longer_than_a_dial() {
        for (dial_us, use_us, lent, expected_us) in [
            (20_000, 10_000, 1, &[20_000][..]),
            (20_000, 10_001, 1, &[]),
            (20_000, 100_000, 10, &[20_000]),
            (20_000, 100_000, 50, &[4_000, 8_000, 12_000, 16_000, 20_000]),
            (2_000, 16_000, 64, &[1_000, 1_000, 1_500, 2_000]),
            (1_999, 50, 64, &[]),
            (20_000, 50, 0, &[]),
            (20_000, 0, 64, &[]),
            (0, 50, 64, &[]),
        ] {
            let pace = pace(dial_us, use_us);
            let all: Vec<_> = std::iter::from_fn(|| pace.wait(lent)).take(100).collect();
            let told: Vec<_> = all.iter().map(|one| one.patience.as_micros()).collect();
            assert_eq!(told, expected_us, "{dial_us}, {use_us}, {lent}");
            drop(all);
            assert_eq!(pace.waiting.load(Relaxed), 0);
        }
    }

    #[test]
    fn patience_ends() {
        let pace = pace(20_000, 100_000);
        let waiting = pace.wait(10).expect("they come back each 10 ms");
        for (waited_us, expected) in [(0, true), (19_999, true), (20_000, false), (90_000, false)] {
            assert_eq!(waiting.goes_on(Duration::from_micros(waited_us)), expected, "{waited_us}");
        }
    }

    #[test]
    fn means_follow_what_is_measured() {
        let pace = Pace::default();
        (0..100).for_each(|_| pace.dialled_in(Duration::from_millis(80)));
        (0..100).for_each(|_| pace.used_for(Duration::from_millis(8)));
        assert_eq!(pace.dial_and_use().map(|span| span.as_millis()), [80, 8]);
        (0..100).for_each(|_| pace.dialled_in(Duration::from_millis(1)));
        assert!(pace.wait(1).is_none());
        let sampled = (1..=160).filter(|number| Pace::wants_use(*number)).count();
        assert_eq!((sampled, Pace::wants_use(1)), (10, true), "the first of each session, too");
    }
}
