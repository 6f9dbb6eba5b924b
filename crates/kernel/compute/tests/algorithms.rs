//! Each algorithm beside the standard library, on any input.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use millstream_base::Kind;
use millstream_compute::algorithms::{self, slices};
use millstream_compute::{Compute, Computing, Queue};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

static QUEUE: LazyLock<(Compute, Queue)> = LazyLock::new(|| {
    let compute = Compute::new(2, "test").expect("threads can be started");
    let queue = compute.queue("test");
    (compute, queue)
});

fn queue() -> &'static Queue {
    &QUEUE.1
}

fn of<T>(computing: Computing<T>) -> T {
    computing.wait().expect("nothing panics")
}

/// Few keys, so that many are equal, and a number that tells them apart.
type Pair = (u8, u32);

fn key(pair: &Pair) -> u8 {
    pair.0 % 16
}

fn sorted(mut values: Vec<Pair>) -> Vec<Pair> {
    values.sort_by_key(key);
    values
}

fn keys(values: &[Pair]) -> Vec<u8> {
    values.iter().map(key).collect()
}

proptest! {
    #[test]
    fn sorts_are_those_of_std(values in vec(any::<Pair>(), 0..300)) {
        let mut whole = values.clone();
        whole.sort();
        let (queue, given) = (queue(), || values.clone());
        prop_assert_eq!(of(algorithms::sort(queue, given())), whole.clone());
        prop_assert_eq!(of(algorithms::par_sort(queue, given())), whole.clone());
        prop_assert_eq!(of(algorithms::sort_unstable(queue, given())), whole.clone());
        prop_assert_eq!(of(algorithms::par_sort_unstable(queue, given())), whole);
        let stable = sorted(given());
        let compare = |a: &Pair, b: &Pair| key(a).cmp(&key(b));
        prop_assert_eq!(of(algorithms::sort_by(queue, given(), compare)), stable.clone());
        prop_assert_eq!(of(algorithms::sort_by_key(queue, given(), key)), stable.clone());
        prop_assert_eq!(of(algorithms::par_sort_by(queue, given(), compare)), stable.clone());
        prop_assert_eq!(of(algorithms::par_sort_by_key(queue, given(), key)), stable.clone());
        let stable = keys(&stable);
        prop_assert_eq!(keys(&of(algorithms::sort_unstable_by(queue, given(), compare))), stable.clone());
        prop_assert_eq!(keys(&of(algorithms::sort_unstable_by_key(queue, given(), key))), stable.clone());
        prop_assert_eq!(keys(&of(algorithms::par_sort_unstable_by(queue, given(), compare))), stable.clone());
        prop_assert_eq!(keys(&of(algorithms::par_sort_unstable_by_key(queue, given(), key))), stable);
    }

    #[test]
    fn merge_is_a_stable_sort_of_both(left in vec(any::<Pair>(), 0..200), right in vec(any::<Pair>(), 0..200)) {
        let (left, right) = (sorted(left), sorted(right));
        let both = sorted([left.clone(), right.clone()].concat());
        let compare = |a: &Pair, b: &Pair| key(a).cmp(&key(b));
        prop_assert_eq!(of(algorithms::merge_by(queue(), left.clone(), right.clone(), compare)), both);
        let (mut left, mut right) = (left, right);
        left.sort();
        right.sort();
        let mut both = [left.clone(), right.clone()].concat();
        both.sort();
        prop_assert_eq!(of(algorithms::merge(queue(), left, right)), both);
    }

    #[test]
    fn turned_and_shuffled_have_the_same_elements(values in vec(any::<u8>(), 0..200), count in 0..1000_usize) {
        let mut other = values.clone();
        other.reverse();
        prop_assert_eq!(of(algorithms::reverse(queue(), values.clone())), other);
        let mut other = values.clone();
        other.rotate_left(count % values.len().max(1));
        prop_assert_eq!(of(algorithms::rotate_left(queue(), values.clone(), count)), other);
        let mut other = values.clone();
        other.rotate_right(count % values.len().max(1));
        prop_assert_eq!(of(algorithms::rotate_right(queue(), values.clone(), count)), other);
        let (mut shuffled, mut whole) = (of(algorithms::shuffle(queue(), values.clone(), count as u64)), values);
        shuffled.sort_unstable();
        whole.sort_unstable();
        prop_assert_eq!(shuffled, whole);
    }

    #[test]
    fn unique_is_dedup(values in vec(0..5_u8, 0..200)) {
        let mut once = values.clone();
        once.dedup();
        prop_assert_eq!(of(algorithms::unique(queue(), values.clone())), once.clone());
        prop_assert_eq!(slices::unique(&mut values.clone()).to_vec(), once);
        let mut once = values.clone();
        once.dedup_by_key(|value| *value / 2);
        prop_assert_eq!(of(algorithms::unique_by_key(queue(), values, |value| value / 2)), once);
    }

    #[test]
    fn map_filter_and_reduce_are_those_of_iterators(values in vec(any::<u32>(), 0..300)) {
        let (queue, given) = (queue(), || values.clone());
        let change = |n: u32| n.wrapping_mul(3).to_string();
        let mapped: Vec<_> = values.iter().copied().map(change).collect();
        prop_assert_eq!(of(algorithms::map(queue, given(), change)), mapped.clone());
        prop_assert_eq!(of(algorithms::par_map(queue, given(), change)), mapped.clone());
        let is_kept = |n: &u32| n.is_multiple_of(3);
        let kept: Vec<_> = values.iter().copied().filter(is_kept).collect();
        prop_assert_eq!(of(algorithms::filter(queue, given(), is_kept)), kept.clone());
        prop_assert_eq!(of(algorithms::par_filter(queue, given(), is_kept)), kept);
        // Associative, and its order tells.
        let join = |a: String, b: String| a + &b;
        let joined = mapped.iter().cloned().reduce(join);
        prop_assert_eq!(of(algorithms::reduce(queue, mapped.clone(), join)), joined.clone());
        prop_assert_eq!(of(algorithms::par_reduce(queue, mapped, join)), joined);
    }

    #[test]
    fn scan_is_that_of_iterators(values in vec(any::<u32>(), 0..300), first: u64) {
        let step = |sum: &mut u64, n: &u32| {
            *sum = sum.wrapping_add(u64::from(*n));
            Some(*sum)
        };
        let sums: Vec<_> = values.iter().scan(first, step).collect();
        let join = |sum: &u64, n: u32| sum.wrapping_add(u64::from(n));
        prop_assert_eq!(of(algorithms::scan(queue(), values.clone(), first, join)), sums.clone());
        let wide: Vec<_> = values.iter().copied().map(u64::from).collect();
        prop_assert_eq!(of(algorithms::par_scan(queue(), wide, first, |a, b| a.wrapping_add(*b))), sums);
        let sums: Vec<_> = values.iter().scan(0, step).collect();
        let mut wide: Vec<_> = values.into_iter().map(u64::from).collect();
        slices::scan(&mut wide, |sum, n| sum.wrapping_add(*n));
        prop_assert_eq!(wide, sums);
    }

    #[test]
    fn parallel_scan_joins_in_order(count in 0..600_usize) {
        // Associative, and its order tells. The blocks are of 2 to 5 elements.
        let join = |a: &String, b: &String| format!("{a}{b}");
        let texts: Vec<_> = (0..count).map(|n| format!("{n}.")).collect();
        let sums = of(algorithms::scan(queue(), texts.clone(), "x".to_owned(), move |a, b| join(a, &b)));
        prop_assert_eq!(of(algorithms::par_scan(queue(), texts, "x".to_owned(), join)), sums);
    }

    #[test]
    fn parallel_top_k_is_the_front_of_the_sorted(values in vec(any::<Pair>(), 0..600), count in 0..700_usize, few in 0..4_usize) {
        let mut whole = values.clone();
        whole.sort_by(|a, b| b.cmp(a));
        for count in [count, few] {
            let count_kept = count.min(whole.len());
            prop_assert_eq!(&of(algorithms::par_top_k(queue(), values.clone(), count)), &whole[..count_kept]);
            let compare = |a: &Pair, b: &Pair| key(a).cmp(&key(b));
            let ours = of(algorithms::par_top_k_by(queue(), values.clone(), count, compare));
            prop_assert_eq!(keys(&ours), keys(&of(algorithms::top_k_by(queue(), values.clone(), count, compare))));
        }
    }

    #[test]
    fn top_k_is_the_front_of_the_sorted(values in vec(any::<u8>(), 0..200), count in 0..250_usize) {
        let mut whole = values.clone();
        whole.sort_by(|a, b| b.cmp(a));
        whole.truncate(count);
        prop_assert_eq!(of(algorithms::top_k(queue(), values.clone(), count)), whole.clone());
        prop_assert_eq!(of(algorithms::top_k_by(queue(), values.clone(), count, u8::cmp)), whole.clone());
        let mut ours = values.clone();
        prop_assert_eq!(slices::top_k(&mut ours, count).to_vec(), whole);
        let (mut ours, mut whole) = (ours, values);
        ours.sort_unstable();
        whole.sort_unstable();
        prop_assert!(ours == whole, "all are still there");
    }
}

