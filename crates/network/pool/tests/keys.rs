//! Many keys: none in use is lost, none out of use is kept.

mod session;

use std::sync::Arc;
use std::time::Instant;

use millstream_pool::{Bucket, EvictCause, Grant, Pool, PoolOptions};
use session::{SECOND, Session, World, block_on};

struct House {
    world: Arc<World>,
    pool: Pool<u32, Session>,
    now: Instant,
}

impl House {
    fn new(max_keys: usize) -> Self {
        let pool = Pool::new(PoolOptions::default().shards(1).max_keys(max_keys));
        Self { world: Arc::default(), pool, now: Instant::now() }
    }

    fn call(&self, key: u32, at: u32) {
        let now = self.now + at * SECOND;
        let lent = match block_on(self.pool.bucket(&key).checkout(0, now)).expect("open") {
            Grant::Session(lent) => lent,
            Grant::Dial(permit) => permit.fill(self.world.open(key.to_string()), now),
        };
        lent.give_back(0, now);
    }
}

#[test]
fn key_has_one_bucket() {
    let house = House::new(10);
    let bucket = house.pool.bucket(&1);
    assert!(Arc::ptr_eq(&bucket, &house.pool.bucket(&1)));
    assert!(Arc::ptr_eq(&bucket, &house.pool.clone().bucket(&1)));
}

#[test]
fn sweep_forgets_empty_buckets_and_keeps_those_in_use() {
    let house = House::new(10);
    let kept = house.pool.bucket(&1);
    house.call(2, 0);
    house.pool.bucket(&3);
    drop(house.pool.sweep(house.now));
    assert_eq!(house.pool.keys(), 2, "one is kept, one has stock");
    drop(house.pool.sweep(house.now + 60 * SECOND));
    drop(house.pool.sweep(house.now + 60 * SECOND));
    assert_eq!(house.pool.keys(), 1);
    assert!(Arc::ptr_eq(&kept, &house.pool.bucket(&1)));
}

#[test]
fn totals_remember_what_forgotten_buckets_counted() {
    let house = House::new(10);
    (0..5).for_each(|key| house.call(key, 0));
    house.call(0, 1);
    drop(house.pool.sweep(house.now + 100 * SECOND));
    drop(house.pool.sweep(house.now + 100 * SECOND));
    let totals = house.pool.totals();
    assert_eq!((house.pool.keys(), totals.dialled, totals.reused), (0, 5, 1));
    assert_eq!((totals.open, totals.evicted(EvictCause::IdleTimeout)), (0, 5));
}

#[test]
fn endless_stream_of_keys_keeps_to_the_limit() {
    let house = House::new(16);
    for key in 0..1000 {
        house.call(key, key);
        assert!(house.pool.keys() <= 16);
    }
    let totals = house.pool.totals();
    assert_eq!((totals.dialled, totals.open), (1000, house.world.live()));
    assert_eq!(totals.evicted(EvictCause::Capacity), 1000 - house.world.live() as u64);
}

#[test]
fn keys_used_least_lately_go_first() {
    let house = House::new(16);
    (0..16).for_each(|key| house.call(key, key));
    house.call(0, 50);
    house.call(99, 51);
    let gone: Vec<_> = house.world.ended().into_iter().map(|(name, _)| name).collect();
    assert_eq!(gone, ["1", "2"]);
}

#[test]
fn buckets_in_use_stay_even_above_the_limit() {
    let house = House::new(4);
    let kept: Vec<Arc<Bucket<_>>> = (0..100).map(|key| house.pool.bucket(&key)).collect();
    assert_eq!(house.pool.keys(), 100);
    assert!((0..100).all(|key| Arc::ptr_eq(&kept[key as usize], &house.pool.bucket(&key))));
    drop(kept);
    house.call(200, 0);
    assert!(house.pool.keys() <= 101);
    drop(house.pool.sweep(house.now));
    assert_eq!(house.pool.keys(), 1);
    (300..400).for_each(|key| house.call(key, key));
    assert!(house.pool.keys() <= 4, "{}", house.pool.keys());
}

#[test]
fn threads_that_ask_for_the_same_keys_share_their_buckets() {
    let house = House::new(8);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let house = &house;
            scope.spawn(move || {
                for turn in 0..2000u32 {
                    house.call((turn * 7 + thread) % 24, turn / 100);
                    if turn % 64 == 0 {
                        drop(house.pool.sweep(house.now + (turn / 100) * SECOND));
                    }
                }
            });
        }
    });
    let totals = house.pool.totals();
    assert_eq!(totals.dialled + totals.reused, 8000);
    assert_eq!(totals.open, house.world.live());
    assert_eq!(totals.dialled, totals.open as u64 + totals.evicted_total());
}
