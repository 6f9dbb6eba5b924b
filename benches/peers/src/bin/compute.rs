//! Empty jobs, given one by one by a thread that is none of the pool's, until all are done: rayon's `spawn`, one queue of ours, 64 queues
//! of ours, by turns. `compute --rounds N --threads N --jobs N` prints a line of JSON a round, in nanoseconds a job.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use millstream_bench_peers::Args;
use millstream_compute::{Compute, Queue};

static DONE: AtomicU64 = AtomicU64::new(0);

fn job() {
    DONE.fetch_add(1, Relaxed);
}

fn main() {
    let args = Args::from_process();
    let (rounds, threads) = (args.value("rounds", 5), args.value("threads", 2));
    let jobs = args.value("jobs", 1_000_000);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads can be started");
    let compute = Compute::new(threads, "compute").expect("threads can be started");
    let one = [compute.queue("one")];
    let many: Vec<_> = (0..64).map(|index| compute.queue(&format!("of 64, {index}"))).collect();
    for round in 0..=rounds {
        let rayon = timed(jobs, || spawn(jobs));
        let one = timed(jobs, || run(&one, jobs));
        let many = timed(jobs, || run(&many, jobs));
        // The first warms up.
        if round > 0 {
            println!(
                "{{\"rayon\":{},\"rayon_cpu\":{},\"one\":{},\"one_cpu\":{},\"many\":{},\"many_cpu\":{}}}",
                rayon.0, rayon.1, one.0, one.1, many.0, many.1
            );
        }
    }
}

fn spawn(jobs: u64) {
    (0..jobs).for_each(|_| rayon::spawn(job));
    while DONE.load(Relaxed) < jobs {
        std::thread::yield_now();
    }
}

/// Every output is waited for, where rayon has none.
fn run(queues: &[Queue], jobs: u64) {
    let all: Vec<_> = queues.iter().cycle().zip(0..jobs).map(|(queue, _)| queue.run(job)).collect();
    all.into_iter().for_each(|one| one.wait().expect("it runs"));
}

/// Nanoseconds of time, and of CPU, a job.
fn timed(jobs: u64, work: impl FnOnce()) -> (f64, f64) {
    DONE.store(0, Relaxed);
    let (begun, cpu) = (Instant::now(), cpu_ns());
    work();
    (begun.elapsed().as_nanos() as f64 / jobs as f64, (cpu_ns() - cpu) / jobs as f64)
}

fn cpu_ns() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 * 1e9 + used.tv_nsec as f64
}
