//! What `millstream serve` is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::span;

/// Serves the files of a folder over HTTP
///
/// Prints one line when it listens. SIGINT and SIGTERM let what is under way end; a second one ends it now.
#[derive(Args)]
pub(crate) struct Options {
    /// The folder to serve
    #[arg(default_value = ".")]
    pub(crate) root: PathBuf,
    /// Where to listen: IP:PORT or unix:PATH; an IPv6 address stands in brackets, port 0 takes a free one
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Worker threads; one a core by default
    #[arg(short, long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Speaks TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Answers /health, /metrics and /connections here
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9090")]
    pub(crate) admin: Option<String>,
    /// Lets the admin address be one that other hosts reach
    #[arg(long, requires = "admin")]
    pub(crate) admin_remote: bool,
    /// Open connections at most
    #[arg(long, value_name = "N", default_value_t = millstream::server::DEFAULT_MAX_CONNECTIONS)]
    pub(crate) max_connections: usize,
    /// Serves files and folders whose names begin with a dot
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Answers 404 for folders without an index.html, instead of a list
    #[arg(long)]
    pub(crate) no_listing: bool,
    /// Compresses what shrinks, for clients that ask; files beside it (x.br, x.zst, x.gz) are used in any case
    #[arg(long)]
    pub(crate) compress: bool,
    /// Prints a line for each request, its target with the query as it came: what is secret in it is in the log
    #[arg(long)]
    pub(crate) access_log: bool,
    /// How long requests under way may take to end after a signal
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = span::parse)]
    pub(crate) drain: Duration,
}
