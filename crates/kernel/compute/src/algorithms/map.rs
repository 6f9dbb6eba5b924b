//! Each for itself, and all to one.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::changed;
use crate::{Computing, Queue};

/// What `change` makes of each, in order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let texts = algorithms::map(&queue, vec![1, 2, 3], |n| n.to_string()).wait()?;
/// assert_eq!(texts, ["1", "2", "3"]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn map<T, U, F>(queue: &Queue, values: Vec<T>, change: F) -> Computing<Vec<U>>
where
    T: Send + 'static,
    U: Send + 'static,
    F: FnMut(T) -> U + Send + 'static,
{
    queue.run(move || values.into_iter().map(change).collect())
}

/// What `change` makes of each on all threads, in order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let squares = algorithms::par_map(&queue, vec![1, 2, 3], |n| n * n).wait()?;
/// assert_eq!(squares, [1, 4, 9]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_map<T, U, F>(queue: &Queue, values: Vec<T>, change: F) -> Computing<Vec<U>>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Fn(T) -> U + Send + Sync + 'static,
{
    queue.parallel(move || values.into_par_iter().map(change).collect())
}

/// Those that `is_kept` says yes to, in order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let even = algorithms::filter(&queue, vec![1, 2, 3, 4], |n| n % 2 == 0).wait()?;
/// assert_eq!(even, [2, 4]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn filter<T, F>(queue: &Queue, values: Vec<T>, is_kept: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: FnMut(&T) -> bool + Send + 'static,
{
    changed(queue, values, |values| values.retain(is_kept))
}

/// Those that `is_kept` says yes to, asked on all threads, in order.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let even = algorithms::par_filter(&queue, vec![1, 2, 3, 4], |n| n % 2 == 0).wait()?;
/// assert_eq!(even, [2, 4]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_filter<T, F>(queue: &Queue, values: Vec<T>, is_kept: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: Fn(&T) -> bool + Send + Sync + 'static,
{
    queue.parallel(move || values.into_par_iter().filter(is_kept).collect())
}

/// All joined to one, from the first on; `None` of nothing.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let most = algorithms::reduce(&queue, vec![3, 9, 4], i32::max).wait()?;
/// assert_eq!(most, Some(9));
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn reduce<T, F>(queue: &Queue, values: Vec<T>, join: F) -> Computing<Option<T>>
where
    T: Send + 'static,
    F: FnMut(T, T) -> T + Send + 'static,
{
    queue.run(move || values.into_iter().reduce(join))
}

/// All joined to one on all threads; `None` of nothing. Neighbours are joined in any grouping, so `join` must be associative, as sums of
/// whole numbers are; those of floating point differ in the last digits from run to run.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let sum = algorithms::par_reduce(&queue, (1..=100).collect(), |a: u64, b| a + b).wait()?;
/// assert_eq!(sum, Some(5050));
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_reduce<T, F>(queue: &Queue, values: Vec<T>, join: F) -> Computing<Option<T>>
where
    T: Send + 'static,
    F: Fn(T, T) -> T + Send + Sync + 'static,
{
    queue.parallel(move || values.into_par_iter().reduce_with(join))
}
