//! Each for itself, and all to one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::{stoppable, stoppable_in_parallel};
use crate::{CancelToken, Computing, Queue};

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
    stoppable(queue, move |token| {
        values.into_iter().take_while(move |_| !token.is_cancelled()).map(change).collect()
    })
}

/// What `change` makes of each on all threads, in order. In a program without unwinding (`panic = "abort"`) it does not stop midway.
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
    stoppable_in_parallel(queue, move |token| {
        let change = |value| {
            go_on(token);
            change(value)
        };
        until_stopped(|| values.into_par_iter().map(change).collect())
    })
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
pub fn filter<T, F>(queue: &Queue, mut values: Vec<T>, mut is_kept: F) -> Computing<Vec<T>>
where
    T: Send + 'static,
    F: FnMut(&T) -> bool + Send + 'static,
{
    stoppable(queue, move |token| {
        values.retain(|value| !token.is_cancelled() && is_kept(value));
        values
    })
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
    stoppable_in_parallel(queue, move |token| {
        values.into_par_iter().filter(|value| !token.is_cancelled() && is_kept(value)).collect()
    })
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
pub fn reduce<T, F>(queue: &Queue, values: Vec<T>, mut join: F) -> Computing<Option<T>>
where
    T: Send + 'static,
    F: FnMut(T, T) -> T + Send + 'static,
{
    stoppable(queue, move |token| {
        values.into_iter().reduce(|left, right| if token.is_cancelled() { left } else { join(left, right) })
    })
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
    stoppable_in_parallel(queue, move |token| {
        let join = |left, right| if token.is_cancelled() { left } else { join(left, right) };
        values.into_par_iter().reduce_with(join)
    })
}

/// What a step that is stopped unwinds with.
struct Stopped;

/// Unwinds where the token says so, for a step that must give something: rayon drops what it has by then, and hands the unwinding on.
/// Iterators that may end early (`while_some`) collect twice: 10,000,000 trivial steps of
/// two threads took 64 ms so, 35 as it is, and 32 without asking.
#[inline]
fn go_on(token: CancelToken<'_>) {
    if cfg!(panic = "unwind") && token.is_cancelled() {
        resume_unwind(Box::new(Stopped));
    }
}

/// What `work` gives, or nothing if it was stopped.
fn until_stopped<T>(work: impl FnOnce() -> Vec<T>) -> Vec<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(output) => output,
        Err(payload) if payload.is::<Stopped>() => Vec::new(),
        Err(payload) => resume_unwind(payload),
    }
}
