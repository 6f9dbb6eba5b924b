//! Where it is played: a network of its own, with a hundred local ports.
//!
//! The namespace belongs to the thread that makes it, and processes that this thread starts are born into it. It vanishes with
//! the last of them, and all its TIME_WAIT with it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use millstream::{Error, Kind, Origin, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::netlink::Netlink;

/// How many local ports there are.
pub(crate) const PORTS: u16 = 100;
/// Not in 127/8, where the kernel's default lets TIME_WAIT be taken over: as between two hosts.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Outside the local ports.
const SERVER_PORT: u16 = 8080;
const PORT_RANGE: &str = "40000 40099";

/// Where the server listens in it.
pub(crate) fn server() -> SocketAddr {
    SocketAddr::from((SERVER, SERVER_PORT))
}

/// Puts this thread into a fresh room. Only while the process has no other thread: without root it becomes root of a user
/// namespace first, and the kernel allows that to a lone thread alone.
///
/// # Errors
/// The right to do it is missing.
pub(crate) fn enter() -> Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => become_root().map_err(|error| failed("no user namespace", error))?,
        made => made.map_err(|error| failed("no network namespace", error.into()))?,
    }
    furnish().map_err(|error| failed("the network namespace can't be set up", error))
}

/// Root of a namespace of users, and in a fresh network namespace that belongs to it.
fn become_root() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    // Who may not set groups may map its own (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

fn furnish() -> io::Result<()> {
    let netlink = Netlink::open()?;
    netlink.raise_loopback()?;
    netlink.add_to_loopback(SERVER)?;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", PORT_RANGE)?;
    // The kernel's default acts on loopback only, and the doctor shall see what a host sees whose server is elsewhere.
    fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "0")
}

fn failed(what: &'static str, error: io::Error) -> Error {
    Error::new(Kind::Io, Origin::Local, what).with_source(error)
}
