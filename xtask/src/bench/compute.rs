//! The compute pool beside rayon: what it takes to give a job to it and have it done, and to sort.

use anyhow::Result;

use super::Options;
use super::build::Built;
use super::figures::{Ratio, median, table};
use super::lines::Lines;

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let rounds = options.rounds.to_string();
    Ok(format!("{}\n{}", empty_jobs(built, &rounds)?, sorts(built, &rounds)?))
}

fn empty_jobs(built: &Built, rounds: &str) -> Result<String> {
    let lines = Lines::of(built, "compute", &["--rounds", rounds, "--threads", "2"])?;
    let rayon = lines.column("rayon")?;
    let ratios = [
        Ratio::new("one queue / rayon::spawn", &lines.column("one")?, &rayon, Some(1.2)),
        Ratio::new("64 queues / rayon::spawn", &lines.column("many")?, &rayon, Some(1.5)),
    ];
    Ok(format!(
        "1,000,000 empty jobs a round, given by a third thread to two of a pool, all in one process by turns; of ours every \
         output is waited for. Nanoseconds a job; medians.\n\n| pool | time | CPU |\n| --- | --- | --- |\n{}{}{}\n### \
         Ratios of time\n\n{}",
        lines.row("**millstream**, one queue", "one")?,
        lines.row("**millstream**, 64 queues", "many")?,
        lines.row("rayon::spawn", "rayon")?,
        table(&ratios),
    ))
}

fn sorts(built: &Built, rounds: &str) -> Result<String> {
    let lines = Lines::of(built, "compute_sort", &["--rounds", rounds, "--threads", "2"])?;
    let ratio =
        Ratio::new("parallel sort / rayon", &lines.column("ours")?, &lines.column("rayon")?, Some(1.05));
    Ok(format!(
        "10,000,000 random `u64` sorted by two threads, in one process by turns: `algorithms::par_sort_unstable` and rayon's \
         `par_sort_unstable` in its global pool. Milliseconds; medians. An empty computation of all threads takes {:.1} µs; \
         one that another of the pool waits for, {:.1} µs.\n\n| sort | time | CPU |\n| --- | --- | --- |\n{}{}\n### \
         Ratio of time\n\n{}",
        median(lines.column("team")?),
        median(lines.column("wait")?),
        lines.row("**millstream**", "ours")?,
        lines.row("rayon", "rayon")?,
        table(&[ratio]),
    ))
}
