//! From key to bucket, for the whole process.
//!
//! Rules:
//! 1. `map` is touched under its lock; under it run `Hash`, `Eq` and `Clone` of the key, and nothing else of the user's.
//! 2. A bucket is taken out of the map only under the write lock and while the map holds the only reference to it. So
//!    nobody else has it, nor can get it: there are never two buckets of one key in use. It is closed all the same,
//!    for a watch may hold a `Weak`.
//! 3. What a bucket has counted is added to `gone` when it leaves, under the same lock: totals never go back.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{Ordering::Acquire, fence};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crate::shared::Shared;
use crate::{Bucket, EvictCause, Evicted, PoolOptions, Pooled, Stats};

/// A stock of sessions `S` for each key `K`. Clones share it; the last one to go closes what is idle.
///
/// ```
/// use millstream_pool::{EvictCause, Grant, Pool, PoolOptions, Pooled};
/// use std::time::Instant;
///
/// struct Session(String);
/// impl Pooled for Session {
///     fn is_usable(&mut self) -> bool {
///         true
///     }
/// }
///
/// # fn main() -> Result<(), millstream_base::Error> {
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool: Pool<&str, Session> = Pool::new(PoolOptions::default().max_open(2));
/// let (shard, now) = (0, Instant::now());
/// let lent = match pool.bucket(&"db:80").checkout(shard, now).await? {
///     Grant::Session(lent) => lent,
///     Grant::Dial(place) => place.fill(Session("opened".into()), now),
/// };
/// assert_eq!(lent.0, "opened");
/// lent.give_back(shard, now);
/// assert!(matches!(pool.bucket(&"db:80").checkout(shard, now).await?, Grant::Session(_)));
/// # Ok(()) }) }
/// ```
pub struct Pool<K: Key, S: Pooled>(Arc<Inner<K, S>>);

/// What tells two kinds of session apart: all that makes one unfit to do the other's work.
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Key for K {}

struct Inner<K: Key, S: Pooled> {
    shared: Arc<Shared>,
    map: RwLock<Map<K, S>>,
}

struct Map<K, S> {
    buckets: HashMap<K, Arc<Bucket<S>>>,
    /// At this many keys, room is made before another one comes.
    full_at: usize,
    gone: Stats,
    closed: bool,
}

impl<K: Key, S: Pooled> Pool<K, S> {
    /// An empty pool.
    pub fn new(options: PoolOptions) -> Self {
        let full_at = options.max_keys.max(1);
        let map = Map { buckets: HashMap::new(), full_at, gone: Stats::default(), closed: false };
        Self(Arc::new(Inner { shared: Arc::new(Shared::new(options)), map: RwLock::new(map) }))
    }

    /// What it was made with.
    pub fn options(&self) -> &PoolOptions {
        &self.0.shared.options
    }

    /// The bucket of this key. Keep it rather than ask for each call.
    pub fn bucket(&self, key: &K) -> Arc<Bucket<S>> {
        if let Some(bucket) = self.0.read().buckets.get(key) {
            return Arc::clone(bucket);
        }
        let is_full = {
            let map = self.0.read();
            map.buckets.len() >= map.full_at
        };
        if is_full {
            self.make_room();
        }
        let mut map = self.0.write();
        if map.closed {
            drop(map);
            return self.0.closed_bucket();
        }
        let new = || Arc::new(Bucket::new(Arc::clone(&self.0.shared)));
        Arc::clone(map.buckets.entry(key.clone()).or_insert_with(new))
    }

    /// How many keys have a bucket.
    pub fn keys(&self) -> usize {
        self.0.read().buckets.len()
    }

    /// Takes from all stocks what has lain there, or lived, for long enough, and forgets empty buckets. To be called
    /// every few seconds.
    pub fn sweep(&self, now: Instant) -> Vec<Evicted<S>> {
        let evicted = self.0.buckets().iter().flat_map(|bucket| bucket.sweep(now)).collect();
        self.0.prune();
        evicted
    }

    /// Takes all from all stocks; what is lent is closed when it is given back. New sessions may be opened.
    pub fn close_all(&self) -> Vec<Evicted<S>> {
        self.0.buckets().iter().flat_map(Bucket::close_all).collect()
    }

    /// Closes the pool for good: takes all from all stocks, refuses whoever waits or comes; what is lent is closed when
    /// it is given back.
    pub fn drain(&self) -> Vec<Evicted<S>> {
        self.0.close()
    }

