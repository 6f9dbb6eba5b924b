//! One of each.

use super::{changed, stoppable};
use crate::{Computing, Queue};

/// The first of equal neighbours; of a sorted vector, one of each.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let unique = algorithms::unique(&queue, vec![1, 1, 2, 2, 2, 1]).wait()?;
/// assert_eq!(unique, [1, 2, 1]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn unique<T>(queue: &Queue, values: Vec<T>) -> Computing<Vec<T>>
where
    T: PartialEq + Send + 'static,
{
    changed(queue, values, Vec::dedup)
}

/// The first of neighbours of which `key` gives the same.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let unique = algorithms::unique_by_key(&queue, vec![10, 11, 20, 12], |n| n / 10).wait()?;
/// assert_eq!(unique, [10, 20, 12]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn unique_by_key<T, K, F>(queue: &Queue, mut values: Vec<T>, mut key: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    K: PartialEq,
    F: FnMut(&T) -> K + Send + 'static,
{
    stoppable(queue, move |token| {
        values.dedup_by(|next, kept| token.is_cancelled() || key(next) == key(kept));
        values
    })
}
