//! wrk and ab: programs that load a server and say what went wrong.

use std::process::Command;

use crate::Skip;
use crate::program::{Output, find, run};

/// What a load came to.
#[derive(Debug)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Connections that failed, responses that were malformed, late, or no success.
    pub errors: u64,
    /// Of the requests, those that went over a kept connection, where the program says so.
    pub kept_alive: u64,
    /// All it said.
    pub output: Output,
}

/// Runs wrk for some seconds over this many connections in one thread.
///
/// # Errors
/// When wrk is not installed.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn wrk(url: &str, connections: u32, seconds: u32, arguments: &[&str]) -> Result<Load, Skip> {
    let mut command = Command::new(find("wrk")?);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]).args(arguments).arg(url);
    let output = run(&mut command, b"").succeeded();
    let requests = number_before(&output.stdout, " requests in ").unwrap_or(0);
    let sockets = line_with(&output.stdout, "Socket errors:");
    let numbers =
        |line: &str| line.split([',', ' ']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let statuses = line_with(&output.stdout, "Non-2xx or 3xx responses:");
    Ok(Load { requests, errors: numbers(sockets) + numbers(statuses), kept_alive: 0, output })
}

/// Runs ab for this many requests, at most `concurrency` at a time.
///
/// # Errors
/// When ab is not installed.
///
/// # Panics
/// When it fails, as it does when a connection is refused or reset.
#[track_caller]
pub fn ab(url: &str, requests: u32, concurrency: u32, arguments: &[&str]) -> Result<Load, Skip> {
    let mut command = Command::new(find("ab")?);
    command
        .args(["-q", "-n", &requests.to_string(), "-c", &concurrency.to_string()])
        .args(arguments)
        .arg(url);
    let output = run(&mut command, b"").succeeded();
    let count = |name: &str| {
        let line = line_with(&output.stdout, name);
        line.split_whitespace().last().and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let errors = count("Failed requests:") + count("Write errors:") + count("Non-2xx responses:");
    Ok(Load {
        requests: count("Complete requests:"),
        errors,
        kept_alive: count("Keep-Alive requests:"),
        output,
    })
}

fn line_with<'a>(text: &'a str, what: &str) -> &'a str {
    text.lines().find(|line| line.contains(what)).unwrap_or_default()
}

fn number_before(text: &str, what: &str) -> Option<u64> {
    text.split_once(what)?.0.split_whitespace().last()?.parse().ok()
}