    /// All buckets there are, with their keys. They are not forgotten while they are looked at.
    pub fn buckets(&self) -> Vec<(K, Arc<Bucket<S>>)> {
        self.0.read().buckets.iter().map(|(key, bucket)| (key.clone(), Arc::clone(bucket))).collect()
    }

    /// The numbers of each bucket.
    pub fn stats(&self) -> Vec<(K, Stats)> {
        self.0.read().buckets.iter().map(|(key, bucket)| (key.clone(), bucket.stats())).collect()
    }

    /// The numbers over all buckets, those forgotten included.
    pub fn totals(&self) -> Stats {
        let map = self.0.read();
        let mut totals = map.gone;
        map.buckets.values().for_each(|bucket| totals += bucket.stats());
        totals
    }

    /// Forgets buckets until there is room for more: empty ones, and if those are not enough an eighth of all, those
    /// used least lately, with what they have in stock. Buckets that somebody keeps stay.
    #[cold]
    fn make_room(&self) {
        self.0.prune();
        let most = self.0.shared.options.max_keys.max(1);
        let mut unused: Vec<(Option<Instant>, K)> = {
            let map = self.0.read();
            if map.buckets.len() < most {
                return;
            }
            let unused = map.buckets.iter().filter(|(_, bucket)| is_unused(bucket));
            unused.map(|(key, bucket)| (bucket.last_idle_since(), key.clone())).collect()
        };
        unused.sort_unstable_by_key(|(since, _)| *since);
        unused.truncate(most.div_ceil(8));
        let removed: Vec<Arc<_>> = {
            let mut map = self.0.write();
            let removed = unused.into_iter().filter_map(|(_, key)| map.remove_unused(&key)).collect();
            // With all in use the next look comes an eighth later, so that it stays cheap.
            map.full_at = most.max(map.buckets.len() + map.buckets.len() / 8);
            removed
        };
        close_all(removed);
    }
}

impl<K: Key, S: Pooled> Inner<K, S> {
    fn read(&self) -> RwLockReadGuard<'_, Map<K, S>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map<K, S>> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn buckets(&self) -> Vec<Arc<Bucket<S>>> {
        self.read().buckets.values().map(Arc::clone).collect()
    }

    /// Forgets empty buckets that nobody keeps.
    fn prune(&self) {
        let is_empty = |bucket: &Arc<Bucket<S>>| is_unused(bucket) && bucket.stats().idle == 0;
        if !self.read().buckets.values().any(is_empty) {
            return;
        }
        let mut map = self.write();
        let removed: Vec<_> =
            map.buckets.extract_if(|_, bucket| is_empty(bucket)).map(|(_, bucket)| bucket).collect();
        removed.iter().for_each(|bucket| map.gone += bucket.stats().ended(EvictCause::Capacity));
        map.full_at = self.shared.options.max_keys.max(1).max(map.buckets.len());
        drop(map);
        close_all(removed);
    }

    fn close(&self) -> Vec<Evicted<S>> {
        self.write().closed = true;
        self.buckets().iter().flat_map(|bucket| bucket.close(EvictCause::Drain)).collect()
    }

    /// A bucket that refuses everything.
    fn closed_bucket(&self) -> Arc<Bucket<S>> {
        let bucket = Arc::new(Bucket::new(Arc::clone(&self.shared)));
        drop(bucket.close(EvictCause::Drain));
        bucket
    }
}

impl<K: Key, S: Pooled> Map<K, S> {
    /// Rule 2.
    fn remove_unused(&mut self, key: &K) -> Option<Arc<Bucket<S>>> {
        if !is_unused(self.buckets.get(key)?) {
            return None;
        }
        let bucket = self.buckets.remove(key)?;
        self.gone += bucket.stats().ended(EvictCause::Capacity);
        Some(bucket)
    }
}

/// The end of buckets that were forgotten.
fn close_all<S: Pooled>(buckets: Vec<Arc<Bucket<S>>>) {
    buckets.iter().for_each(|bucket| drop(bucket.close(EvictCause::Capacity)));
}

/// Does the map hold the only reference? What is lent, reserved or waiting holds one, what is in stock does not.
fn is_unused<S>(bucket: &Arc<Bucket<S>>) -> bool {
    let is_unused = Arc::strong_count(bucket) == 1;
    // Partner: the Release with which the last holder dropped its reference, after what it did to the bucket.
    fence(Acquire);
    is_unused
}

impl<K: Key, S: Pooled> Clone for Pool<K, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Key, S: Pooled> Drop for Inner<K, S> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl<K: Key, S: Pooled> fmt::Debug for Pool<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("keys", &self.keys()).field("totals", &self.totals()).finish()
    }
}
