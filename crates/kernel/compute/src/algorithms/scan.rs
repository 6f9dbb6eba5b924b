//! All that a reduction comes by.

use super::stoppable;
use crate::{CancelToken, Computing, Queue};

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
pub fn scan<T, S, F>(queue: &Queue, values: Vec<T>, first: S, join: F) -> Computing<Vec<S>>
where
    T: Send + 'static,
    S: Send + 'static,
    F: FnMut(&S, T) -> S + Send + 'static,
{
    stoppable(queue, move |token| sums(values, &first, join, token))
}

fn sums<T, S>(values: Vec<T>, first: &S, mut join: impl FnMut(&S, T) -> S, token: CancelToken<'_>) -> Vec<S> {
    let mut sums = Vec::with_capacity(values.len());
    for value in values.into_iter().take_while(|_| !token.is_cancelled()) {
        let sum = join(sums.last().unwrap_or(first), value);
        sums.push(sum);
    }
    sums
}
