//! Random numbers sorted by all threads of a pool, rayon's global one and ours by turns; and what a team and a wait within the pool cost.
//! `compute_sort --rounds N --threads N --numbers N` prints a line of JSON a round: milliseconds a sort, microseconds a team or wait.

use std::time::Instant;

use millstream_bench_peers::Args;
use millstream_compute::rayon::prelude::*;
use millstream_compute::{Compute, Queue, algorithms};

fn main() {
    let args = Args::from_process();
    let (rounds, threads) = (args.value("rounds", 5), args.value("threads", 2));
    let numbers: u64 = args.value("numbers", 10_000_000);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads can be started");
    let compute = Compute::new(threads, "compute").expect("threads can be started");
    let queue = compute.queue("sorts");
    let mut given: Vec<u64> = (0..numbers).collect();
    let mut sorts = Vec::new();
    for round in 0..=rounds {
        algorithms::slices::shuffle(&mut given, round);
        let (theirs, ours) = (given.clone(), given.clone());
        // Whose turn is first changes.
        sorts.push(if round % 2 == 0 {
            let theirs = timed(|| by_rayon(theirs));
            (theirs, timed(|| by_us(&queue, ours)))
        } else {
            let ours = timed(|| by_us(&queue, ours));
            (timed(|| by_rayon(theirs)), ours)
        });
    }
    // The first warms up. Teams and waits come after all sorts: they leave the threads on one core, which the kernel sees later.
    for (theirs, ours) in &sorts[1..] {
        let (team, wait) = (team_us(&queue), wait_us(&queue));
        println!(
            "{{\"rayon\":{},\"rayon_cpu\":{},\"ours\":{},\"ours_cpu\":{},\"team\":{team},\"wait\":{wait}}}",
            theirs.0, theirs.1, ours.0, ours.1
        );
    }
}

fn by_rayon(mut values: Vec<u64>) -> Vec<u64> {
    values.par_sort_unstable();
    values
}

fn by_us(queue: &Queue, values: Vec<u64>) -> Vec<u64> {
    algorithms::par_sort_unstable(queue, values).wait().expect("it runs")
}

/// An empty computation of all threads, from a thread that is none of the pool's.
fn team_us(queue: &Queue) -> f64 {
    let begun = Instant::now();
    (0..COUNT).for_each(|_| queue.parallel(|| ()).wait().expect("it runs"));
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT)
}

/// An empty computation, waited for by another of the pool.
fn wait_us(queue: &Queue) -> f64 {
    let inner = queue.clone();
    let waits = queue.run(move || {
        let begun = Instant::now();
        (0..COUNT).for_each(|_| inner.run(|| ()).wait().expect("it runs"));
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT)
    });
    waits.wait().expect("it runs")
}

const COUNT: u32 = 1000;

/// Milliseconds of time, and of CPU.
fn timed(sort: impl FnOnce() -> Vec<u64>) -> (f64, f64) {
    let (begun, cpu) = (Instant::now(), cpu_ms());
    let sorted = sort();
    let spent = (begun.elapsed().as_secs_f64() * 1e3, cpu_ms() - cpu);
    assert!(sorted.is_sorted());
    spent
}

fn cpu_ms() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 * 1e3 + used.tv_nsec as f64 / 1e6
}
