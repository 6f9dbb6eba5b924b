//! Multiplies two matrices in a scope: the compute threads work on rows that the caller only lends.
//!
//! ```sh
//! cargo run --release --example 09_matrix_multiply -- --size 1024
//! ```

use std::time::Instant;

use clap::Parser;
use millstream::prelude::*;

#[derive(Parser)]
struct Options {
    /// Rows and columns of each.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=8192))]
    size: u16,
}

/// Square, row after row.
type Matrix = Vec<f64>;

/// Of one task: enough to be worth a hand-over (microseconds), and few enough that no thread is idle for long in the end (a guess).
const ROWS: usize = 16;

fn main() -> Result<()> {
    let size = usize::from(Options::parse().size);
    let engine = Engine::builder().build()?;
    // A scope blocks its caller, so it is not for a worker: this is the program's first thread.
    let queue = engine.compute("matrix")?;
    let (left, right) = (made(size, 7.0), made(size, 11.0));
    println!("{size} x {size}, {} threads", queue.threads());

    let started = Instant::now();
    let mut product = vec![0.0; size * size];
    queue.scope(|scope| {
        for (to, from) in product.chunks_mut(ROWS * size).zip(left.chunks(ROWS * size)) {
            let right = &right;
            scope.spawn(move |_| multiply(from, right, to, size));
        }
    })?;
    report("in a scope, row by row", started, size);

    let started = Instant::now();
    let naive = multiply_naively(&left, &right, size);
    report("naively on one thread", started, size);
    // Both add the same products in the same order, so not even the last bit may differ.
    assert!(product == naive, "both give the same matrix");
    println!("both are the same");
    Ok(())
}

/// Some rows of the product. The inner loop goes along rows, as they lie in memory, so the compiler can use vectors.
fn multiply(rows: &[f64], right: &[f64], product: &mut [f64], size: usize) {
    for (row, to) in rows.chunks(size).zip(product.chunks_mut(size)) {
        for (factor, other) in row.iter().zip(right.chunks(size)) {
            to.iter_mut().zip(other).for_each(|(sum, value)| *sum += factor * value);
        }
    }
}

/// As it stands in the definition.
fn multiply_naively(left: &[f64], right: &[f64], size: usize) -> Matrix {
    let mut product = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..size {
            for at in 0..size {
                product[row * size + column] += left[row * size + at] * right[at * size + column];
            }
        }
    }
    product
}

fn made(size: usize, step: f64) -> Matrix {
    (0..size * size).map(|at| (at as f64 * step).sin()).collect()
}

fn report(what: &str, started: Instant, size: usize) {
    let seconds = started.elapsed().as_secs_f64();
    let gflops = 2.0 * (size as f64).powi(3) / seconds / 1e9;
    println!("{what}  {:>8.1} ms  {gflops:>6.2} Gflop/s", seconds * 1000.0);
}
