//! The `millstream` program: `serve` gives a folder to the web.

mod exit;
mod log;
mod serve;
mod signals;
mod span;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Serves files over HTTP.
#[derive(Parser)]
#[command(name = "millstream", version, arg_required_else_help = true, max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: log::Options,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Options),
}

fn main() -> ExitCode {
    let program = Program::parse();
    log::start(&program.log);
    let outcome = match &program.command {
        Command::Serve(options) => serve::run(options, program.log.is_quiet()),
    };
    exit::code(outcome)
}
