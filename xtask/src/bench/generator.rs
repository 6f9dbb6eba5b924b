//! Our load generator beside wrk: the same core, the same server, 64 connections kept open.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::cpu;
use super::figures::{Ratio, field, median, table};
use super::server::{Server, Subject};
use crate::process;

/// What a run gave.
#[derive(Clone, Copy, Debug)]
struct Run {
    per_second: f64,
    cpu_us: f64,
}

/// A run's length: long enough for the 10 ms steps in which the kernel tells what a child has used.
const SECONDS: &str = "2";

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let server =
        Server::start(built, Subject::Nginx, 1, "1")?.context("nginx is missing: apt-get install nginx")?;
    let ours = built.program("millstream").context("millstream can't be built")?;
    let wrk = process::find("wrk").context("wrk is missing: apt-get install wrk")?;
    let slices = if options.quick { 1 } else { 5 };
    let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let (mut ours_now, mut theirs_now) = (Vec::new(), Vec::new());
        for slice in 0..2 * slices {
            // By turns, and who begins changes from round to round.
            if (round + slice) % 2 == 0 {
                ours_now.push(bench(&ours, &server)?);
            } else {
                theirs_now.push(load(&wrk, &server)?);
            }
        }
        our_runs.push(together(&ours_now));
        their_runs.push(together(&theirs_now));
        println!(
            "round {} of {} is done: {:?}, wrk {:?}",
            round + 1,
            options.rounds,
            our_runs[round],
            their_runs[round]
        );
    }
    Ok(report(&our_runs, &their_runs))
}

fn together(runs: &[Run]) -> Run {
    let mean = |value: fn(&Run) -> f64| runs.iter().map(value).sum::<f64>() / runs.len() as f64;
    Run { per_second: mean(|run| run.per_second), cpu_us: mean(|run| run.cpu_us) }
}

fn bench(program: &Path, server: &Server) -> Result<Run> {
    let mut command = server.launcher.command(program, "0");
    command.args([
        "bench",
        "--json",
        "--workers",
        "1",
        "-c",
        "64",
        "-d",
        &format!("{SECONDS}s"),
        &server.url("/"),
    ]);
    let (text, used) = timed(command)?;
    let value = |name| field(&text, name).with_context(|| format!("no {name} in: {text}"));
    let requests = value("requests")?;
    Ok(Run { per_second: requests / value("seconds")?, cpu_us: used / requests })
}

fn load(program: &Path, server: &Server) -> Result<Run> {
    let mut command = server.launcher.command(program, "0");
    command.args(["-t1", "-c64", &format!("-d{SECONDS}s"), &server.url("/")]);
    let (text, used) = timed(command)?;
    let number = |line: &str| line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    let requests = text.lines().find(|line| line.contains("requests in")).and_then(number);
    let per_second = text.lines().find(|line| line.starts_with("Requests/sec")).and_then(number);
    let (requests, per_second) = requests.zip(per_second).with_context(|| format!("wrk said:\n{text}"))?;
    Ok(Run { per_second, cpu_us: used / requests })
}

/// What it printed, and the CPU time that it used, in microseconds.
fn timed(mut command: Command) -> Result<(String, f64)> {
    let before = cpu::of_children();
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("it failed: {text}");
    }
    Ok((text, cpu::of_children() - before))
}

fn report(ours: &[Run], theirs: &[Run]) -> String {
    let row = |name: &str, runs: &[Run]| {
        let (rate, cpu) =
            (median(runs.iter().map(|run| run.per_second)), median(runs.iter().map(|run| run.cpu_us)));
        format!("| {name} | {rate:.0} | {cpu:.2} |\n")
    };
    let values = |runs: &[Run], value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<_>>();
    let rates = |runs| values(runs, |run| run.per_second);
    let costs = |runs| values(runs, |run| run.cpu_us);
    let ratios = [
        // At least 0.95 of wrk's.
        Ratio::new("requests/s, wrk / millstream bench", &rates(theirs), &rates(ours), Some(1.0 / 0.95)),
        Ratio::new("CPU a request, millstream bench / wrk", &costs(ours), &costs(theirs), Some(1.0)),
    ];
    format!(
        "Generator on core 0 with 64 connections in one thread, nginx on core 1. CPU is the generator's own, in µs a \
         request; medians.\n\n| generator | requests/s | CPU |\n| --- | --- | --- |\n{}{}\n### Ratios\n\n{}",
        row("**millstream** bench", ours),
        row("wrk", theirs),
        table(&ratios),
    )
}
