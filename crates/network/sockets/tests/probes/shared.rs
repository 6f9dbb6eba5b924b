//! Connections in a namespace, and what a dump says of them: for every test of this crate.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;

use millstream_peers::netns::SERVER;
use millstream_sockets::{Diag, Entry, Query, Record, State};
use socket2::{Domain, Socket, Type};

pub(crate) fn at() -> SocketAddr {
    (SERVER, 8080).into()
}

pub(crate) fn dump(query: &Query) -> Vec<Entry> {
    let mut found = Vec::new();
    let each = |record: &Record<'_>| {
        found.push(record.to_entry());
        ControlFlow::Continue(())
    };
    Diag::open().unwrap().dump(query, each).unwrap();
    found
}

pub(crate) fn in_state(state: State) -> Vec<Entry> {
    dump(&Query::all().states([state]).with_info())
}

/// A connection from a port that the kernel chooses, and from the address it goes to, since that is the host's own; client's
/// end first.
pub(crate) fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.connect(&listener.local_addr().unwrap().into()).unwrap();
    (socket.into(), listener.accept().unwrap().0)
}

/// A connection whose client has closed first, wholly: its TIME_WAIT.
pub(crate) fn closed(listener: &TcpListener) -> (SocketAddr, SocketAddr) {
    let (client, server) = pair(listener);
    close_first(client, server)
}

/// Closes the client's end first, then the server's; the client's addresses.
pub(crate) fn close_first(client: TcpStream, mut server: TcpStream) -> (SocketAddr, SocketAddr) {
    let ends = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop(server);
    ends
}
