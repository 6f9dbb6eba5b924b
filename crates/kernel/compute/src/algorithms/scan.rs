//! All that a reduction comes by.

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::{block_size, stoppable, stoppable_in_parallel};
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

/// The same on all threads, where elements and sums are of one type. Neighbours are joined in a grouping of its own, so `join` must be
/// associative, as sums of whole numbers are; those of floating point differ from [`scan`]'s in the last digits, the same in each run.
///
/// Each block of the vector is joined to one, what comes of that is scanned, and then each block, from what is before it (Blelloch,
/// "Prefix sums and their applications", 1990). So each element is joined twice, and one thread alone takes twice as long.
///
/// ```
/// # use millstream_compute::{Compute, algorithms};
/// # let compute = Compute::new(2, "example")?;
/// # let queue = compute.queue("example");
/// let sums = algorithms::par_scan(&queue, vec![1, 2, 3], 10, |sum, n| sum + n).wait()?;
/// assert_eq!(sums, [11, 13, 16]);
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub fn par_scan<T, F>(queue: &Queue, mut values: Vec<T>, first: T, join: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: Fn(&T, &T) -> T + Send + Sync + 'static,
{
    stoppable_in_parallel(queue, move |token| {
        // A block of one would have no sum of its own.
        let size = block_size(values.len()).max(2);
        // Nothing comes after the last block, whole or not.
        let summed = values.len().saturating_sub(1) / size * size;
        let blocks = values[..summed].par_chunks_exact_mut(size);
        let blocks: Vec<T> = blocks.filter_map(|block| sum(block, &join, token)).collect();
        let mut before = sums(blocks, &first, |sum, block| join(sum, &block), token);
        before.insert(0, first);
        values.par_chunks_mut(size).zip(before.into_par_iter()).for_each(|(block, before)| {
            let mut sum = &before;
            for value in block.iter_mut().take_while(|_| !token.is_cancelled()) {
                *value = join(sum, value);
                sum = value;
            }
        });
        values
    })
}

fn sums<T, S>(values: Vec<T>, first: &S, mut join: impl FnMut(&S, T) -> S, token: CancelToken<'_>) -> Vec<S> {
    let mut sums = Vec::with_capacity(values.len());
    for value in values.into_iter().take_while(|_| !token.is_cancelled()) {
        let sum = join(sums.last().unwrap_or(first), value);
        sums.push(sum);
    }
    sums
}

/// All of a block joined to one; `None` of less than two.
fn sum<T>(block: &[T], join: impl Fn(&T, &T) -> T, token: CancelToken<'_>) -> Option<T> {
    let (first, rest) = block.split_first()?;
    let mut sum = None;
    for value in rest.iter().take_while(|_| !token.is_cancelled()) {
        sum = Some(join(sum.as_ref().unwrap_or(first), value));
    }
    sum
}