/// Pearson's chi-squared over the 24 orders of four: above 49.7 once in a thousand of fair generators, and here always the same.
#[test]
fn every_order_is_as_likely_as_the_other() {
    let mut counts = std::collections::BTreeMap::<[u8; 4], f64>::new();
    for seed in 0..24_000 {
        let mut four = [0, 1, 2, 3];
        slices::shuffle(&mut four, seed);
        *counts.entry(four).or_default() += 1.0;
    }
    let off: f64 = counts.values().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
    assert!(counts.len() == 24 && off < 49.7, "{off}: {counts:?}");
}

#[test]
fn parallel_forms_are_right_at_the_borders_of_blocks() {
    // 128 blocks, of two at least.
    for len in [0, 1, 2, 3, 127, 128, 129, 255, 256, 257, 383, 384, 385, 12_799, 12_800, 12_801] {
        let values: Vec<u64> = (0..len).map(|n| n * 7919 % 101).collect();
        let sums = of(algorithms::scan(queue(), values.clone(), 5, |sum, n| sum + n));
        assert_eq!(of(algorithms::par_scan(queue(), values.clone(), 5, |sum, n| sum + n)), sums, "{len}");
        for count in [0, 1, 2, 12, 13, 128, 1600, 1601, usize::MAX] {
            let largest = of(algorithms::top_k(queue(), values.clone(), count));
            assert_eq!(
                of(algorithms::par_top_k(queue(), values.clone(), count)),
                largest,
                "{count} of {len}"
            );
        }
    }
}

