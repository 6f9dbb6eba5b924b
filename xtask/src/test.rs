//! `cargo xtask test`: installs the missing real peers when it may, runs every test, sums up.

mod peers;
mod tally;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use toml::Table;

use crate::process;
use crate::tidy::manifest::members;
use tally::Tally;

/// May missing peers be installed?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Install {
    /// Those that are missing, if the rights are there.
    Missing,
    /// Nothing.
    Nothing,
}

/// Runs every test of the workspace, then the loom tests of the crates that have them.
pub(crate) fn run(root: &Path, install: Install) -> Result<ExitCode> {
    peers::provide(install);
    let mut tally = Tally::default();
    cargo_test(root, &["--workspace", "--no-fail-fast"], &[], &mut tally)?;
    for package in packages_with_loom(root)? {
        println!("\nloom: every interleaving of {package}");
        cargo_test(root, &["-p", &package, "--features", "loom", "--release"], &["loom"], &mut tally)?;
    }
    let strict = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    Ok(if tally.report(strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `cargo test`, shows what it says as it says it, and counts. `--show-output` brings out why a test skipped.
fn cargo_test(root: &Path, args: &[&str], filter: &[&str], tally: &mut Tally) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).arg("test").args(args).arg("--").args(filter).arg("--show-output");
    command.env("PATH", process::search_path()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cargo can't be started")?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (out, err) = std::thread::scope(|scope| {
        let out = scope.spawn(|| stdout.map(|pipe| relay(pipe, |line| println!("{line}"))));
        let err = scope.spawn(|| stderr.map(|pipe| relay(pipe, |line| eprintln!("{line}"))));
        (out.join().ok().flatten(), err.join().ok().flatten())
    });
    tally.merge(out.unwrap_or_default());
    tally.merge(err.unwrap_or_default());
    tally.command_ended(child.wait().context("cargo got lost")?.success());
    Ok(())
}

/// Counts each line, and shows it unless it is only there for counting.
fn relay(pipe: impl Read, show: impl Fn(&str)) -> Tally {
    let mut tally = Tally::default();
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if tally.line(&line) == tally::Line::Shown {
            show(&line);
        }
    }
    tally
}

/// Crates with a feature `loom`: their tests named `loom...` run under the model checker.
fn packages_with_loom(root: &Path) -> Result<Vec<String>> {
    let read = |path: &Path| -> Result<Table> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        text.parse().with_context(|| format!("{}", path.display()))
    };
    let mut packages = Vec::new();
    for member in members(&read(&root.join("Cargo.toml"))?) {
        let manifest = read(&root.join(member).join("Cargo.toml"))?;
        let name =
            manifest.get("package").and_then(|package| package.get("name")).and_then(|name| name.as_str());
        if manifest.get("features").is_some_and(|features| features.get("loom").is_some()) {
            packages.extend(name.map(str::to_owned));
        }
    }
    Ok(packages)
}
