//! Algorithms of trivial closures beside the plain loop in the same queue, which does not ask whether to go on; and those of all threads
//! beside those of one. `compute_algorithms --rounds N --threads N --numbers N` prints a line of JSON a round: milliseconds of each.

use std::time::Instant;

use millstream_bench_peers::Args;
use millstream_compute::rayon::prelude::*;
use millstream_compute::{Compute, Computing, Queue, algorithms};

type Run = fn(&Queue, Vec<u64>) -> Computing<Vec<u64>>;

fn main() {
    let args = Args::from_process();
    let rounds: u64 = args.value("rounds", 15);
    let numbers: u64 = args.value("numbers", 10_000_000);
    let compute = Compute::new(args.value("threads", 2), "compute").expect("threads can be started");
    let queue = compute.queue("algorithms");
    let mut given: Vec<u64> = (0..numbers).collect();
    // The first warms up.
    for round in 0..=rounds {
        algorithms::slices::shuffle(&mut given, round);
        let times: Vec<_> =
            RUNS.iter().map(|(name, run)| format!("\"{name}\":{}", ms(&queue, &given, *run))).collect();
        if round > 0 {
            println!("{{{}}}", times.join(","));
        }
    }
}

fn ms(queue: &Queue, given: &[u64], run: Run) -> f64 {
    let given = given.to_vec();
    let begun = Instant::now();
    let output = run(queue, given).wait().expect("it runs");
    let spent = begun.elapsed().as_secs_f64() * 1e3;
    drop(output);
    spent
}

const RUNS: [(&str, Run); 13] = [
    ("map_plain", |queue, given| queue.run(|| given.into_iter().map(change).collect())),
    ("map", |queue, given| algorithms::map(queue, given, change)),
    ("par_map_plain", |queue, given| queue.parallel(|| given.into_par_iter().map(change).collect())),
    ("par_map", |queue, given| algorithms::par_map(queue, given, change)),
    ("filter_plain", |queue, mut given| {
        queue.run(|| {
            given.retain(is_kept);
            given
        })
    }),
    ("filter", |queue, given| algorithms::filter(queue, given, is_kept)),
    ("par_filter_plain", |queue, given| queue.parallel(|| given.into_par_iter().filter(is_kept).collect())),
    ("par_filter", |queue, given| algorithms::par_filter(queue, given, is_kept)),
    ("unique_by_key", |queue, given| algorithms::unique_by_key(queue, given, |n| n / 2)),
    ("scan", |queue, given| algorithms::scan(queue, given, 0, |sum, n| sum + n)),
    ("par_scan", |queue, given| algorithms::par_scan(queue, given, 0, |sum, n| sum + n)),
    ("top_k", |queue, given| algorithms::top_k(queue, given, 100)),
    ("par_top_k", |queue, given| algorithms::par_top_k(queue, given, 100)),
];

fn change(number: u64) -> u64 {
    number.wrapping_mul(3) ^ 5
}

fn is_kept(number: &u64) -> bool {
    number % 3 == 0
}
