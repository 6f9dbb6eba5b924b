//! What an idle keep-alive connection costs each server in memory.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::cpu::tree;
use super::figures::{Ratio, median, table};
use super::load::{Mode, wrk};
use super::server::{Server, Subject};

const SUBJECTS: [Subject; 6] =
    [Subject::Ours, Subject::Floor, Subject::HyperPerCore, Subject::Axum, Subject::Actix, Subject::Nginx];

/// What a connection may cost, in KiB.
const AT_MOST_KIB: f64 = 2.0;

/// KiB of a process and its children.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    resident: f64,
    /// Heap and stacks, without mapped files.
    anonymous: f64,
}

/// Measures, and gives the table.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let connections = if options.quick { 1_000 } else { 10_000 };
    let rounds = options.rounds.min(3);
    let mut costs: [Vec<Memory>; SUBJECTS.len()] = Default::default();
    for _ in 0..rounds {
        for (subject, costs) in SUBJECTS.iter().zip(&mut costs).filter(|(s, _)| options.wants(s.name())) {
            let Some(cost) = cost(built, *subject, connections)? else { continue };
            println!("  {:14} {:.2} KiB a connection", subject.name(), cost.resident);
            costs.push(cost);
        }
    }
    Ok(report(&costs, connections))
}

/// KiB a connection; `None` if the server is not there.
fn cost(built: &Built, subject: Subject, connections: u32) -> Result<Option<Memory>> {
    let Some(server) = Server::start(built, subject, 1, "0")? else { return Ok(None) };
    // What a server touches with its first requests is not what a connection costs.
    wrk(&server, Mode::KeepAlive, 1)?;
    let before = Memory::of(server.pid());
    let mut command = built.launcher.command(&built.peer("hold_open"), "1");
    command.args(["--connect", &server.address.to_string(), "--connections", &connections.to_string()]);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(client.stdout.take().context("it is piped")?).read_line(&mut line)?;
    let after = Memory::of(server.pid());
    // The server goes first, so that the TIME_WAIT ports are its own and not the client's.
    drop(server);
    drop(client.stdin.take());
    client.wait()?;
    if !line.starts_with("holding") {
        bail!("{}: {connections} connections could not be held", subject.name());
    }
    let each = |after: f64, before: f64| (after - before) / f64::from(connections);
    Ok(Some(Memory {
        resident: each(after.resident, before.resident),
        anonymous: each(after.anonymous, before.anonymous),
    }))
}

impl Memory {
    fn of(pid: u32) -> Self {
        let mut memory = Self::default();
        for pid in tree(pid) {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let value = |name: &str| -> f64 {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
            };
            memory.resident += value("Rss:");
            memory.anonymous += value("Anonymous:");
        }
        memory
    }
}

fn report(costs: &[Vec<Memory>; SUBJECTS.len()], connections: u32) -> String {
    let mut text = format!(
        "{connections} connections, each idle after one served request; the server was warm before. KiB a connection\n\
         of user memory (`smaps_rollup`); medians.\n\n| server | resident | anonymous |\n| --- | --- | --- |\n"
    );
    for (subject, costs) in SUBJECTS.iter().zip(costs) {
        if costs.is_empty() {
            let _ = writeln!(text, "| {} | not built or not asked for | |", subject.label());
            continue;
        }
        let resident = median(costs.iter().map(|cost| cost.resident));
        let anonymous = median(costs.iter().map(|cost| cost.anonymous));
        let _ = writeln!(text, "| {} | {resident:.2} | {anonymous:.2} |", subject.label());
    }
    let ours: Vec<f64> = costs[0].iter().map(|cost| cost.resident).collect();
    let one = vec![1.0; ours.len()];
    let figure = Ratio::new("KiB a connection, Millstream", &ours, &one, Some(AT_MOST_KIB));
    let _ = write!(text, "\n### Figures\n\n{}", table(&[figure]));
    text
}
