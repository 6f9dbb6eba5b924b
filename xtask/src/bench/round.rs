//! One round: all servers run at once, idle but for the one that is loaded, a second each in turn. What changes on the
//! machine within a round meets all of them alike; an idle server costs nothing.

use anyhow::{Context, Result};

use super::build::Built;
use super::figures::median;
use super::load::{Mode, Run, wrk};
use super::server::{Server, Subject};

/// How long one server is loaded before it is the next one's turn.
const SLICE_SECONDS: u32 = 1;

/// Servers that take turns.
pub(super) struct Round<'a> {
    built: &'a Built,
    /// With their places in the caller's list; those that are not there are left out.
    servers: Vec<(usize, Subject, Server)>,
}

impl<'a> Round<'a> {
    /// Starts and warms those of the subjects that are wanted and there. `first` is whose turn is first.
    pub(super) fn start(
        built: &'a Built,
        subjects: &[Subject],
        first: usize,
        wants: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let mut servers = Vec::new();
        for turn in 0..subjects.len() {
            let index = (first + turn) % subjects.len();
            let subject = subjects[index];
            if !wants(subject.name()) {
                continue;
            }
            if let Some(server) = started(built, subject)? {
                servers.push((index, subject, server));
            }
        }
        Ok(Self { built, servers })
    }

    /// So many slices for each server; gives each one's place and what it did in all its slices together.
    pub(super) fn load(&mut self, mode: Mode, slices: usize) -> Result<Vec<(usize, Run)>> {
        let mut runs: Vec<Vec<Run>> = self.servers.iter().map(|_| Vec::new()).collect();
        for slice in 0..slices {
            for turn in 0..self.servers.len() {
                // Rotated, so that nobody always comes after the same one.
                let index = (slice + turn) % self.servers.len();
                runs[index].push(self.slice(index, mode)?);
            }
        }
        Ok(self.servers.iter().zip(runs).map(|((place, ..), runs)| (*place, together(&runs))).collect())
    }

    /// A second try on a new server, so that one mishap does not cost all rounds.
    fn slice(&mut self, index: usize, mode: Mode) -> Result<Run> {
        let (_, subject, server) = &mut self.servers[index];
        wrk(server, mode, SLICE_SECONDS).or_else(|error| {
            println!("  {} failed, once more: {error:#}", subject.name());
            *server = started(self.built, *subject)?.context("it was there before")?;
            wrk(server, mode, SLICE_SECONDS)
        })
    }
}

fn started(built: &Built, subject: Subject) -> Result<Option<Server>> {
    let server = Server::start(built, subject, 1, "0")?;
    if let Some(server) = &server {
        wrk(server, Mode::KeepAlive, 1)?;
    }
    Ok(server)
}

/// Sums where sums make sense, medians of the slices for rates and latencies.
fn together(runs: &[Run]) -> Run {
    let sum = |value: fn(&Run) -> f64| runs.iter().map(value).sum::<f64>();
    let middle = |value: fn(&Run) -> f64| median(runs.iter().map(value));
    let mut cpu = super::cpu::Cpu::default();
    (cpu.user_us, cpu.system_us) = (sum(|run| run.cpu.user_us), sum(|run| run.cpu.system_us));
    Run {
        requests: sum(|run| run.requests),
        per_second: middle(|run| run.per_second),
        p50_us: middle(|run| run.p50_us),
        p99_us: middle(|run| run.p99_us),
        errors: sum(|run| run.errors),
        cpu,
    }
}
