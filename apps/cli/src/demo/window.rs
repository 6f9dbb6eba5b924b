//! A hundred ports of loopback, for where no network of its own can be made.
//!
//! Each connection binds to one of them explicitly. A bind without `SO_REUSEADDR` finds a port in TIME_WAIT to be taken, whatever
//! `tcp_tw_reuse` says, and says EADDRINUSE. The kernel's own choice within such a window (IP_LOCAL_PORT_RANGE) would not show the
//! incident: on loopback it takes over what is a second old, by default.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::room::PORTS;

/// The windows that are tried, from here on upwards: outside Linux's default range of local ports (32768 to 60999), so that no
/// program gets one of these by chance.
const FIRST: u16 = 20_000;
const TRIES: u16 = 100;

/// The first port of a window in which every port is free at this moment. Two plays at once begin to look at different places.
pub(crate) fn find() -> Option<u16> {
    let begin = u16::try_from(std::process::id() % u32::from(TRIES)).unwrap_or(0);
    let mut windows = (begin..begin + TRIES).map(|at| FIRST + at % TRIES * PORTS);
    windows.find(|&first| ports(first).all(|port| bind(port).is_ok()))
}

/// A connection from the first port that is free.
pub(crate) fn connect(server: SocketAddr, first: u16) -> io::Result<TcpStream> {
    for port in ports(first) {
        match bind(port) {
            Ok(socket) => {
                rustix::net::connect(&socket, &server)?;
                return Ok(socket.into());
            }
            Err(Errno::ADDRINUSE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::ADDRINUSE.into())
}

fn ports(first: u16) -> impl Iterator<Item = u16> {
    first..first.saturating_add(PORTS)
}

fn bind(port: u16) -> Result<std::os::fd::OwnedFd, Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}
