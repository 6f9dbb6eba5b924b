//! The compute pool beside rayon: what it takes to give a job to it and have it done.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::figures::{Ratio, field, median, table};

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let mut command = built.launcher.command(&built.peer("compute"), "0,1");
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
    let rayon = column("rayon")?;
    let ratios = [
        Ratio::new("one queue / rayon::spawn", &column("one")?, &rayon, Some(1.2)),
        Ratio::new("64 queues / rayon::spawn", &column("many")?, &rayon, Some(1.5)),
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
