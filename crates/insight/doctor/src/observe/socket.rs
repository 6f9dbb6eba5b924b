//! A socket as the doctor sees it, and which side of its connection it is.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

pub(crate) use millstream_sockets::State;

use crate::observation::Side;
use crate::reuse::TIME_WAIT_MS;

/// One line of a dump.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Socket {
    pub(crate) state: State,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// It stays the same for all of a connection's life, TIME_WAIT included.
    pub(crate) cookie: u64,
    /// Zero if no process holds it.
    pub(crate) inode: u32,
    /// What is left of TIME_WAIT.
    pub(crate) rest_ms: u64,
    pub(crate) retransmits: u8,
    pub(crate) receive_queue: u32,
    pub(crate) send_queue: u32,
    pub(crate) unacked: u32,
    /// Since the last ACK, and since anything was received.
    pub(crate) since_ack_ms: u64,
    pub(crate) silent_ms: u64,
}

#[cfg(test)]
impl Socket {
    /// One of which only this is known.
    pub(crate) fn plain(state: State, local: SocketAddr, remote: SocketAddr) -> Self {
        let (cookie, inode, rest_ms, since_ack_ms, silent_ms) = (0, 0, 0, 0, 0);
        let (retransmits, receive_queue, send_queue, unacked) = (0, 0, 0, 0);
        Self {
            state,
            local,
            remote,
            cookie,
            inode,
            rest_ms,
            retransmits,
            receive_queue,
            send_queue,
            unacked,
            since_ack_ms,
            silent_ms,
        }
    }
}

/// What listens, and which ports the kernel chooses from.
pub(crate) struct Ports {
    listening: HashSet<(IpAddr, u16)>,
    anywhere: HashSet<u16>,
    range: RangeInclusive<u16>,
    reuse_delay_ms: u64,
}

impl Ports {
    pub(crate) fn of(sockets: &[Socket], range: RangeInclusive<u16>, reuse_delay_ms: u64) -> Self {
        let listeners = || sockets.iter().filter(|one| one.state == State::Listen).map(|one| one.local);
        let listening = listeners().map(|local| (local.ip().to_canonical(), local.port())).collect();
        let anywhere =
            listeners().filter(|local| local.ip().is_unspecified()).map(|local| local.port()).collect();
        Self { listening, anywhere, range, reuse_delay_ms }
    }

    /// Whether the kernel may have chosen this port.
    pub(crate) fn is_automatic(&self, port: u16) -> bool {
        self.range.contains(&port)
    }

    /// Whether the port of this TIME_WAIT is one of the kernel's, and has rested for as long as `connect` wants before it takes it
    /// over. The kernel tells what is left of the 60 s, rounded up: it may seem younger than it is, never older.
    pub(crate) fn is_rested(&self, one: &Socket) -> bool {
        self.is_automatic(one.local.port()) && one.rest_ms.saturating_add(self.reuse_delay_ms) <= TIME_WAIT_MS
    }

    fn is_listened_on(&self, address: SocketAddr) -> bool {
        let port = address.port();
        self.anywhere.contains(&port) || self.listening.contains(&(address.ip().to_canonical(), port))
    }

    /// By what listens; where nothing does any more, by which of the ports looks chosen.
    pub(crate) fn side(&self, one: &Socket) -> Side {
        let (local, remote) = (one.local.port(), one.remote.port());
        let is_served = self.is_listened_on(one.local)
            || (!self.is_automatic(local) && self.is_automatic(remote) && !self.is_listened_on(one.remote));
        if is_served { Side::Listening } else { Side::Connecting }
    }
}

/// The names of an endpoint's two ends.
pub(crate) fn names(one: &Socket, side: Side) -> (String, String) {
    let (local, remote) = (canonical(one.local), canonical(one.remote));
    match side {
        Side::Listening => (local.to_string(), "*".to_owned()),
        _ => (local.ip().to_string(), remote.to_string()),
    }
}

/// An IPv4 address in the clothes of IPv6 is the same place.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether two addresses are one, in whatever clothes; an unspecified one is any.
pub(crate) fn is_same(one: SocketAddr, wanted: SocketAddr) -> bool {
    let (one, wanted) = (canonical(one), canonical(wanted));
    one.port() == wanted.port() && (wanted.ip().is_unspecified() || one.ip() == wanted.ip())
}
