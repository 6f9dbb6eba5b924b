//! The largest.

use std::cmp::Ordering;

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSliceMut;

use super::{block_size, changed, changed_in_parallel, slices};
use crate::{Computing, Queue};

/// The `count` largest, or all where there are fewer, the largest first; equal ones in any order. It takes n + k log k comparisons, in
/// order of size, and no buffer.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let best = algorithms::top_k(&queue, vec![4, 9, 1, 7], 2).wait()?;
/// assert_eq!(best, [9, 7]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn top_k<T>(queue: &Queue, values: Vec<T>, count: usize) -> Computing<Vec<T>>
where
    T: Ord + Send + 'static,
{
    top_k_by(queue, values, count, T::cmp)
}

/// The same by this comparison.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let best = algorithms::top_k_by(&queue, vec![0.5, 2.5, 1.5], 2, f64::total_cmp).wait()?;
/// assert_eq!(best, [2.5, 1.5]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn top_k_by<T, F>(queue: &Queue, values: Vec<T>, count: usize, compare: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: FnMut(&T, &T) -> Ordering + Send + 'static,
{
    changed(queue, values, move |values| {
        let kept = slices::top_k_by(values, count, compare).len();
        values.truncate(kept);
    })
}

/// The `count` largest by all threads, as [`top_k`] gives them: of each block first, then of what these have given. Where `count` is more
/// than an eighth of all, only the sort at the end is done by all threads.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let best = algorithms::par_top_k(&queue, vec![4, 9, 1, 7], 2).wait()?;
/// assert_eq!(best, [9, 7]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_top_k<T>(queue: &Queue, values: Vec<T>, count: usize) -> Computing<Vec<T>>
where
    T: Ord + Send + 'static,
{
    par_top_k_by(queue, values, count, T::cmp)
}

/// The same by this comparison.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let best = algorithms::par_top_k_by(&queue, vec![0.5, 2.5, 1.5], 2, f64::total_cmp).wait()?;
/// assert_eq!(best, [2.5, 1.5]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_top_k_by<T, F>(queue: &Queue, values: Vec<T>, count: usize, compare: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
{
    changed_in_parallel(queue, values, move |values| {
        let count = count.min(values.len());
        // An eighth of a block at most is looked at again; with a half or a quarter, 100,000 of 10,000,000 took longer
        // than on one thread.
        let size = block_size(values.len()).max(count.saturating_mul(8));
        values.par_chunks_mut(size).for_each(|block| {
            slices::select(block, count, &compare);
        });
        let selected = gather(values, size, count);
        let kept = slices::select(&mut values[..selected], count, &compare).len();
        values.truncate(kept);
        values.par_sort_unstable_by(|a, b| compare(b, a));
    })
}

/// Moves the first `count` of each block to the front of all, and gives how many they are.
fn gather<T>(values: &mut [T], size: usize, count: usize) -> usize {
    let mut gathered = 0;
    for begin in (0..values.len()).step_by(size) {
        for index in begin..values.len().min(begin + count) {
            values.swap(gathered, index);
            gathered += 1;
        }
    }
    gathered
}
