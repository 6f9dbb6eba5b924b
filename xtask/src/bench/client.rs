//! Our HTTP client beside its peers: CPU a request with 64 callers on one core, nginx answering on the other.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::figures::{Ratio, field, median, table};
use super::server::{Server, Subject};

/// A program that takes `--url --callers --requests` and prints what it used.
struct Caller {
    name: &'static str,
    label: &'static str,
    program: fn(&Built) -> Option<PathBuf>,
}

const CALLERS: [Caller; 4] = [
    Caller {
        name: "millstream",
        label: "**millstream** (02_fetch)",
        program: |built| built.example("02_fetch"),
    },
    Caller {
        name: "floor",
        label: "floor (raw epoll + httparse)",
        program: |built| Some(built.peer("floor_client")),
    },
    Caller {
        name: "hyper-util",
        label: "hyper-util",
        program: |built| Some(built.peer("hyper_util_client")),
    },
    Caller { name: "reqwest", label: "reqwest", program: |built| Some(built.peer("reqwest_client")) },
];

/// What a run gave, by request.
#[derive(Clone, Copy, Debug)]
struct Run {
    user_us: f64,
    system_us: f64,
    per_second: f64,
}

impl Run {
    fn total_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// How many requests a turn has: about a second's worth.
const REQUESTS: &str = "128000";

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let server =
        Server::start(built, Subject::Nginx, 1, "1")?.context("nginx is missing: apt-get install nginx")?;
    let slices = if options.quick { 1 } else { 5 };
    let mut runs: [Vec<Run>; CALLERS.len()] = Default::default();
    for round in 0..options.rounds {
        let mut costs: [Vec<Run>; CALLERS.len()] = Default::default();
        for turn in 0..slices * CALLERS.len() {
            // In short turns, so that what changes on the machine meets all alike; rotated from round to round.
            let index = (round + turn) % CALLERS.len();
            let caller = &CALLERS[index];
            if let Some(program) = (caller.program)(built).filter(|_| options.wants(caller.name)) {
                costs[index].push(call(&program, &server).with_context(|| caller.name)?);
            }
        }
        for (index, costs) in costs.iter().enumerate().filter(|(_, costs)| !costs.is_empty()) {
            let run = together(costs);
            println!(
                "  {:14} {:.2} µs, {:.0} requests/s",
                CALLERS[index].name,
                run.total_us(),
                run.per_second
            );
            runs[index].push(run);
        }
        println!("round {} of {} is done", round + 1, options.rounds);
    }
    Ok(report(&runs))
}

/// All slices have as many requests, so the means are those of all requests.
fn together(runs: &[Run]) -> Run {
    let mean = |value: fn(&Run) -> f64| runs.iter().map(value).sum::<f64>() / runs.len() as f64;
    Run {
        user_us: mean(|run| run.user_us),
        system_us: mean(|run| run.system_us),
        per_second: mean(|run| run.per_second),
    }
}

fn call(program: &Path, server: &Server) -> Result<Run> {
    let mut command = server.launcher.command(program, "0");
    command.args(["--url", &server.url("/"), "--callers", "64", "--requests", REQUESTS]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("it failed: {text}");
    }
    let value = |name| field(&text, name).with_context(|| format!("no {name} in: {text}"));
    let requests = value("requests")?;
    Ok(Run {
        user_us: value("cpu_user_us")? / requests,
        system_us: value("cpu_system_us")? / requests,
        per_second: requests / value("seconds")?,
    })
}

fn report(runs: &[Vec<Run>; CALLERS.len()]) -> String {
    let mut text = String::from(
        "Client on core 0 with 64 callers in one thread, nginx on core 1. CPU is the client's own, in µs a request;\n\
         medians.\n\n| client | user | system | CPU | requests/s |\n| --- | --- | --- | --- | --- |\n",
    );
    for (caller, runs) in CALLERS.iter().zip(runs) {
        if runs.is_empty() {
            let _ = writeln!(text, "| {} | not built or not asked for | | | |", caller.label);
            continue;
        }
        let middle = |value: fn(&Run) -> f64| median(runs.iter().map(value));
        let (user, system) = (middle(|run| run.user_us), middle(|run| run.system_us));
        let (total, rate) = (middle(Run::total_us), middle(|run| run.per_second));
        let _ = writeln!(text, "| {} | {user:.2} | {system:.2} | {total:.2} | {rate:.0} |", caller.label);
    }
    let values = |name: &str, value: fn(&Run) -> f64| -> Vec<f64> {
        let found = CALLERS.iter().zip(runs).find(|(caller, _)| caller.name == name);
        found.map(|(_, runs)| runs.iter().map(value).collect()).unwrap_or_default()
    };
    let ratio = |peer: &str, what: &str, value: fn(&Run) -> f64, at_most: Option<f64>| {
        Ratio::new(format!("{what} / {peer}"), &values("millstream", value), &values(peer, value), at_most)
    };
    let ratios = [
        ratio("hyper-util", "CPU", Run::total_us, Some(0.8)),
        ratio("reqwest", "CPU", Run::total_us, Some(0.58)),
        ratio("floor", "CPU", Run::total_us, None),
        ratio("hyper-util", "user-space CPU", |run| run.user_us, None),
    ];
    let _ = write!(text, "\n### Ratios, Millstream / peer\n\n{}", table(&ratios));
    text
}
