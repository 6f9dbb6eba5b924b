//! What a developer of Millstream runs besides cargo: `cargo xtask test | tidy | bench`.

mod bench;
mod process;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

fn usage() -> String {
    format!(
        "\
usage: cargo xtask COMMAND

  tidy                   check the rules of DESIGN and STYLE that no compiler checks
  test [--no-install]    install missing real peers, run every test, sum up
{}  bench all              all of them
        [--rounds 5]     rounds; the table shows medians
        [--urgent]       measured programs go before all others: for a machine where others work (root)
        [--quick]        short runs, to see that it works; RESULTS.md is left alone
        [--only a,b]     only these servers or clients; RESULTS.md is left alone
",
        bench::usage()
    )
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = root()?;
    match words.as_slice() {
        ["tidy"] => tidy::run(&root),
        ["test"] => test::run(&root, test::Install::Missing),
        ["test", "--no-install"] => test::run(&root, test::Install::Nothing),
        ["bench", rest @ ..] => bench::run(&root, &bench::Options::parse(rest)?),
        ["help" | "--help" | "-h"] => {
            print!("{}", usage());
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("this is not a command\n{}", usage()),
    }
}

/// The folder of the workspace: the parent of this crate's.
fn root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask`")?;
    let parent = PathBuf::from(manifest).parent().map(PathBuf::from);
    parent.context("the folder of xtask has a parent")
}
