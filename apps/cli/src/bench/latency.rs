//! Latencies in buckets at most 1/128 (0.8 %) of their value wide: finer than the engine's own, for a report is compared.
//! One owner, no atomics; 37 KiB each.

use std::time::Duration;

/// Durations up to 73 minutes; longer ones count as that.
#[derive(Clone)]
pub(crate) struct Latencies {
    counts: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into(), count: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let value = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(into, from)| *into += from);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly, in microseconds.
    pub(crate) fn max_us(&self) -> f64 {
        micros(self.max)
    }

    /// The latency that `q` (0 to 1) of all do not exceed, in microseconds: the upper edge of its bucket.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub(crate) fn quantile_us(&self, q: f64) -> f64 {
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return micros(upper_edge(bucket).min(self.max));
            }
        }
        micros(self.max)
    }
}

#[allow(clippy::cast_precision_loss)] // 2^53 ns are 104 days
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[allow(clippy::cast_possible_truncation)] // a bucket's number is below BUCKETS
fn bucket_of(value: u64) -> usize {
    let value = value.min((1 << TOP_BITS) - 1);
    if value < SUB {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    ((u64::from(shift) * SUB) + (value >> shift)) as usize
}

fn upper_edge(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let first = (bucket - shift * SUB) << shift;
    first + (1 << shift) - 1
}

/// 2^7 buckets in each power of two.
const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;
/// 2^42 ns are 73 minutes.
const TOP_BITS: u32 = 42;
const BUCKETS: usize = ((TOP_BITS - SUB_BITS + 1) as usize) << SUB_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_a_percent_of_its_bucket() {
        let mut value = 1_u64;
        while value < 1 << TOP_BITS {
            for near in [value - 1, value, value + 1] {
                let edge = upper_edge(bucket_of(near));
                assert!(edge >= near && (edge - near) * 100 <= near, "{near} is in {edge}");
            }
            value += value / 3 + 1;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_of_all_that_was_added() {
        let (mut low, mut high) = (Latencies::new(), Latencies::new());
        (1..=500).for_each(|ms| low.record(Duration::from_millis(ms)));
        (501..=1000).for_each(|ms| high.record(Duration::from_millis(ms)));
        low.add(&high);
        assert_eq!((low.count(), low.max_us()), (1000, 1_000_000.0));
        for (q, expected) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            assert!((low.quantile_us(q) / expected - 1.0).abs() < 0.01, "{q}");
        }
        assert_eq!(Latencies::new().quantile_us(0.5), 0.0);
    }
}
