//! How many connections a target needs, and their successors: one that comes to the end of its lifetime is replaced before.
//!
//! Needed are as many as were in use at once in all but the busiest hundredth of the last five minutes. What nobody uses ends, so they
//! are no more than within the last idle timeout, unless the client keeps what is needed beyond that
//! ([`keep_needed`](crate::ClientOptions::keep_needed)). Each second, or more often with short lifetimes, the client looks for targets
//! where fewer would be left once those near their end have gone, and opens what is missing, at most as many as are there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_pool::{Bucket, Pooled};
use millstream_runtime::spawn_local;
use millstream_transport::Opener;

use crate::client::Shared;
use crate::per_target::PerTarget;
use crate::prewarm::warm;
use crate::slot::Slot;
use crate::{ClientOptions, Protocol};

/// What all targets need.
pub(crate) type AllDemand = PerTarget<Demand>;

/// What one target needs.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    peaks: Mutex<Peaks>,
    /// Successors are being opened.
    is_renewing: AtomicBool,
}

/// The most connections in use at once, for each of the last [`SECONDS`].
#[derive(Debug, Default)]
struct Peaks {
    /// Newest last; those of seconds in which nobody looked are 0.
    most: VecDeque<u16>,
    /// Which second the newest belongs to, counted from `begun`.
    second: u64,
    begun: Option<Instant>,
}

const SECONDS: usize = 300;

impl Peaks {
    fn note(&mut self, peak: usize, now: Instant) {
        let begun = *self.begun.get_or_insert(now);
        let second = now.saturating_duration_since(begun).as_secs();
        let is_first = self.most.is_empty();
        let passed = second.saturating_sub(self.second) + u64::from(is_first);
        // More than all overwrites all of them once.
        for _ in 0..passed.min(SECONDS as u64) {
            if self.most.len() == SECONDS {
                self.most.pop_front();
            }
            self.most.push_back(0);
        }
        self.second = self.second.max(second);
        if let Some(newest) = self.most.back_mut() {
            *newest = u16::try_from(peak).unwrap_or(u16::MAX).max(*newest);
        }
    }

    /// The 99th percentile, by nearest rank; no more than were in use at once within the last span `lately`.
    fn needed(&self, lately: Duration) -> usize {
        let mut all: Vec<u16> = self.most.iter().copied().collect();
        let rank = (all.len() * 99).div_ceil(100);
        let of_all = rank.checked_sub(1).map_or(0, |at| *all.select_nth_unstable(at).1);
        let seconds = usize::try_from(lately.as_secs()).unwrap_or(SECONDS).min(SECONDS) + 1;
        let lately = self.most.iter().rev().take(seconds).max();
        usize::from(of_all.min(lately.copied().unwrap_or(0)))
    }
}

impl Demand {
    /// Notes what was in use since the last time, and has the bucket keep what is needed, if the options want that.
    fn note<S: Pooled>(&self, bucket: &Bucket<S>, options: &ClientOptions, now: Instant) {
        self.lock().note(bucket.take_peak(), now);
        if options.keep_needed {
            bucket.set_needed(self.needed(options));
        }
    }

    fn needed(&self, options: &ClientOptions) -> usize {
        self.lock().needed(if options.keep_needed { Duration::MAX } else { options.idle_timeout })
    }

