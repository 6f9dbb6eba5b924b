//! What `millstream tune` is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::span;

/// Shows the kernel settings that act on what the doctor found, and no others
///
/// Without `--apply` nothing is changed. Many causes have no setting that helps: then none is shown, and the doctor says what to
/// do instead.
#[derive(Args)]
pub(crate) struct Options {
    /// Prints one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Changes them, after a question, and leaves a file that `--revert` takes; needs root
    #[arg(long)]
    pub(crate) apply: bool,
    /// Asks nothing
    #[arg(long, requires = "apply")]
    pub(crate) yes: bool,
    /// Where the file for `--revert` goes, and beside it (`.before.json`) the report for `doctor --since`; the default is
    /// `millstream-tune-PID.json` here
    #[arg(long, value_name = "FILE", requires = "apply")]
    pub(crate) keep: Option<PathBuf>,
    /// Puts back what an earlier `--apply` changed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["apply", "json"])]
    pub(crate) revert: Option<PathBuf>,
    /// How long to look
    #[arg(long = "for", value_name = "SPAN", default_value = "1s", value_parser = span::parse)]
    pub(crate) span: Duration,
}
