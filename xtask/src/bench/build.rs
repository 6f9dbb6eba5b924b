//! Builds our examples and the peers, in release.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::launcher::Launcher;

/// Where the programs to measure lie.
#[derive(Debug)]
pub(super) struct Built {
    ours: PathBuf,
    peers: PathBuf,
    /// How they are started.
    pub(super) launcher: Launcher,
}

impl Built {
    /// One of our examples; `None` if it could not be built.
    pub(super) fn example(&self, name: &str) -> Option<PathBuf> {
        let path = self.ours.join(name);
        path.is_file().then_some(path)
    }

    /// One of the programs of `apps`; `None` if it could not be built.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let path = self.ours.with_file_name(name);
        path.is_file().then_some(path)
    }

    /// One of the programs of `benches/peers`.
    pub(super) fn peer(&self, name: &str) -> PathBuf {
        self.peers.join(name)
    }
}

/// Builds all. Ours may fail, so that the peers can be looked at alone; without peers there is no comparison.
pub(super) fn all(root: &Path, examples: &[&str], wants_program: bool, launcher: Launcher) -> Result<Built> {
    let peers = root.join("benches/peers");
    println!("building the peers");
    if !cargo_build(&peers, &["--bins"])? {
        bail!("the peers can't be built");
    }
    let ours = root.join("target/release/examples");
    for example in examples {
        println!("building {example}");
        if !cargo_build(root, &["--package", "millstream-examples", "--example", example])? {
            println!("{example} can't be built: its rows say so");
            // An old build must not stand in for it.
            let _ = std::fs::remove_file(ours.join(example));
        }
    }
    if wants_program {
        println!("building millstream");
        if !cargo_build(root, &["--package", "millstream-cli"])? {
            bail!("millstream can't be built");
        }
    }
    Ok(Built { ours, peers: peers.join("target/release"), launcher })
}

/// True if it was built. The target folders are fixed: an environment's own would hide where the programs lie.
fn cargo_build(folder: &Path, args: &[&str]) -> Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).args(["build", "--quiet", "--release"]).args(args);
    command.arg("--target-dir").arg(folder.join("target"));
    Ok(command.status().context("cargo can't be started")?.success())
}
