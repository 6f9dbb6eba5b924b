//! How programs are started: on which cores, with how many open files, before whom.

use std::path::Path;
use std::process::Command;

/// The way in which all programs of a run are started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Launcher {
    /// Before all else on the machine: for one where others work too. Needs the right to it.
    urgent: bool,
}

impl Launcher {
    /// An urgent one takes precedence for its session too: where the kernel groups by session, being nice counts only
    /// within the group.
    pub(super) fn new(urgent: bool) -> Self {
        if urgent && std::fs::write("/proc/self/autogroup", "-20").is_err() {
            println!("sessions are not grouped, or may not take precedence: going on without");
        }
        Self { urgent }
    }

    /// The program on these cores, with as many open files as may be.
    pub(super) fn command(self, program: &Path, cores: &str) -> Command {
        let files = open_files_limit();
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}:{files}"));
        if self.urgent {
            command.args(["nice", "-n", "-20"]);
        }
        command.args(["taskset", "-c", cores]).arg(program);
        command
    }
}

/// The hard limit on open files.
fn open_files_limit() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(4)).and_then(|hard| hard.parse().ok()).unwrap_or(1024)
}
