//! Latencies in log-linear buckets: own cells for each worker, merged by the reader.
//!
//! A value below 32 has a bucket of its own; above, each power of two is cut into 32 equal buckets, so a bucket's
//! width is at most 1/32 (3.1 %) of its value. This is the layout of HdrHistogram with 5 significant bits
//! (G. Tene, <https://hdrhistogram.github.io/HdrHistogram/>).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::EngineId;
use crate::slot::Slot;

/// Durations in nanoseconds, up to 73 minutes (longer ones count as that), each within 3.1 %.
///
/// ```
/// use millstream_base::{EngineId, Histogram};
/// let latencies = Histogram::new(EngineId::next(), 1);
/// (1..=1000u64).for_each(|us| latencies.record(us * 1000));
/// let p99 = latencies.snapshot().quantile(0.99);
/// assert!((960_000..=1_021_000).contains(&p99));
/// ```
#[derive(Debug)]
pub struct Histogram {
    engine: EngineId,
    rows: Box<[Row]>,
}

#[derive(Debug)]
struct Row {
    buckets: Box<[AtomicU64; BUCKETS]>,
    sum: AtomicU64,
}

impl Row {
    fn new() -> Self {
        Self { buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]), sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// An empty histogram for an engine with this many workers: 10 KiB a worker.
    pub fn new(engine: EngineId, workers: usize) -> Self {
        Self { engine, rows: (0..=workers).map(|_| Row::new()).collect() }
    }

    /// Counts one value.
    #[inline]
    pub fn record(&self, nanoseconds: u64) {
        self.record_many(nanoseconds, 1);
    }

    /// Counts the same value `count` times.
    #[inline]
    pub fn record_many(&self, nanoseconds: u64, count: u64) {
        let index = Slot::cell(self.engine, self.rows.len());
        let row = &self.rows[index];
        let bucket = &row.buckets[bucket_of(nanoseconds)];
        let weight = nanoseconds.saturating_mul(count);
        if index == 0 {
            bucket.fetch_add(count, Relaxed);
            row.sum.fetch_add(weight, Relaxed);
        } else {
            // Rule 2 of `slot`: this thread is the only writer of this row.
            bucket.store(bucket.load(Relaxed) + count, Relaxed);
            row.sum.store(row.sum.load(Relaxed).wrapping_add(weight), Relaxed);
        }
    }

    /// What was counted so far, merged over the workers.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut counts = vec![0u64; BUCKETS];
        let mut sum = 0u64;
        for row in &self.rows {
            for (count, bucket) in counts.iter_mut().zip(row.buckets.iter()) {
                *count += bucket.load(Relaxed);
            }
            sum = sum.wrapping_add(row.sum.load(Relaxed));
        }
        HistogramSnapshot { counts, sum }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug)]
pub struct HistogramSnapshot {
    counts: Vec<u64>,
    sum: u64,
}

impl HistogramSnapshot {
    /// How many values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values, in nanoseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value below which `q` (0 to 1) of all lie, in nanoseconds, as the upper edge of its bucket; 0 when empty.
    pub fn quantile(&self, q: f64) -> u64 {
        let total = self.count();
        if total == 0 {
            return 0;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(bucket);
            }
        }
        upper_edge(BUCKETS - 1)
    }

    /// How many values are at most `nanoseconds`, counted by whole buckets.
    pub fn count_at_most(&self, nanoseconds: u64) -> u64 {
        self.counts
            .iter()
            .enumerate()
            .take_while(|(bucket, _)| upper_edge(*bucket) <= nanoseconds)
            .map(|(_, c)| c)
            .sum()
    }
}

/// Buckets within a power of two, as a power of two: 2^5 = 32.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Largest power of two told apart: 2^42 ns = 73 minutes.
const TOP_BITS: u32 = 42;
const BUCKETS: usize = ((TOP_BITS - SUB_BITS + 1) as usize) * SUB as usize;

#[inline]
#[allow(clippy::cast_possible_truncation)] // a bucket index is below BUCKETS
fn bucket_of(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let shift = (63 - value.leading_zeros()) - SUB_BITS;
    let index = u64::from(shift) * SUB + (value >> shift);
    (index as usize).min(BUCKETS - 1)
}

fn upper_edge(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    ((bucket % SUB + SUB + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn value_lies_in_its_bucket_within_one_32nd(value in 0u64..(1 << 42)) {
            let bucket = bucket_of(value);
            let upper = upper_edge(bucket);
            prop_assert!(value <= upper);
            prop_assert!(upper - value <= value / 32 + 1);
            prop_assert!(bucket == 0 || upper_edge(bucket - 1) < value);
        }
    }

    #[test]
    fn longest_values_stay_in_the_last_bucket() {
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket_of(1 << 43), BUCKETS - 1);
    }

    #[test]
    fn empty_histogram_has_quantile_zero() {
        assert_eq!(Histogram::new(EngineId::next(), 1).snapshot().quantile(0.5), 0);
    }
}
