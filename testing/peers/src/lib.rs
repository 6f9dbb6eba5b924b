//! What tests talk to, and nothing else may use:
//!
//! - [`raw`]: one connection as bytes, sent and expected piece by piece; the end of it told apart (FIN or reset).
//! - [`scripted`]: a server whose every connection runs a script.
//! - [`gate`]: what tests and scripts wait for each other with. Nobody sleeps; who waits in vain for ten seconds fails.
//! - [`certs`]: certificates, good and bad.
//! - [`nginx`], [`openssl`], [`python`], [`curl`], [`load`]: real programs, started and stopped, or a [`Skip`] where
//!   they are not installed.
//! - [`netns`]: a network namespace for one test: 100 local ports, and nobody else.

pub mod certs;
pub mod curl;
pub mod folder;
pub mod gate;
pub mod load;
pub mod message;
pub mod netns;
pub mod nginx;
pub mod openssl;
pub mod program;
pub mod python;
pub mod raw;
pub mod scripted;

pub use folder::Folder;
pub use gate::{Count, Gate, eventually};
pub use program::Skip;
pub use raw::{End, RawConn};
pub use scripted::Scripted;

use std::time::Duration;

/// Who waits this long for anything on loopback has found a fault: a wait that is over in time costs nothing.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Lets the process open as many files as the system allows it.
///
/// # Panics
/// When the system does not even do that.
pub fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit anybody may");
}
