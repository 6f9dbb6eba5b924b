//! Another order: merged, shuffled, turned.

use std::cmp::Ordering;

use super::{changed, slices};
use crate::{Computing, Queue};

/// Merges two sorted vectors into one; of equal ones those of `left` come first. Linear: the standard library's stable sort finds what
/// is sorted already. Of vectors that are not, too, the output is sorted.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let merged = algorithms::merge(&queue, vec![1, 3, 5], vec![2, 3, 4]).wait()?;
/// assert_eq!(merged, [1, 2, 3, 3, 4, 5]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn merge<T>(queue: &Queue, left: Vec<T>, right: Vec<T>) -> Computing<Vec<T>>
where
    T: Ord + Send + 'static,
{
    merge_by(queue, left, right, T::cmp)
}

/// The same for two that are sorted by this comparison.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let merged = algorithms::merge_by(&queue, vec![5, 3], vec![4, 2], |a, b| b.cmp(a)).wait()?;
/// assert_eq!(merged, [5, 4, 3, 2]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn merge_by<T, F>(queue: &Queue, left: Vec<T>, mut right: Vec<T>, compare: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: FnMut(&T, &T) -> Ordering + Send + 'static,
{
    changed(queue, left, move |left| {
        left.append(&mut right);
        left.sort_by(compare);
    })
}

/// A random order, the same for the same seed, as [`slices::shuffle`] gives it. Not for secrets.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let shuffled = algorithms::shuffle(&queue, vec![1, 2, 3, 4, 5], 7).wait()?;
/// let again = algorithms::shuffle(&queue, vec![1, 2, 3, 4, 5], 7).wait()?;
/// assert_eq!(shuffled, again);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn shuffle<T>(queue: &Queue, values: Vec<T>, seed: u64) -> Computing<Vec<T>>
where
    T: Send + 'static,
{
    changed(queue, values, move |values| slices::shuffle(values, seed))
}

/// The last comes first.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// assert_eq!(algorithms::reverse(&queue, vec![1, 2, 3]).wait()?, [3, 2, 1]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn reverse<T>(queue: &Queue, values: Vec<T>) -> Computing<Vec<T>>
where
    T: Send + 'static,
{
    changed(queue, values, |values| values.reverse())
}

/// The first `count` go to the end, in their order; a `count` beyond the length goes round.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// assert_eq!(algorithms::rotate_left(&queue, vec![1, 2, 3, 4], 1).wait()?, [2, 3, 4, 1]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn rotate_left<T>(queue: &Queue, values: Vec<T>, count: usize) -> Computing<Vec<T>>
where
    T: Send + 'static,
{
    changed(queue, values, move |values| {
        let count = count.checked_rem(values.len()).unwrap_or(0);
        values.rotate_left(count);
    })
}

/// The last `count` go to the front, in their order; a `count` beyond the length goes round.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// assert_eq!(algorithms::rotate_right(&queue, vec![1, 2, 3, 4], 1).wait()?, [4, 1, 2, 3]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn rotate_right<T>(queue: &Queue, values: Vec<T>, count: usize) -> Computing<Vec<T>>
where
    T: Send + 'static,
{
    changed(queue, values, move |values| {
        let count = count.checked_rem(values.len()).unwrap_or(0);
        values.rotate_right(count);
    })
}
