//! Load from wrk, and what it says.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::cpu::{Cpu, Reading};
use super::server::Server;
use crate::process;

/// How wrk asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// 64 connections that stay open, one request at a time on each.
    KeepAlive,
    /// 64 connections that stay open, 16 requests at a time on each.
    Pipelined,
    /// A new connection a request, which the server closes.
    Close,
}

/// What a run gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) requests: f64,
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) errors: f64,
    pub(super) cpu: Cpu,
}

impl Run {
    pub(super) fn user_us(&self) -> f64 {
        self.cpu.user_us / self.requests
    }

    pub(super) fn system_us(&self) -> f64 {
        self.cpu.system_us / self.requests
    }

    pub(super) fn total_us(&self) -> f64 {
        self.cpu.total_us() / self.requests
    }
}

/// Loads the server from core 1 for so many seconds, and reads what that cost it.
pub(super) fn wrk(server: &Server, mode: Mode, seconds: u32) -> Result<Run> {
    let wrk = process::find("wrk").context("wrk is missing: apt-get install wrk")?;
    let mut command = server.launcher.command(&wrk, "1");
    command.args(["-t1", "-c64", "--latency", &format!("-d{seconds}s")]);
    match mode {
        Mode::KeepAlive => {}
        Mode::Pipelined => {
            command.arg("-s").arg(PIPELINE_SCRIPT);
        }
        Mode::Close => {
            command.args(["-H", "Connection: close"]);
        }
    }
    command.arg(server.url("/")).stdin(Stdio::null()).stderr(Stdio::inherit());
    let before = Reading::of(server.pid());
    let output = command.output().context("wrk can't be started")?;
    let cpu = Reading::of(server.pid()).since(before);
    if cpu.total_us() <= 0.0 {
        bail!("the server ended under load");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {text}");
    }
    parse(&text, cpu).with_context(|| format!("wrk said:\n{text}"))
}

/// 16 requests at a time.
const PIPELINE_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/pipeline.lua");

fn parse(text: &str, cpu: Cpu) -> Result<Run> {
    let mut run = Run { requests: 0.0, per_second: 0.0, p50_us: 0.0, p99_us: 0.0, errors: 0.0, cpu };
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["50%", time] => run.p50_us = micros(time)?,
            ["99%", time] => run.p99_us = micros(time)?,
            [count, "requests", "in", ..] => run.requests = count.parse()?,
            ["Requests/sec:", rate] => run.per_second = rate.parse()?,
            ["Socket", "errors:", counts @ ..] => run.errors += sum(counts),
            ["Non-2xx", .., count] => run.errors += count.parse::<f64>()?,
            _ => {}
        }
    }
    if run.requests == 0.0 {
        bail!("no request was answered");
    }
    Ok(run)
}

/// The numbers among the words: `connect 0, read 3, write 0, timeout 0`.
fn sum(words: &[&str]) -> f64 {
    words.iter().filter_map(|word| word.trim_end_matches(',').parse::<f64>().ok()).sum()
}

fn micros(text: &str) -> Result<f64> {
    let units = [("us", 1.0), ("ms", 1000.0), ("s", 1_000_000.0)];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = found.with_context(|| format!("`{text}` is no time"))?;
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_of_wrk_is_read() {
        let text = "Running 5s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Latency Distribution\n     \
            50%  590.00us\n     75%  700.00us\n     99%    1.02ms\n  123456 requests in 5.00s, 20.10MB read\n  \
            Socket errors: connect 0, read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 3\n\
            Requests/sec:  24690.12\nTransfer/sec:      4.02MB\n";
        let cpu = Cpu { user_us: 123_456.0, system_us: 246_912.0 };
        let run = parse(text, cpu).expect("it can be read");
        assert_eq!((run.requests, run.per_second, run.errors), (123_456.0, 24_690.12, 6.0));
        assert_eq!((run.p50_us, run.p99_us), (590.0, 1020.0));
        assert_eq!((run.user_us(), run.system_us(), run.total_us()), (1.0, 2.0, 3.0));
        assert!(parse("", cpu).is_err());
    }
}
