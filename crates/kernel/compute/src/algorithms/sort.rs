//! Sorting.

use std::cmp::Ordering;

use rayon::slice::ParallelSliceMut;

use super::{changed, changed_in_parallel};
use crate::{Computing, Queue};

/// Sorts; equal ones keep their order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let sorted = algorithms::sort(&queue, vec![3, 1, 2]).wait()?;
/// assert_eq!(sorted, [1, 2, 3]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn sort<T>(queue: &Queue, values: Vec<T>) -> Computing<Vec<T>>
where
    T: Ord + Send + 'static,
{
    changed(queue, values, |values| values.sort())
}

/// Sorts by this comparison; equal ones keep their order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let falling = algorithms::sort_by(&queue, vec![3, 1, 2], |a, b| b.cmp(a)).wait()?;
/// assert_eq!(falling, [3, 2, 1]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn sort_by<T, F>(queue: &Queue, values: Vec<T>, compare: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: FnMut(&T, &T) -> Ordering + Send + 'static,
{
    changed(queue, values, |values| values.sort_by(compare))
}

/// Sorts by what `key` gives of each; equal ones keep their order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let by_size = algorithms::sort_by_key(&queue, vec!["ccc", "a", "bb"], |word| word.len()).wait()?;
/// assert_eq!(by_size, ["a", "bb", "ccc"]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn sort_by_key<T, K, F>(queue: &Queue, values: Vec<T>, key: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    K: Ord,
    F: FnMut(&T) -> K + Send + 'static,
{
    changed(queue, values, |values| values.sort_by_key(key))
}

/// Sorts without a buffer; equal ones may change places.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let sorted = algorithms::sort_unstable(&queue, vec![3, 1, 2]).wait()?;
/// assert_eq!(sorted, [1, 2, 3]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn sort_unstable<T>(queue: &Queue, values: Vec<T>) -> Computing<Vec<T>>
where
    T: Ord + Send + 'static,
{
    changed(queue, values, |values| values.sort_unstable())
}

/// Sorts by this comparison without a buffer; equal ones may change places.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let falling = algorithms::sort_unstable_by(&queue, vec![3, 1, 2], |a, b| b.cmp(a)).wait()?;
/// assert_eq!(falling, [3, 2, 1]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn sort_unstable_by<T, F>(queue: &Queue, values: Vec<T>, compare: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: FnMut(&T, &T) -> Ordering + Send + 'static,
{
    changed(queue, values, |values| values.sort_unstable_by(compare))
}

/// Sorts by what `key` gives of each without a buffer; equal ones may change places.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let by_size = algorithms::sort_unstable_by_key(&queue, vec!["ccc", "a", "bb"], |word| word.len()).wait()?;
/// assert_eq!(by_size, ["a", "bb", "ccc"]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn sort_unstable_by_key<T, K, F>(queue: &Queue, values: Vec<T>, key: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    K: Ord,
    F: FnMut(&T) -> K + Send + 'static,
{
    changed(queue, values, |values| values.sort_unstable_by_key(key))
}

/// Sorts on all threads; equal ones keep their order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let sorted = algorithms::par_sort(&queue, vec![3, 1, 2]).wait()?;
/// assert_eq!(sorted, [1, 2, 3]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_sort<T>(queue: &Queue, values: Vec<T>) -> Computing<Vec<T>>
where
    T: Ord + Send + 'static,
{
    changed_in_parallel(queue, values, |values| values.par_sort())
}

/// Sorts on all threads by this comparison; equal ones keep their order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let falling = algorithms::par_sort_by(&queue, vec![3, 1, 2], |a, b| b.cmp(a)).wait()?;
/// assert_eq!(falling, [3, 2, 1]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_sort_by<T, F>(queue: &Queue, values: Vec<T>, compare: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
{
    changed_in_parallel(queue, values, |values| values.par_sort_by(compare))
}

/// Sorts on all threads by what `key` gives of each; equal ones keep their order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let by_size = algorithms::par_sort_by_key(&queue, vec!["ccc", "a", "bb"], |word| word.len()).wait()?;
/// assert_eq!(by_size, ["a", "bb", "ccc"]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_sort_by_key<T, K, F>(queue: &Queue, values: Vec<T>, key: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    K: Ord,
    F: Fn(&T) -> K + Send + Sync + 'static,
{
    changed_in_parallel(queue, values, |values| values.par_sort_by_key(key))
}

/// Sorts on all threads without a buffer; equal ones may change places. The quickest for numbers.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let sorted = algorithms::par_sort_unstable(&queue, vec![3, 1, 2]).wait()?;
/// assert_eq!(sorted, [1, 2, 3]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_sort_unstable<T>(queue: &Queue, values: Vec<T>) -> Computing<Vec<T>>
where
    T: Ord + Send + 'static,
{
    changed_in_parallel(queue, values, |values| values.par_sort_unstable())
}

/// Sorts on all threads by this comparison without a buffer; equal ones may change places. The quickest for numbers.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let falling = algorithms::par_sort_unstable_by(&queue, vec![3, 1, 2], |a, b| b.cmp(a)).wait()?;
/// assert_eq!(falling, [3, 2, 1]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_sort_unstable_by<T, F>(queue: &Queue, values: Vec<T>, compare: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
{
    changed_in_parallel(queue, values, |values| values.par_sort_unstable_by(compare))
}

/// Sorts on all threads by what `key` gives of each without a buffer; equal ones may change places. The quickest for numbers.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let by_size = algorithms::par_sort_unstable_by_key(&queue, vec!["ccc", "a", "bb"], |word| word.len()).wait()?;
/// assert_eq!(by_size, ["a", "bb", "ccc"]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_sort_unstable_by_key<T, K, F>(queue: &Queue, values: Vec<T>, key: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    K: Ord,
    F: Fn(&T) -> K + Send + Sync + 'static,
{
    changed_in_parallel(queue, values, |values| values.par_sort_unstable_by_key(key))
}
