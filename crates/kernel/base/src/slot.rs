//! Counters without contention: each worker writes its own cells, whoever reads adds them up.
//!
//! Rules:
//! 1. A thread's [`Slot`] is set once, by the runtime, when the thread becomes a worker of an engine.
//! 2. Cell `i > 0` is written only by the worker with index `i - 1` of the engine that owns the counters, with a plain
//!    load and store: no other writer exists, so no update is lost.
//! 3. Cell 0 is for every other thread (foreign runtimes, other engines) and is written with `fetch_add`.
//! 4. Readers load all cells `Relaxed`: a sum may miss what is being counted this very moment, never more.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::EngineId;

/// Which worker of which engine a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    engine: u32,
    index: u32,
}

impl Slot {
    /// Makes the current thread worker `index` of `engine`. Called by the runtime, once a thread.
    pub fn enter(engine: EngineId, index: usize) {
        let index = u32::try_from(index).expect("an engine has fewer than 2^32 workers");
        CURRENT.set(Slot { engine: engine.number(), index });
    }

    /// The worker index of the current thread in `engine`, if it is one of its workers.
    #[inline]
    pub fn index_in(engine: EngineId) -> Option<usize> {
        let slot = CURRENT.get();
        (slot.engine == engine.number()).then_some(slot.index as usize)
    }

    /// The cell for the current thread in a set that has `cells` cells: rule 2 and 3.
    #[inline]
    pub(crate) fn cell(engine: EngineId, cells: usize) -> usize {
        match Self::index_in(engine) {
            Some(index) if index + 1 < cells => index + 1,
            _ => 0,
        }
    }
}

thread_local! {
    static CURRENT: Cell<Slot> = const { Cell::new(Slot { engine: 0, index: 0 }) };
}

/// `N` counters that belong together, with own cells for each worker.
///
/// ```
/// use millstream_base::{Counters, EngineId};
/// let counters: Counters<2> = Counters::new(EngineId::next(), 4);
/// counters.add(0, 3);
/// assert_eq!(counters.sum(0), 3);
/// ```
#[derive(Debug)]
pub struct Counters<const N: usize> {
    engine: EngineId,
    cells: Box<[Row<N>]>,
}

/// One writer's cells, on cache lines of their own (128 bytes: x86 fetches lines in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counters<N> {
    /// Counters at zero for an engine with this many workers.
    pub fn new(engine: EngineId, workers: usize) -> Self {
        let row = |_| Row(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { engine, cells: (0..=workers).map(row).collect() }
    }

    /// Adds `amount` to counter `which`.
    #[inline]
    pub fn add(&self, which: usize, amount: u64) {
        let index = Slot::cell(self.engine, self.cells.len());
        let cell = &self.cells[index].0[which];
        if index == 0 {
            cell.fetch_add(amount, Relaxed);
        } else {
            // Rule 2: this thread is the only writer.
            cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
        }
    }

    /// The sum over all workers.
    pub fn sum(&self, which: usize) -> u64 {
        self.cells.iter().fold(0, |sum, row| sum.wrapping_add(row.0[which].load(Relaxed)))
    }
}

/// A number that goes up and down, written rarely enough for one shared cell.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge at zero.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds `amount`, which may be negative, and gives the value after it.
    pub fn add(&self, amount: i64) -> i64 {
        self.0.fetch_add(amount, Relaxed) + amount
    }

    /// The value now.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_strangers_add_up() {
        let engine = EngineId::next();
        let counters: Counters<2> = Counters::new(engine, 2);
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let counters = &counters;
                scope.spawn(move || {
                    Slot::enter(engine, worker);
                    (0..1000).for_each(|_| counters.add(1, 1));
                });
            }
            for _ in 0..3 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(1, 1)));
            }
        });
        assert_eq!((counters.sum(0), counters.sum(1)), (0, 5000));
    }

    #[test]
    fn worker_of_another_engine_is_a_stranger() {
        let ours = EngineId::next();
        let other = EngineId::next();
        let counters: Counters<1> = Counters::new(ours, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                Slot::enter(other, 0);
                assert_eq!(Slot::index_in(ours), None);
                counters.add(0, 7);
            });
        });
        assert_eq!(counters.cells[0].0[0].load(Relaxed), 7);
    }
}
