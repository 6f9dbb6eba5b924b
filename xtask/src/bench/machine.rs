//! What a figure was measured on, and whether the machine was quiet.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The share of a second for which the cores are idle. Says so if others use them: the figures are still fair to both
/// sides, but they scatter.
pub(super) fn idle_share() -> f64 {
    let before = cores();
    std::thread::sleep(Duration::from_secs(1));
    let after = cores();
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    let share = if all > 0.0 { idle / all } else { 1.0 };
    if share < 0.9 {
        println!("WARNING: the machine is busy ({:.0} % idle): figures will scatter", 100.0 * share);
    }
    share
}

/// Idle and all ticks of all cores.
fn cores() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
    let idle = ticks.iter().skip(3).take(2).sum();
    (idle, ticks.iter().sum())
}

/// Command, date, machine and versions, as a list.
pub(super) fn describe(root: &Path, command: &str, idle: f64) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let lines = [
        ("command", format!("`{command}`")),
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit(root)),
        ("kernel", said("uname", &["-sr"])),
        ("CPU", format!("{} ({cores} cores)", cpu_model())),
        ("idle before the run", format!("{:.0} %", 100.0 * idle)),
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
