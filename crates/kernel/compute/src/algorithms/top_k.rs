//! The largest.

use std::cmp::Ordering;

use super::{changed, slices};
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
