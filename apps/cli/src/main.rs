//! The `millstream` program: `serve` gives a folder to the web, `get` fetches from it, `bench` loads a server, `doctor` says what is
//! wrong with a host's connections, `tune` changes the settings that act on it, `demo` plays incidents.

mod bench;
mod demo;
mod doctor;
mod exit;
mod get;
mod log;
mod serve;
mod signals;
mod span;
mod tune;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Serves files over HTTP, fetches them, loads servers, and explains a host's connections.
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
    Get(get::Options),
    Bench(bench::Options),
    Doctor(doctor::Options),
    Tune(tune::Options),
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let program = usage::parse::<Program>();
    log::start(&program.log);
    let is_quiet = program.log.is_quiet();
    let outcome = match program.command {
        Command::Serve(options) => serve::run(&options, is_quiet),
        Command::Get(options) => get::run(options, is_quiet),
        Command::Bench(options) => bench::run(options, is_quiet),
        Command::Doctor(options) => doctor::run(&options),
        Command::Tune(options) => tune::run(&options),
        Command::Demo(options) => demo::run(options, is_quiet),
    };
    exit::code(outcome)
}
