//! What the program says besides its results, on standard error.

use std::io::IsTerminal;

use clap::{ArgAction, Args};
use tracing_subscriber::EnvFilter;

/// How much is said.
#[derive(Args)]
pub(crate) struct Options {
    /// Says only errors
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 100)]
    quiet: bool,
    /// Says more; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 101)]
    verbose: u8,
}

impl Options {
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn level(&self) -> &'static str {
        match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => "warn",
            (false, 1) => "info",
            (false, 2) => "debug",
            (false, _) => "trace",
        }
    }
}

/// Begins to log. `RUST_LOG` says more exactly what, and goes before the options.
pub(crate) fn start(options: &Options) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(options.level()));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(wants_colour())
        .with_env_filter(filter)
        .init();
}

/// On a terminal, unless `NO_COLOR` is set to anything (<https://no-color.org>).
fn wants_colour() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_refused
}
