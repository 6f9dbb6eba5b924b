//! How long quick requests take at half load, beside a few that wait and a few that compute in the handler.

use std::fmt::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::figures::{Ratio, field, median, table};
use super::server::{Server, Subject};

const SUBJECTS: [Subject; 2] = [Subject::Ours, Subject::HyperMulti];

const WORKERS: usize = 2;
/// Server and load share both cores: there are only these two.
const CORES: &str = "0,1";

/// Turns of each server in a round: short and many, so that what changes on the machine meets both alike.
const TURNS: usize = 5;
/// How long a turn is, after a second of warming.
const SECONDS: &str = "2";

/// What a run gave; latencies are of quick requests only.
#[derive(Clone, Copy, Debug)]
struct Run {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    // Half of what the peer can do: the same for both.
    let most = {
        let server =
            Server::start(built, Subject::HyperMulti, WORKERS, CORES)?.context("hyper_multi is built")?;
        load(built, &server, 0.0)?.per_second
    };
    let rate = (most / 2.0).round();
    println!("  at most {most:.0} requests/s, so {rate:.0}");
    let mut runs: [Vec<Run>; SUBJECTS.len()] = Default::default();
    let turns = if options.quick { 1 } else { TURNS };
    for round in 0..options.rounds * turns {
        for turn in 0..SUBJECTS.len() {
            let index = (round + turn) % SUBJECTS.len();
            if !options.wants(SUBJECTS[index].name()) {
                continue;
            }
            let Some(server) = Server::start(built, SUBJECTS[index], WORKERS, CORES)? else { continue };
            let run = load(built, &server, rate)?;
            println!("  {:14} p50 {:.0} µs, p99 {:.0} µs", SUBJECTS[index].name(), run.p50_us, run.p99_us);
            runs[index].push(run);
        }
    }
    Ok(report(&runs, rate))
}

/// So many requests a second; as many as are answered for a rate of zero.
fn load(built: &Built, server: &Server, rate: f64) -> Result<Run> {
    let mut command = built.launcher.command(&built.peer("mixload"), CORES);
    command.args(["--connect", &server.address.to_string(), "--rate", &rate.to_string()]);
    command.args(["--connections", "64", "--seconds", SECONDS]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("mixload failed: {text}");
    }
    let value = |name| field(&text, name).with_context(|| format!("no {name} in: {text}"));
    Ok(Run {
        per_second: value("per_second")?,
        p50_us: value("p50_us")?,
        p99_us: value("p99_us")?,
        p999_us: value("p999_us")?,
    })
}

fn report(runs: &[Vec<Run>; SUBJECTS.len()], rate: f64) -> String {
    let mut text = format!(
        "{rate:.0} requests/s over 64 connections (half of what hyper answers of this mix), begun by the clock: 98 % quick,\n\
         1 % that wait 5 ms, 1 % that compute 1 ms in the handler. Latency of the quick ones from when they should have\n\
         begun; server ({WORKERS} workers) and load share cores {CORES}; medians.\n\n\
         | server | requests/s | p50 µs | p99 µs | p99.9 µs |\n| --- | --- | --- | --- | --- |\n"
    );
    for (subject, runs) in SUBJECTS.iter().zip(runs) {
        if runs.is_empty() {
            let _ = writeln!(text, "| {} | not built or not asked for | | | |", subject.label());
            continue;
        }
        let middle = |value: fn(&Run) -> f64| median(runs.iter().map(value));
        let (rate, p50) = (middle(|run| run.per_second), middle(|run| run.p50_us));
        let (p99, p999) = (middle(|run| run.p99_us), middle(|run| run.p999_us));
        let _ = writeln!(text, "| {} | {rate:.0} | {p50:.0} | {p99:.0} | {p999:.0} |", subject.label());
    }
    let p99 = |index: usize| -> Vec<f64> { runs[index].iter().map(|run| run.p99_us).collect() };
    let ratio = Ratio::new("p99 / hyper, multi-threaded tokio", &p99(0), &p99(1), Some(1.0));
    let _ = write!(text, "\n### Ratios, Millstream / peer\n\n{}", table(&[ratio]));
    text
}
