//! The compute pool beside rayon: what it takes to give a job to it and have it done, and to sort.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::figures::{Ratio, field, median, table};

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let rounds = options.rounds.to_string();
    Ok(format!("{}\n{}", empty_jobs(built, &rounds)?, sorts(built, &rounds)?))
}

fn empty_jobs(built: &Built, rounds: &str) -> Result<String> {
    let lines = Lines::of(built, "compute", rounds)?;
    let row = |what: &str, name: &str| -> Result<String> {
        let (wall, cpu) = (median(lines.column(name)?), median(lines.column(&format!("{name}_cpu"))?));
        Ok(format!("| {what} | {wall:.0} | {cpu:.0} |\n"))
    };
    let rayon = lines.column("rayon")?;
    let ratios = [
        Ratio::new("one queue / rayon::spawn", &lines.column("one")?, &rayon, Some(1.2)),
        Ratio::new("64 queues / rayon::spawn", &lines.column("many")?, &rayon, Some(1.5)),
    ];
    Ok(format!(
        "1,000,000 empty jobs a round, given by a third thread to two of a pool, all in one process by turns; of ours every \
         output is waited for. Nanoseconds a job; medians.\n\n| pool | time | CPU |\n| --- | --- | --- |\n{}{}{}\n### \
         Ratios of time\n\n{}",
        row("**millstream**, one queue", "one")?,
        row("**millstream**, 64 queues", "many")?,
        row("rayon::spawn", "rayon")?,
        table(&ratios),
    ))
}

fn sorts(built: &Built, rounds: &str) -> Result<String> {
    let lines = Lines::of(built, "compute_sort", rounds)?;
    let row = |what: &str, name: &str| -> Result<String> {
        let (wall, cpu) = (median(lines.column(name)?), median(lines.column(&format!("{name}_cpu"))?));
        Ok(format!("| {what} | {wall:.0} | {cpu:.0} |\n"))
    };
    let ratio =
        Ratio::new("parallel sort / rayon", &lines.column("ours")?, &lines.column("rayon")?, Some(1.05));
    Ok(format!(
        "10,000,000 random `u64` sorted by two threads, in one process by turns: `algorithms::par_sort_unstable` and rayon's \
         `par_sort_unstable` in its global pool. Milliseconds; medians. An empty computation of all threads takes {:.1} µs; \
         one that another of the pool waits for, {:.1} µs.\n\n| sort | time | CPU |\n| --- | --- | --- |\n{}{}\n### \
         Ratio of time\n\n{}",
        median(lines.column("team")?),
        median(lines.column("wait")?),
        row("**millstream**", "ours")?,
        row("rayon", "rayon")?,
        table(&[ratio]),
    ))
}

/// What a program printed: a line of JSON a round.
struct Lines(String);

impl Lines {
    fn of(built: &Built, program: &str, rounds: &str) -> Result<Self> {
        let mut command = built.launcher.command(&built.peer(program), "0,1");
        command.args(["--rounds", rounds, "--threads", "2"]);
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{program} failed: {text}");
        }
        Ok(Self(text))
    }

    fn column(&self, name: &str) -> Result<Vec<f64>> {
        let value = |line: &str| field(line, name).with_context(|| format!("no {name} in: {line}"));
        self.0.lines().map(value).collect()
    }
}