    fn lock(&self) -> MutexGuard<'_, Peaks> {
        self.peaks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a client looks: often enough for the last tenth of a lifetime not to pass unseen.
pub(crate) fn look_every(lifetime: Duration) -> Duration {
    (lifetime / 40).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

/// Notes what is in use at all targets. To be called before a sweep, which ends what is not needed.
pub(crate) fn note<P: Protocol>(shared: &Shared<P>, now: Instant) {
    let buckets = shared.pool.buckets();
    buckets.iter().for_each(|(target, bucket)| shared.demand.of(target).note(bucket, &shared.options, now));
}

/// Has successors opened where connections come to their end. To be called after a sweep, which sees them. On a worker.
pub(crate) fn renew<P: Protocol>(shared: &Arc<Shared<P>>) {
    for (target, bucket) in shared.pool.buckets() {
        if bucket.ending() == 0 {
            continue;
        }
        let demand = shared.demand.of(&target);
        let needed = demand.needed(&shared.options);
        if missing(&bucket, needed) > 0 && !demand.is_renewing.swap(true, SeqCst) {
            let shared = shared.clone();
            drop(spawn_local(async move {
                let _done = Renewing(&demand);
                let missing = || missing(&bucket, needed);
                // What failed is tried again at the next look.
                drop(warm(&shared, &target, &bucket, Opener::Successor, missing).await);
            }));
        }
    }
}

/// How many must be opened for no fewer than `needed` to be there when those near their end have gone.
fn missing<S: crate::Session>(bucket: &Bucket<Slot<S>>, needed: usize) -> usize {
    let (ending, places) = (bucket.ending(), bucket.places());
    needed.min(places).saturating_sub(places.saturating_sub(ending)).min(ending)
}

/// Dropped also when the engine stops meanwhile.
struct Renewing<'a>(&'a Demand);

impl Drop for Renewing<'_> {
    fn drop(&mut self) {
        self.0.is_renewing.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use millstream_pool::{EvictCause, Pool, PoolOptions};

    use super::*;

    #[test]
    fn all_but_the_busiest_hundredth_counts() {
        let (mut peaks, begun) = (Peaks::default(), Instant::now());
        let at = |second: f64| begun + Duration::from_secs_f64(second);
        let needed = |peaks: &Peaks| peaks.needed(Duration::MAX);
        assert_eq!(needed(&peaks), 0);
        peaks.note(7, at(0.0));
        peaks.note(3, at(0.9));
        assert_eq!((needed(&peaks), peaks.most.len()), (7, 1), "the most of a second");
        (1..297).for_each(|second| peaks.note(10, at(f64::from(second))));
        (297..300).for_each(|second| peaks.note(500, at(f64::from(second))));
        assert_eq!((needed(&peaks), peaks.most.len()), (10, SECONDS), "three of 300 are a hundredth");
        peaks.note(500, at(300.5));
        assert_eq!((needed(&peaks), peaks.most.len()), (500, SECONDS), "four are more");
        peaks.note(1, at(598.0));
        assert_eq!(needed(&peaks), 0, "three that are not 0, after 297 seconds without anybody");
        peaks.note(2, at(5000.0));
        assert_eq!((needed(&peaks), peaks.most.iter().max()), (0, Some(&2)));
    }

    #[test]
    fn what_nobody_used_lately_is_not_needed() {
        let (mut peaks, begun) = (Peaks::default(), Instant::now());
        let second = Duration::from_secs;
        (0..100).for_each(|at| peaks.note(8, begun + second(at)));
        (100..150).for_each(|at| peaks.note(2, begun + second(at)));
        for (idle_timeout, expected) in [(0, 2), (49, 2), (50, 8), (60, 8), (100_000, 8)] {
            assert_eq!(peaks.needed(second(idle_timeout)), expected, "{idle_timeout} s");
        }
        (150..220).for_each(|at| peaks.note(0, begun + second(at)));
        assert_eq!(peaks.needed(second(60)), 0);
    }

    struct Session;

    impl Pooled for Session {
        fn is_usable(&mut self) -> bool {
            true
        }
    }

    /// A target on a clock of its own, with an idle timeout of 10 s.
    struct Room {
        pool: Pool<u8, Session>,
        demand: Demand,
        options: ClientOptions,
        now: Instant,
    }

    impl Room {
        fn new(keep_needed: bool) -> Self {
            let options =
                ClientOptions { idle_timeout: Duration::from_secs(10), keep_needed, ..Default::default() };
            let pool = PoolOptions::default().shards(2).idle_timeout(options.idle_timeout);
            let (pool, demand) = (Pool::new(pool.lifetime(Duration::MAX)), Demand::default());
            Self { pool, demand, options, now: Instant::now() }
        }

        /// Eight calls at once.
        fn burst(&self) {
            let bucket = self.pool.bucket(&0);
            let open = || bucket.try_reserve().expect("below the limit").fill(Session, self.now);
            let one = |shard| bucket.try_checkout(shard, self.now).unwrap_or_else(open);
            let lent: Vec<_> = (0..8).map(one).collect();
            (0..).zip(lent).for_each(|(shard, lent)| lent.give_back(shard, self.now));
        }

        /// A second passes, and the client looks; gives how many are open then.
        fn second(&mut self) -> usize {
            self.now += Duration::from_secs(1);
            self.demand.note(&self.pool.bucket(&0), &self.options, self.now);
            drop(self.pool.sweep(self.now));
            self.pool.totals().open
        }
    }

    #[test]
    fn bursts_find_their_connections_where_what_is_needed_is_kept() {
        for (keep_needed, expected) in [(true, 8), (false, 160)] {
            let mut room = Room::new(keep_needed);
            for _ in 0..20 {
                room.burst();
                (0..30).for_each(|_| _ = room.second());
            }
            assert_eq!(room.pool.totals().dialled, expected, "kept: {keep_needed}");
        }
    }

    #[test]
    fn what_was_needed_is_forgotten_after_five_minutes() {
        for (keep_needed, expected) in [(true, 298), (false, 10)] {
            let mut room = Room::new(keep_needed);
            for _ in 0..400 {
                room.burst();
                assert_eq!(room.second(), 8);
            }
            // The first of these passed at the last look already; three seconds of 300 do not count.
            let passed = (2..).find(|_| room.second() == 0);
            assert_eq!(passed, Some(expected), "kept: {keep_needed}");
            assert_eq!(room.pool.totals().evicted(EvictCause::IdleTimeout), 8);
        }
    }

    #[test]
    fn looks_are_many_in_a_lifetime() {
        for (lifetime_ms, expected_ms) in
            [(0, 10), (400, 10), (2_000, 50), (40_000, 1_000), (1_800_000, 1_000)]
        {
            let every = look_every(Duration::from_millis(lifetime_ms));
            assert_eq!(every, Duration::from_millis(expected_ms), "{lifetime_ms}");
        }
        assert_eq!(look_every(Duration::MAX), Duration::from_secs(1));
    }
}
