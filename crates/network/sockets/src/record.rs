//! One socket, as the kernel tells of it (`struct inet_diag_msg`, include/uapi/linux/inet_diag.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::netlink::{attribute, u16_at, u32_at};
use crate::{State, TcpInfo};

/// One socket of a dump: it lies in the buffer that was read, and nothing of it is copied before it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8; SIZE],
    attributes: &'a [u8],
    state: State,
    local: SocketAddr,
    remote: SocketAddr,
}

/// A timer that runs on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// What for.
    pub kind: TimerKind,
    /// When it ends: of TIME_WAIT the exact rest of its 60 s.
    pub expires: Duration,
    /// How often it has run out before.
    pub retransmits: u8,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerKind {
    /// Data is sent again.
    Retransmit,
    /// A silent peer is probed; also of SYN_RECEIVED.
    KeepAlive,
    /// The end of TIME_WAIT, or of an orphan in FIN_WAIT_2.
    TimeWait,
    /// A closed window is probed.
    ZeroWindow,
}

/// A copy of a [`Record`] that may be kept: 200 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    state: State,
    local: SocketAddr,
    remote: SocketAddr,
    timer: Option<Timer>,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
    interface: u32,
    cookie: u64,
    info: Option<TcpInfo>,
}

/// `sizeof(struct inet_diag_msg)`.
const SIZE: usize = 72;
const INET_DIAG_INFO: u16 = 2;
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

impl<'a> Record<'a> {
    /// From the body of a message; `None` if it is short, or of something else than TCP over IP.
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let (bytes, attributes) = body.split_first_chunk::<SIZE>()?;
        let state = State::from_number(bytes[1])?;
        let (local, remote) = (address(bytes, 8, 4)?, address(bytes, 24, 6)?);
        Some(Self { bytes, attributes, state, local, remote })
    }

    fn number(&self, at: usize) -> u32 {
        u32_at(self.bytes, at).expect("every field lies within the message")
    }

    /// Its state.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// The address on this side.
    #[inline]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The address on the other side; zeros for a listener.
    #[inline]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The timer that runs, if one does.
    pub fn timer(&self) -> Option<Timer> {
        let kind = match self.bytes[2] {
            1 => TimerKind::Retransmit,
            2 => TimerKind::KeepAlive,
            3 => TimerKind::TimeWait,
            4 => TimerKind::ZeroWindow,
            _ => return None,
        };
        let expires = Duration::from_millis(self.number(52).into());
        Some(Timer { kind, expires, retransmits: self.bytes[3] })
    }

    /// Bytes received and not read; of a listener the connections that wait to be accepted.
    pub fn receive_queue(&self) -> u32 {
        self.number(56)
    }

    /// Bytes not acknowledged yet; of a listener how many connections may wait.
    pub fn send_queue(&self) -> u32 {
        self.number(60)
    }

    /// Whose it is; 0 as well for what no process holds.
    pub fn uid(&self) -> u32 {
        self.number(64)
    }

    /// Its inode, to find the process by ([`Holders`](crate::Holders)); 0 if no process holds it: TIME_WAIT, orphans.
    pub fn inode(&self) -> u32 {
        self.number(68)
    }

    /// The interface it is bound to; 0 for none.
    pub fn interface(&self) -> u32 {
        self.number(40)
    }

    /// Names the connection for all its life, TIME_WAIT included; the same as `SO_COOKIE`.
    pub fn cookie(&self) -> u64 {
        u64::from(self.number(44)) | u64::from(self.number(48)) << 32
    }

    /// What TCP knows of it, if the query asked ([`Query::with_info`](crate::Query::with_info)) and there is any.
    pub fn info(&self) -> Option<TcpInfo> {
        attribute(self.attributes, INET_DIAG_INFO).map(TcpInfo::parse)
    }

    /// A copy to keep.
    pub fn to_entry(&self) -> Entry {
        Entry {
            state: self.state,
            local: self.local,
            remote: self.remote,
            timer: self.timer(),
            receive_queue: self.receive_queue(),
            send_queue: self.send_queue(),
            uid: self.uid(),
            inode: self.inode(),
            interface: self.interface(),
            cookie: self.cookie(),
            info: self.info(),
        }
    }
}

impl Entry {
    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The address on this side.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The address on the other side; zeros for a listener.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The timer that ran, if one did.
    pub fn timer(&self) -> Option<Timer> {
        self.timer
    }

    /// Bytes received and not read; of a listener the connections that wait to be accepted.
    pub fn receive_queue(&self) -> u32 {
        self.receive_queue
    }

    /// Bytes not acknowledged yet; of a listener how many connections may wait.
    pub fn send_queue(&self) -> u32 {
        self.send_queue
    }

    /// Whose it is; 0 as well for what no process holds.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its inode; 0 if no process holds it.
    pub fn inode(&self) -> u32 {
        self.inode
    }

    /// The interface it is bound to; 0 for none.
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Names the connection for all its life, TIME_WAIT included.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// What TCP knew of it.
    pub fn info(&self) -> Option<TcpInfo> {
        self.info
    }
}

fn address(bytes: &[u8; SIZE], ip_at: usize, port_at: usize) -> Option<SocketAddr> {
    let port = u16_at(bytes, port_at).map(u16::from_be)?;
    let octets: [u8; 16] = bytes.get(ip_at..)?.first_chunk().copied()?;
    let ip = match bytes[0] {
        AF_INET => IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(octets)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time_wait() -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        (bytes[0], bytes[1], bytes[2]) = (AF_INET, 6, 3);
        bytes[4..8].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        bytes[8..12].copy_from_slice(&[10, 9, 0, 1]);
        bytes[24..28].copy_from_slice(&[10, 9, 0, 2]);
        bytes[44..48].copy_from_slice(&7u32.to_ne_bytes());
        bytes[52..56].copy_from_slice(&59_000u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn record_is_read_whole_or_not_at_all() {
        let bytes = time_wait();
        let record = Record::parse(&bytes).expect("it is whole");
        assert_eq!(record.local(), "10.9.0.1:40000".parse().unwrap());
        assert_eq!(record.remote(), "10.9.0.2:80".parse().unwrap());
        assert_eq!((record.state(), record.cookie(), record.inode()), (State::TimeWait, 7, 0));
        let timer = Timer { kind: TimerKind::TimeWait, expires: Duration::from_secs(59), retransmits: 0 };
        assert_eq!((record.timer(), record.info()), (Some(timer), None));
        for cut in 0..SIZE {
            assert!(Record::parse(&bytes[..cut]).is_none(), "{cut}");
        }
        for (at, byte) in [(0, 1), (1, 0), (1, 99)] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            assert!(Record::parse(&bytes).is_none(), "{at}");
        }
        assert!(size_of::<Entry>() <= 200, "{}", size_of::<Entry>());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), size in 0u32..700) {
            crate::fuzz_messages(&bytes);
            let mut framed = size.to_ne_bytes().to_vec();
            framed.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            framed.extend(time_wait());
            framed.extend(&bytes);
            crate::fuzz_messages(&framed);
        }
    }
}
