//! Sorts numbers on all compute threads, beside the standard library's sort on one. The workers stay free meanwhile.
//!
//! ```sh
//! cargo run --release --example 08_sort -- --count 10000000
//! ```

use std::time::{Duration, Instant};

use clap::Parser;
use millstream::compute::algorithms;
use millstream::compute::rayon::prelude::*;
use millstream::prelude::*;

#[derive(Parser)]
struct Options {
    /// How many numbers.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let queue = engine.compute("sort")?;
        println!("{} numbers, {} threads", options.count, queue.threads());
        let make = queue.parallel(move || (0..options.count).into_par_iter().map(random).collect::<Vec<_>>());
        let (numbers, took) = timed(make).await?;
        report("made", took);
        let copy = numbers.clone();

        let (on_all, parallel) = timed(algorithms::par_sort_unstable(&queue, numbers)).await?;
        report("sorted on all threads", parallel);
        // The same algorithm, but all of it on one thread: `slice::sort_unstable`.
        let (on_one, alone) = timed(algorithms::sort_unstable(&queue, copy)).await?;
        report("sorted on one thread", alone);
        println!("{:.2} times as fast", alone.as_secs_f64() / parallel.as_secs_f64());
        let is_same = queue.run(move || on_all == on_one && on_all.is_sorted()).await?;
        assert!(is_same, "both give the same order");
        Ok(())
    })?
}

async fn timed<T>(computing: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    let started = Instant::now();
    let output = computing.await?;
    Ok((output, started.elapsed()))
}

fn report(what: &str, took: Duration) {
    println!("{what:<22} {:>8.1} ms", took.as_secs_f64() * 1000.0);
}

/// The number of this index: SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
fn random(index: u64) -> u64 {
    let mut z = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
