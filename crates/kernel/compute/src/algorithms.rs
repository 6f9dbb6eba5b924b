//! Sorting and the like as computations: a vector is given, and comes back in the output.
//!
//! Each function gives its work to a queue and returns a [`Computing`]: a future under any runtime, or waited for by a plain thread. Those
//! named `par_...` use all threads of the pool that are free, as [`Queue::parallel`] does; a team costs
//! 10 to 40 µs (`cargo xtask bench compute`), so they are worth it where the work takes much longer. A panic in a closure that was given is
//! [`Kind::Panic`](millstream_base::Kind::Panic), and the vector is lost.
//!
//! Dropping the [`Computing`] of one that has not begun cancels it. When it is dropped, its deadline passes or the pool ends while one
//! runs, those that give the elements to a closure one by one stop midway: [`map`], [`filter`], [`reduce`], [`scan`], those on all
//! threads too, and [`unique_by_key`]. They ask before each element whether to go on; if not, all elements are dropped, and who still
//! waits, since the pool has ended, gets [`Kind::Cancelled`](millstream_base::Kind::Cancelled). All others, as sorts, merges, shuffles
//! and turns, go on to their end; their output is dropped, or given where the pool ends.
//!
//! On borrowed slices the same is done within [`Queue::scope`], by the standard library, by rayon, and by [`slices`] for what neither has.
//!
//! ```
//! use millstream_compute::{Compute, algorithms};
//!
//! let compute = Compute::new(2, "example")?;
//! let queue = compute.queue("numbers");
//! let shuffled = algorithms::shuffle(&queue, (0..100).collect(), 7).wait()?;
//! let sorted = algorithms::par_sort_unstable(&queue, shuffled).wait()?;
//! assert!(sorted.into_iter().eq(0..100));
//! # Ok::<(), millstream_base::Error>(())
//! ```

use millstream_base::Result;

use crate::cell::stopped;
use crate::{CancelToken, Computing, Queue};

mod map;
mod order;
mod scan;
pub mod slices;
mod sort;
mod top_k;
mod unique;

pub use map::{filter, map, par_filter, par_map, par_reduce, reduce};
pub use order::{merge, merge_by, reverse, rotate_left, rotate_right, shuffle};
pub use scan::{par_scan, scan};
pub use sort::{
    par_sort, par_sort_by, par_sort_by_key, par_sort_unstable, par_sort_unstable_by,
    par_sort_unstable_by_key, sort, sort_by, sort_by_key, sort_unstable, sort_unstable_by,
    sort_unstable_by_key,
};
pub use top_k::{par_top_k, par_top_k_by, top_k, top_k_by};
pub use unique::{unique, unique_by_key};

/// Changes a vector on one thread.
fn changed<T: Send + 'static>(
    queue: &Queue,
    mut values: Vec<T>,
    change: impl FnOnce(&mut Vec<T>) + Send + 'static,
) -> Computing<Vec<T>> {
    queue.run(move || {
        change(&mut values);
        values
    })
}

/// Changes a vector on all threads.
fn changed_in_parallel<T: Send + 'static>(
    queue: &Queue,
    mut values: Vec<T>,
    change: impl FnOnce(&mut Vec<T>) + Send + 'static,
) -> Computing<Vec<T>> {
    queue.parallel(move || {
        change(&mut values);
        values
    })
}

/// Computes on one thread what stops midway where the token says so.
///
/// The token is asked for each element, since a closure may take long. That costs 0.2 to 0.3 ns, seen only where the closure is trivial
/// and the output takes the input's place: `map` of 10,000,000 `u64` took 5.8 ms, and 4.1 without asking (AMD EPYC; `compute_algorithms`
/// of `benches/peers`). It is the way out of the loop that costs: asked for every 16th or 1,024th it was no quicker.
fn stoppable<T: Send + 'static>(
    queue: &Queue,
    work: impl FnOnce(CancelToken<'_>) -> T + Send + 'static,
) -> Computing<T> {
    queue.try_run(move |token| whole(work(token), token))
}

/// The same on all threads.
fn stoppable_in_parallel<T: Send + 'static>(
    queue: &Queue,
    work: impl FnOnce(CancelToken<'_>) -> T + Send + 'static,
) -> Computing<T> {
    queue.try_parallel(move |token| whole(work(token), token))
}

/// The output, unless it may be a part: the token, once set, stays so. Who dropped the computing, or was late, does not see the error.
fn whole<T>(output: T, token: CancelToken<'_>) -> Result<T> {
    if token.is_cancelled() { Err(stopped()) } else { Ok(output) }
}

/// The size of a block where a vector is taken in blocks: 1 at least.
fn block_size(len: usize) -> usize {
    len.div_ceil(BLOCKS).max(1)
}

/// A guess: enough for the threads of most machines to end together, and few against the elements. It does not depend on the number of
/// threads, so that what is joined by blocks is the same everywhere, also in floating point.
const BLOCKS: usize = 128;
