//! `cargo xtask test`: installs the missing real peers when it may, runs every test, sums up.

mod peers;
mod tally;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use toml::{Table, Value};

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

/// Runs every test of the workspace, then the loom tests of the crates that have them, and those of crates with unsafe code once more
/// under the address sanitizer.
pub(crate) fn run(root: &Path, install: Install) -> Result<ExitCode> {
    peers::provide(install);
    let mut tally = Tally::default();
    cargo_test(root, &["--workspace", "--no-fail-fast"], &[], &[], &mut tally)?;
    let packages = packages(root)?;
    for package in packages.iter().filter(|package| package.has_loom) {
        let name = &package.name;
        println!("\nloom: every interleaving of {name}");
        cargo_test(root, &["-p", name, "--features", "loom", "--release"], &[], &["loom"], &mut tally)?;
    }
    for package in packages.iter().filter(|package| package.has_unsafe && SANITIZED.is_some()) {
        println!("\naddress sanitizer: {}", package.name);
        let args = ["-p", &package.name, "--tests", "--target", SANITIZED.unwrap_or_default()];
        cargo_test(root, &args, &ADDRESS_SANITIZER, &[], &mut tally)?;
    }
    let strict = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    Ok(if tally.report(strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// This machine's target, where the compiler brings an address sanitizer for it
/// (<https://doc.rust-lang.org/beta/unstable-book/compiler-flags/sanitizer.html>). Said to cargo, it keeps build scripts out of it.
const SANITIZED: Option<&str> = if cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))
{
    Some("x86_64-unknown-linux-gnu")
} else if cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "aarch64")) {
    Some("aarch64-unknown-linux-gnu")
} else {
    None
};

/// The flag is an unstable one, which the stable compiler takes when it is told to.
const ADDRESS_SANITIZER: [(&str, &str); 2] = [("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=address")];

/// Runs `cargo test`, shows what it says as it says it, and counts. `--show-output` brings out why a test skipped.
fn cargo_test(
    root: &Path,
    args: &[&str],
    envs: &[(&str, &str)],
    filter: &[&str],
    tally: &mut Tally,
) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).arg("test").args(args).arg("--").args(filter).arg("--show-output");
    command.envs(envs.iter().copied()).env("PATH", process::search_path()).stdin(Stdio::null());
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

/// A crate, and what its tests are run with besides.
struct Package {
    name: String,
    /// It has a feature `loom`: tests named `loom...` run under the model checker.
    has_loom: bool,
    /// Its lints do not forbid unsafe code, as the workspace's do.
    has_unsafe: bool,
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    let read = |path: &Path| -> Result<Table> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        text.parse().with_context(|| format!("{}", path.display()))
    };
    let mut packages = Vec::new();
    for member in members(&read(&root.join("Cargo.toml"))?) {
        let manifest = Value::Table(read(&root.join(member).join("Cargo.toml"))?);
        let entry = |path: &[&str]| path.iter().try_fold(&manifest, |entry, key| entry.get(key));
        let Some(name) = entry(&["package", "name"]).and_then(Value::as_str) else { continue };
        packages.push(Package {
            name: name.to_owned(),
            has_loom: entry(&["features", "loom"]).is_some(),
            has_unsafe: entry(&["lints", "rust", "unsafe_code"]).is_some(),
        });
    }
    Ok(packages)
}
