//! What a peer program that measures both sides by itself prints: a line of JSON a round.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::build::Built;
use super::figures::{field, median};

/// A peer's output.
pub(super) struct Lines(String);

impl Lines {
    /// Runs the peer on both cores.
    pub(super) fn of(built: &Built, program: &str, args: &[&str]) -> Result<Self> {
        let mut command = built.launcher.command(&built.peer(program), "0,1");
        let output = command.args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{program} failed: {text}");
        }
        Ok(Self(text))
    }

    /// A field of all rounds.
    pub(super) fn column(&self, name: &str) -> Result<Vec<f64>> {
        let value = |line: &str| field(line, name).with_context(|| format!("no {name} in: {line}"));
        self.0.lines().map(value).collect()
    }

    /// A row of a table: the medians of a time and of its CPU.
    pub(super) fn row(&self, what: &str, name: &str) -> Result<String> {
        let (wall, cpu) = (median(self.column(name)?), median(self.column(&format!("{name}_cpu"))?));
        Ok(format!("| {what} | {wall:.0} | {cpu:.0} |\n"))
    }
}
