//! curl.

use std::process::Command;

use crate::Skip;
use crate::program::{Output, find, run};

/// Runs curl, silent but for errors, without the user's settings and proxies.
///
/// # Errors
/// When curl is not installed.
///
/// # Panics
/// When it takes longer than 30 seconds.
#[track_caller]
pub fn curl(arguments: &[&str]) -> Result<Output, Skip> {
    curl_with(arguments, b"")
}

/// The same with something on its standard input.
///
/// # Errors
/// When curl is not installed.
///
/// # Panics
/// When it takes longer than 30 seconds.
#[track_caller]
pub fn curl_with(arguments: &[&str], input: &[u8]) -> Result<Output, Skip> {
    let mut command = Command::new(find("curl")?);
    // `-q` must come first.
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "20"]).args(arguments);
    Ok(run(&mut command, input))
}
