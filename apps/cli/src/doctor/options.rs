//! What `millstream doctor` is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::span;

/// Explains what is wrong with this host's TCP connections, whatever program holds them
///
/// It looks at all sockets of this network namespace for a while, and says what it found, what shows it, what helps, and what
/// does not. Without root it can't name the processes of other users, and says so. Exits with 0 if nothing is wrong, 2 with a
/// warning, 3 if connections fail now, 1 if it could not look.
#[derive(Args)]
pub(crate) struct Options {
    /// Prints one line of JSON
    #[arg(long, conflicts_with = "watch")]
    pub(crate) json: bool,
    /// Shows it live, and what comes of a setting that is changed meanwhile; q ends it
    #[arg(long)]
    pub(crate) watch: bool,
    /// Compares with an earlier report, the output of `--json`: what was predicted, and what is observed
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,
    /// Looks only at connections from or to this address; 0.0.0.0 is any
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) endpoint: Option<SocketAddr>,
    /// How long to look; the longer, the surer is what grows slowly
    #[arg(long = "for", value_name = "SPAN", default_value = "1s", value_parser = span::parse, conflicts_with = "watch")]
    pub(crate) span: Duration,
}
