//! On a slice, at once and on the calling thread: what the standard library does not have. Within [`Queue::scope`](crate::Queue::scope)
//! a borrowed slice is worked on by the pool so.
//!
//! ```
//! use millstream_compute::Compute;
//! use millstream_compute::algorithms::slices;
//! use millstream_compute::rayon::prelude::*;
//!
//! let compute = Compute::new(2, "example")?;
//! let mut numbers: Vec<u32> = (0..1000).collect();
//! compute.queue("numbers").scope(|_| {
//!     slices::shuffle(&mut numbers, 7);
//!     numbers.par_sort_unstable();
//! })?;
//! assert!(numbers.is_sorted());
//! # Ok::<(), millstream_base::Error>(())
//! ```

use std::cmp::Ordering;

/// A random order, the same for the same seed: the shuffle of Fisher and Yates, by numbers of SplitMix64 (Steele, Lea, Flood, 2014), each
/// as likely as the other (Lemire, 2019). There are 2^64 seeds, so from 21 elements on not every order can come. Not for secrets.
///
/// ```
/// use millstream_compute::algorithms::slices;
/// let mut numbers = [1, 2, 3, 4, 5];
/// slices::shuffle(&mut numbers, 7);
/// let mut again = [1, 2, 3, 4, 5];
/// slices::shuffle(&mut again, 7);
/// assert_eq!(numbers, again);
/// ```
pub fn shuffle<T>(values: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..values.len()).rev() {
        values.swap(last, below(last as u64 + 1, &mut state));
    }
}

/// The `count` largest, or all where there are fewer, the largest first. They come to the front; what comes after is in any order.
///
/// ```
/// use millstream_compute::algorithms::slices;
/// let mut numbers = [4, 9, 1, 7];
/// assert_eq!(slices::top_k(&mut numbers, 2), [9, 7]);
/// ```
pub fn top_k<T: Ord>(values: &mut [T], count: usize) -> &mut [T] {
    top_k_by(values, count, T::cmp)
}

/// The same by this comparison.
///
/// ```
/// use millstream_compute::algorithms::slices;
/// let mut numbers = [0.5, 2.5, 1.5];
/// assert_eq!(slices::top_k_by(&mut numbers, 2, f64::total_cmp), [2.5, 1.5]);
/// ```
pub fn top_k_by<T>(values: &mut [T], count: usize, mut compare: impl FnMut(&T, &T) -> Ordering) -> &mut [T] {
    let largest = select(values, count, &mut compare);
    largest.sort_unstable_by(|a, b| compare(b, a));
    largest
}

/// The `count` largest in any order, at the front.
pub(super) fn select<T>(
    values: &mut [T],
    count: usize,
    mut compare: impl FnMut(&T, &T) -> Ordering,
) -> &mut [T] {
    let count = count.min(values.len());
    if (1..values.len()).contains(&count) {
        values.select_nth_unstable_by(count - 1, |a, b| compare(b, a));
    }
    &mut values[..count]
}

/// Each becomes what `join` makes of the one before, as it is by then, and of it: sums of all up to it.
///
/// ```
/// use millstream_compute::algorithms::slices;
/// let mut numbers = [1, 2, 3];
/// slices::scan(&mut numbers, |sum, n| sum + n);
/// assert_eq!(numbers, [1, 3, 6]);
/// ```
pub fn scan<T>(values: &mut [T], mut join: impl FnMut(&T, &T) -> T) {
    for index in 1..values.len() {
        values[index] = join(&values[index - 1], &values[index]);
    }
}

/// Moves the first of equal neighbours to the front, in order, and gives them; what comes after is in any order.
///
/// ```
/// use millstream_compute::algorithms::slices;
/// let mut numbers = [1, 1, 2, 2, 2, 1];
/// assert_eq!(slices::unique(&mut numbers), [1, 2, 1]);
/// ```
pub fn unique<T: PartialEq>(values: &mut [T]) -> &mut [T] {
    let mut count = values.len().min(1);
    for index in 1..values.len() {
        if values[index] != values[count - 1] {
            values.swap(index, count);
            count += 1;
        }
    }
    &mut values[..count]
}

/// One of 0 to `end - 1`, each as likely as the other: of the numbers that would make some likelier, none is taken.
fn below(end: u64, state: &mut u64) -> usize {
    loop {
        let product = u128::from(split_mix(state)) * u128::from(end);
        #[allow(clippy::cast_possible_truncation)]
        if product as u64 >= end.wrapping_neg() % end {
            return (product >> 64) as usize;
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
