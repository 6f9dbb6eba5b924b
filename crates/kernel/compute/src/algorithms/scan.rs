//! All that a reduction comes by.

use crate::{Computing, Queue};

/// For each the sum, or what `join` makes of it, of `first` and all up to and with this one.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let sums = algorithms::scan(&queue, vec![1, 2, 3], 10, |sum, n| sum + n).wait()?;
/// assert_eq!(sums, [11, 13, 16]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn scan<T, S, F>(queue: &Queue, values: Vec<T>, first: S, mut join: F) -> Computing<Vec<S>>
where
    T: Send + 'static,
    S: Send + 'static,
    F: FnMut(&S, T) -> S + Send + 'static,
{
    queue.run(move || {
        let mut sums: Vec<S> = Vec::with_capacity(values.len());
        for value in values {
            let sum = join(sums.last().unwrap_or(&first), value);
            sums.push(sum);
        }
        sums
    })
}
