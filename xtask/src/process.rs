//! Finds and runs other programs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where a program lies. The system folders count too: nginx is in one that only root has in its `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = search_path();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// `PATH` and the system folders.
pub(crate) fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let missing =
        system.into_iter().filter(|folder| !std::env::split_paths(&path).any(|known| known == *folder));
    let all = std::env::split_paths(&path).chain(missing.collect::<Vec<_>>());
    std::env::join_paths(all).unwrap_or(path)
}

/// Does it run and end well? It says nothing and is asked nothing.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
