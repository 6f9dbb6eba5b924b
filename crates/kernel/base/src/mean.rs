//! What something took of late.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A running mean of whole numbers, in which a new sample weighs an eighth, as in TCP's round-trip times (RFC 6298 section 2). Where two
/// threads add at once, one of them counts.
///
/// ```
/// use millstream_base::RunningMean;
/// let mean = RunningMean::default();
/// assert_eq!(mean.value(), 0);
/// mean.add(80);
/// mean.add(160);
/// assert_eq!(mean.value(), 90);
/// ```
#[derive(Debug, Default)]
pub struct RunningMean(AtomicU64);

const WEIGHT: u64 = 8;

impl RunningMean {
    /// One that begins with this value, as if it were the first sample.
    pub const fn from_value(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// One sample more; the first is the mean. 0 counts as 1.
    pub fn add(&self, sample: u64) {
        let (old, new) = (self.value(), sample.max(1));
        self.0.store(if old == 0 { new } else { old - old / WEIGHT + new / WEIGHT }, Relaxed);
    }

    /// The mean; 0 before the first sample, and never after.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_follows_its_samples_and_is_never_0_again() {
        let mean = RunningMean::from_value(1000);
        (0..100).for_each(|_| mean.add(8));
        assert!((8..16).contains(&mean.value()), "{}", mean.value());
        (0..100).for_each(|_| mean.add(0));
        assert!((1..8).contains(&mean.value()), "{}", mean.value());
        mean.add(u64::MAX);
        mean.add(u64::MAX);
        assert!(mean.value() > u64::MAX / 8);
    }
}