#[test]
fn parallel_scan_of_floating_point_is_the_same_in_each_run() {
    let sums = |threads| {
        let compute = Compute::new(threads, "sums").expect("threads can be started");
        let values = (0..10_000).map(|n| 1.0 / f64::from(n + 1)).collect();
        of(algorithms::par_scan(&compute.queue("sums"), values, 0.1, |sum, n| sum + n))
    };
    assert_eq!(sums(1), sums(3));
}

#[test]
fn large_inputs_use_all_threads_and_come_out_right() {
    let values = of(algorithms::shuffle(queue(), (0..200_000_u32).collect(), 1));
    assert!(!values.is_sorted());
    let all: BTreeSet<_> = values.iter().copied().collect();
    assert_eq!(all.len(), 200_000);
    assert!(of(algorithms::par_sort_unstable(queue(), values.clone())).into_iter().eq(0..200_000));
    assert!(of(algorithms::par_sort(queue(), values.clone())).into_iter().eq(0..200_000));
    let sum = algorithms::par_reduce(queue(), values, u32::wrapping_add);
    assert_eq!(of(sum), Some((0..200_000).fold(0, u32::wrapping_add)));
}

#[test]
fn comparison_that_panics_is_an_error() {
    let compare = |_: &i32, _: &i32| panic!("as the test wants");
    let panics = algorithms::par_sort_by(queue(), (0..10_000).rev().collect(), compare);
    assert_eq!(panics.wait().expect_err("it panics").kind(), Kind::Panic);
}
