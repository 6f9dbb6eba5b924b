//! Sockets that connect from 10.9.0.1, each in one of the ways to get a local port; and how their connections end.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use millstream_peers::eventually;
use millstream_peers::netns::{CLIENT, Namespace};
use millstream_sockets::{Diag, Entry, State};
use nix::libc::{self, IPPROTO_IP};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, SetStruct};
use socket2::{Domain, Socket, Type};

use crate::shared::close_first;

/// A client's end, then the server's.
pub(crate) type Pair = (TcpStream, TcpStream);
/// A local address, then a remote one.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// include/uapi/linux/in.h
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// The lowest port in the lower half, the highest in the upper half.
#[derive(Clone, Copy, Debug)]
struct LocalPortRange;

nix::setsockopt_impl!(LocalPortRange, IPPROTO_IP, IP_LOCAL_PORT_RANGE, u32, SetStruct<'_, u32>);

/// A socket without `SO_REUSEADDR`.
pub(crate) fn plain() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
}

/// A socket with `SO_REUSEADDR`.
pub(crate) fn reusing() -> Socket {
    let socket = plain();
    socket.set_reuse_address(true).unwrap();
    socket
}

/// A socket whose `connect` searches this range instead of the namespace's.
pub(crate) fn ranging(low: u16, high: u16) -> Socket {
    let socket = plain();
    let range = u32::from(low) | u32::from(high) << 16;
    setsockopt(&socket, LocalPortRange, &range).unwrap();
    socket
}

/// Binds it to this port of 10.9.0.1; 0 lets the kernel choose, now.
pub(crate) fn bind(socket: Socket, port: u16) -> io::Result<Socket> {
    socket.bind(&SocketAddr::from((CLIENT, port)).into())?;
    Ok(socket)
}

/// Binds it to 10.9.0.1 and leaves the port to `connect` (`IP_BIND_ADDRESS_NO_PORT`).
pub(crate) fn bind_address(socket: Socket) -> Socket {
    setsockopt(&socket, IpBindAddressNoPort, &true).unwrap();
    bind(socket, 0).unwrap()
}

/// Connects it, and accepts it.
pub(crate) fn connect(socket: Socket, listener: &TcpListener) -> io::Result<Pair> {
    socket.connect(&listener.local_addr()?.into())?;
    Ok((socket.into(), listener.accept()?.0))
}

/// Connects from this port with `SO_REUSEADDR`.
pub(crate) fn from_port(port: u16, listener: &TcpListener) -> io::Result<Pair> {
    connect(bind(reusing(), port)?, listener)
}

/// Leaves `connect` this one port to find.
pub(crate) fn only_port(namespace: &Namespace, port: u16) {
    namespace.set("net.ipv4.ip_local_port_range", &format!("{port} {port}"));
}

/// The connection with these ends. Where there is none, the kernel finds the listener at the local one.
pub(crate) fn find((local, remote): Ends) -> Option<Entry> {
    let found = Diag::open().unwrap().find(local, remote).unwrap();
    found.filter(|entry| entry.state() != State::Listen)
}

/// Closes the client's end first: its TIME_WAIT, the server's end gone.
pub(crate) fn to_time_wait((client, server): Pair) -> Entry {
    time_wait_of(close_first(client, server))
}

/// The TIME_WAIT that comes at these ends, once the other end is gone.
pub(crate) fn time_wait_of((local, remote): Ends) -> Entry {
    let is_waiting = || find((local, remote)).is_some_and(|entry| entry.state() == State::TimeWait);
    eventually("TIME_WAIT on one side, nothing on the other", || {
        is_waiting() && find((remote, local)).is_none()
    });
    find((local, remote)).unwrap()
}
