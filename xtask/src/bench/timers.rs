//! Timers beside tokio's: what it takes to make one and have it fire.

use anyhow::Result;

use super::Options;
use super::build::Built;
use super::figures::{Ratio, median, table};
use super::lines::Lines;

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let lines = Lines::of(built, "timers", &["--rounds", &options.rounds.to_string()])?;
    let mut rows = String::new();
    for (what, name) in ROWS {
        let (cpu, late) = (
            median(lines.column(&format!("{name}_cpu"))?),
            median(lines.column(&format!("{name}_late_ms"))?),
        );
        rows += &format!("| {what} | {cpu:.0} | {late:.1} |\n");
    }
    let ratio = |what, ours: &str, tokio: &str, limit| -> Result<Ratio> {
        Ok(Ratio::new(
            what,
            &lines.column(&format!("{ours}_cpu"))?,
            &lines.column(&format!("{tokio}_cpu"))?,
            limit,
        ))
    };
    let ratios = [
        ratio("a task each, start / tokio::spawn", "ours", "tokio", Some(0.5))?,
        ratio("a task each, start / tokio, a runtime a thread", "ours", "tokio_local", None)?,
        ratio("many in a task / tokio", "ours_set", "tokio_set", None)?,
        ratio("made, begun, given up / tokio", "ours_cancelled", "tokio_cancelled", None)?,
    ];
    Ok(format!(
        "1,000,000 timers within 1 s, made to fired, on two threads, all in one process by turns. Nanoseconds of CPU a timer; how \
         long after the last deadline all were done; medians.\n\n| timers | CPU | late, ms |\n| --- | --- | --- |\n{rows}\n### \
         Ratios of CPU\n\n{}",
        table(&ratios),
    ))
}

const ROWS: [(&str, &str); 8] = [
    ("**millstream**, a task each (`Worker::start`)", "ours"),
    ("**millstream**, a task each (`spawn_local`)", "ours_joinable"),
    ("tokio, a task each, two threads", "tokio"),
    ("tokio, a task each, a runtime a thread", "tokio_local"),
    ("**millstream**, many in a task (`FuturesUnordered`)", "ours_set"),
    ("tokio, many in a task, without its budget", "tokio_set"),
    ("**millstream**, made, begun, given up", "ours_cancelled"),
    ("tokio, made, begun, given up", "tokio_cancelled"),
];
