//! Flows beside the spawns of rayon and tokio: what a step of a series and a node of a graph cost.

use anyhow::Result;

use super::Options;
use super::build::Built;
use super::figures::{Ratio, table};
use super::lines::Lines;

/// A step of a series of computations may take so long, in nanoseconds.
const STEP_NS: f64 = 150.0;

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let lines = Lines::of(built, "flow", &["--rounds", &options.rounds.to_string(), "--threads", "2"])?;
    let (rayon, tokio) = (lines.column("rayon")?, lines.column("tokio")?);
    let limit = vec![STEP_NS; rayon.len()];
    let ratios = [
        Ratio::new("a step of a series / 150 ns", &lines.column("series")?, &limit, Some(1.0)),
        Ratio::new("a compute node / rayon::spawn", &lines.column("compute")?, &rayon, Some(2.0)),
        Ratio::new(
            "a trivial async node / tokio::spawn and join",
            &lines.column("async")?,
            &tokio,
            Some(0.25),
        ),
        Ratio::new("the same, CPU", &lines.column("async_cpu")?, &lines.column("tokio_cpu")?, Some(0.25)),
    ];
    Ok(format!(
        "All in one process by turns, two threads: 1,000,000 spawns of rayon and of tokio (given by a third thread; tokio's are \
         joined), a series of 200,000 compute tasks (made and run), graphs of 100 x 1,000 nodes with two edges each (async \
         nodes run in one task, so on one thread). Nanoseconds a spawn, step or node; medians.\n\n| what | time | CPU |\n| --- | --- | --- |\n{}{}{}{}{}{}\n### Ratios of time\n\n{}",
        lines.row("**millstream**, a step of a series of compute tasks", "series")?,
        lines.row("**millstream**, a compute node", "compute")?,
        lines.row("**millstream**, a compute node, the graph made for one run", "built")?,
        lines.row("**millstream**, a trivial async node", "async")?,
        lines.row("rayon::spawn", "rayon")?,
        lines.row("tokio::spawn and join", "tokio")?,
        table(&ratios),
    ))
}
