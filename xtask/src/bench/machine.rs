//! What a figure was measured on, and whether the machine was quiet.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How much of the machine others use while we measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    busy: f64,
    all: f64,
    own: f64,
}

impl Watch {
    /// Begins to watch. Also says so at once if others use the cores now.
    pub(super) fn start() -> Self {
        let before = Self::read();
        std::thread::sleep(Duration::from_secs(1));
        let share = before.others();
        if share > BUSY {
            println!("WARNING: others use {:.0} % of the machine: figures will scatter", 100.0 * share);
        }
        Self::read()
    }

    fn read() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in user already.
        let all: f64 = ticks.iter().take(8).sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        // utime, stime, cutime, cstime: this process and the children that have ended.
        let own =
            fields.split_whitespace().skip(11).take(4).filter_map(|tick| tick.parse::<f64>().ok()).sum();
        Self { busy: all - idle, all, own }
    }

    /// The share of all cores that others have used since. To be asked when our own children have ended.
    pub(super) fn others(self) -> f64 {
        let now = Self::read();
        let used = (now.busy - self.busy) - (now.own - self.own);
        (used / (now.all - self.all).max(1.0)).clamp(0.0, 1.0)
    }
}

/// Above this others disturb the figures; a guess.
const BUSY: f64 = 0.05;

/// Command, date, machine and versions, as a list.
pub(super) fn describe(root: &Path, command: &str, others: f64) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let lines = [
        ("command", format!("`{command}`")),
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit(root)),
        ("kernel", said("uname", &["-sr"])),
        ("CPU", format!("{} ({cores} cores)", cpu_model())),
        ("others used", format!("{:.0} % of the cores during the run", 100.0 * others)),
        ("versions", versions(root)),
    ];
    lines.map(|(what, value)| format!("- {what}: {value}\n")).concat()
}

fn commit(root: &Path) -> String {
    let root = root.to_string_lossy();
    said("git", &["-C", &root, "describe", "--always", "--dirty"])
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model).to_owned()
}

fn versions(root: &Path) -> String {
    let lock = std::fs::read_to_string(root.join("benches/peers/Cargo.lock")).unwrap_or_default();
    let mut all = vec![said("rustc", &["--version"])];
    for package in ["hyper", "hyper-util", "axum", "actix-web", "reqwest", "tokio"] {
        let line = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, rest)| rest);
        let version = line.and_then(|rest| rest.split('"').next()).unwrap_or("unknown");
        all.push(format!("{package} {version}"));
    }
    let nginx = said("nginx", &["-v"]);
    all.push(nginx.rsplit("version: ").next().unwrap_or_default().replace('/', " "));
    all.push(said("wrk", &["-v"]).split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    all.push(said("fio", &["--version"]).replacen('-', " ", 1));
    all.join(", ")
}

/// The first line that a program says, on either stream.
fn said(program: &str, args: &[&str]) -> String {
    let path = crate::process::find(program).unwrap_or_else(|| program.into());
    let Ok(output) = Command::new(path).args(args).stdin(Stdio::null()).output() else {
        return "unknown".to_owned();
    };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}
