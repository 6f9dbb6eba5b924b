//! Counts all TCP sockets by state, and says how long that took.
//!
//! ```sh
//! cargo run --release -p millstream-sockets --example dump
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use millstream_sockets::{Diag, Query, Result, State};

fn main() -> Result<()> {
    let start = Instant::now();
    let mut counts = BTreeMap::<State, usize>::new();
    Diag::open()?.dump(&Query::all(), |record| {
        *counts.entry(record.state()).or_default() += 1;
        ControlFlow::Continue(())
    })?;
    let took = start.elapsed();
    for (state, count) in &counts {
        println!("{count:>8} {state}");
    }
    println!("{:>8} in {took:?}", counts.values().sum::<usize>());
    Ok(())
}
