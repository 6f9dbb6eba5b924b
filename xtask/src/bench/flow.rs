//! Flows beside the spawns of rayon and tokio: what a step of a series and a node of a graph cost.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::figures::{Ratio, field, median, table};

/// A step of a series of computations may take so long, in nanoseconds.
const STEP_NS: f64 = 150.0;

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let mut command = built.launcher.command(&built.peer("flow"), "0,1");
    command.args(["--rounds", &options.rounds.to_string(), "--threads", "2"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("it failed: {text}");
    }
    let column = |name: &str| -> Result<Vec<f64>> {
        let value = |line: &str| field(line, name).with_context(|| format!("no {name} in: {line}"));
        text.lines().map(value).collect()
    };
    let row = |what: &str, name: &str| -> Result<String> {
        let (wall, cpu) = (median(column(name)?), median(column(&format!("{name}_cpu"))?));
        Ok(format!("| {what} | {wall:.0} | {cpu:.0} |\n"))
    };
    let (rayon, tokio) = (column("rayon")?, column("tokio")?);
    let limit = vec![STEP_NS; rayon.len()];
    let ratios = [
        Ratio::new("a step of a series / 150 ns", &column("series")?, &limit, Some(1.0)),
        Ratio::new("a compute node / rayon::spawn", &column("compute")?, &rayon, Some(2.0)),
        Ratio::new("a trivial async node / tokio::spawn and join", &column("async")?, &tokio, Some(0.25)),
        Ratio::new("the same, CPU", &column("async_cpu")?, &column("tokio_cpu")?, Some(0.25)),
    ];
    Ok(format!(
        "All in one process by turns, two threads: 1,000,000 spawns of rayon and of tokio (given by a third thread; tokio's are \
         joined), a series of 200,000 compute tasks (made and run), graphs of 100 x 1,000 nodes with two edges each (async nodes run in one task, so on one thread). Nanoseconds a \
         spawn, step or node; medians.\n\n| what | time | CPU |\n| --- | --- | --- |\n{}{}{}{}{}{}\n### Ratios of time\n\n{}",
        row("**millstream**, a step of a series of compute tasks", "series")?,
        row("**millstream**, a compute node", "compute")?,
        row("**millstream**, a compute node, the graph made for one run", "built")?,
        row("**millstream**, a trivial async node", "async")?,
        row("rayon::spawn", "rayon")?,
        row("tokio::spawn and join", "tokio")?,
        table(&ratios),
    ))
}
