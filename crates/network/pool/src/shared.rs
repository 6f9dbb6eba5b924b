//! What all buckets of a pool share.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::PoolOptions;
use crate::lent::EntryId;
use crate::queue::MAX_WAITERS;

/// What all buckets of a pool share. The counter is a std one also under loom: it decides nothing.
pub(crate) struct Shared {
    pub(crate) options: PoolOptions,
    last_id: std::sync::atomic::AtomicU64,
    seed: u64,
}

impl Shared {
    pub(crate) fn new(options: PoolOptions) -> Self {
        let max_waiters = options.max_waiters.min(MAX_WAITERS);
        let shards = options.shards.max(1);
        Self {
            options: PoolOptions { max_waiters, shards, ..options },
            last_id: std::sync::atomic::AtomicU64::new(0),
            seed: RandomState::new().hash_one(0),
        }
    }

    pub(crate) fn next_id(&self) -> EntryId {
        EntryId(self.last_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
    }

    /// The lifetime of this session: the option, off by up to its jitter, either way.
    pub(crate) fn lifetime_of(&self, id: EntryId) -> Duration {
        let PoolOptions { lifetime, lifetime_jitter, .. } = self.options;
        #[allow(clippy::cast_precision_loss)] // 53 bits are kept, as many as a double holds
        let share = (mix(self.seed ^ id.0) >> 11) as f64 / (1u64 << 53) as f64;
        let factor = 1.0 + lifetime_jitter * (2.0 * share - 1.0);
        Duration::try_from_secs_f64(lifetime.as_secs_f64() * factor).unwrap_or(Duration::MAX)
    }
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_fill_the_jitter_and_no_more() {
        let shared =
            Shared::new(PoolOptions::default().lifetime(Duration::from_secs(1000)).lifetime_jitter(0.2));
        let seconds: Vec<_> = (0..2000).map(|id| shared.lifetime_of(EntryId(id)).as_secs_f64()).collect();
        assert!(seconds.iter().all(|s| (800.0..=1200.0).contains(s)));
        let mean = seconds.iter().sum::<f64>() / 2000.0;
        assert!((980.0..1020.0).contains(&mean), "{mean}");
        assert!(seconds.iter().any(|s| *s < 820.0) && seconds.iter().any(|s| *s > 1180.0));
    }

    /// Those opened in a row end at moments that have nothing to do with each other.
    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn lifetimes_do_not_follow_each_other() {
        const COUNT: usize = 4000;
        let shared = Shared::new(PoolOptions::default());
        let seconds: Vec<_> =
            (0..COUNT as u64).map(|id| shared.lifetime_of(EntryId(id)).as_secs_f64()).collect();
        let mean = seconds.iter().sum::<f64>() / COUNT as f64;
        let variance: f64 = seconds.iter().map(|one| (one - mean).powi(2)).sum();
        for lag in 1..=10 {
            let pairs = seconds.iter().zip(&seconds[lag..]);
            let correlation = pairs.map(|(one, other)| (one - mean) * (other - mean)).sum::<f64>() / variance;
            // Chance alone: a standard deviation of 1/sqrt(4000) = 0.016.
            assert!(correlation.abs() < 0.1, "lag {lag}: {correlation}");
        }
    }

    #[test]
    fn endless_lifetime_stays_endless() {
        let shared = Shared::new(PoolOptions::default().lifetime(Duration::MAX));
        assert!((0..100).all(|id| shared.lifetime_of(EntryId(id)) > Duration::from_secs(1 << 40)));
    }
}
