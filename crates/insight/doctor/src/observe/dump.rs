//! All TCP sockets of the thread's network namespace, by sock_diag.
//!
//! One request for each family, answered in several messages. What the kernel says is read by offset, with a check before each
//! read: a short or strange message is skipped, never trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use millstream_base::{Error, Kind, Origin};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

use super::socket::{Socket, State};

/// A way to the kernel's list of sockets.
pub(crate) struct Dump {
    socket: OwnedFd,
    buf: Vec<u8>,
    sequence: u32,
}

/// The size that `ss` reads with; the kernel fills up to 32 KiB at once.
const BUF_SIZE: usize = 64 * 1024;
/// The kernel answers from memory: a longer silence is a fault, not work.
const TIMEOUT: Duration = Duration::from_secs(10);

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST and NLM_F_DUMP.
const REQUEST_DUMP: u16 = 0x301;
const HEADER_SIZE: usize = 16;
/// `struct inet_diag_msg`.
const MESSAGE_SIZE: usize = 72;
const INET_DIAG_INFO: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

impl Dump {
    pub(crate) fn open() -> Result<Self, Error> {
        let opened = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        );
        let socket = opened.map_err(|error| failed("sock_diag can't be opened", error))?;
        // A larger buffer only makes dumps quicker.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, 1 << 20);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(TIMEOUT))
            .map_err(|error| failed("sock_diag takes no timeout", error))?;
        Ok(Self { socket, buf: vec![0; BUF_SIZE], sequence: 0 })
    }

    /// All of them, IPv4 first.
    pub(crate) fn all(&mut self) -> Result<Vec<Socket>, Error> {
        let mut sockets = Vec::new();
        for family in [AF_INET, AF_INET6] {
            self.family(family, &mut sockets)?;
        }
        Ok(sockets)
    }

    fn family(&mut self, family: u8, sockets: &mut Vec<Socket>) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(family, self.sequence);
        rustix::net::send(&self.socket, &request, SendFlags::empty())
            .map_err(|error| failed("sock_diag takes no request", error))?;
        loop {
            let (_, size) = rustix::net::recv(&self.socket, &mut self.buf[..], RecvFlags::empty())
                .map_err(|error| failed("sock_diag gives no answer", error))?;
            let answer = self.buf.get(..size).unwrap_or_default();
            match each_message(answer, self.sequence, |message| sockets.extend(parse(message))) {
                Step::More if size > 0 => {}
                Step::More => return Err(failed("sock_diag ended early", rustix::io::Errno::IO)),
                Step::Done => return Ok(()),
                // A kernel without IPv6.
                Step::Failed(code)
                    if family == AF_INET6 && code == rustix::io::Errno::NOENT.raw_os_error() =>
                {
                    return Ok(());
                }
                Step::Failed(code) => {
                    return Err(failed("sock_diag refuses", rustix::io::Errno::from_raw_os_error(code)));
                }
            }
        }
    }
}

fn failed(what: &'static str, error: rustix::io::Errno) -> Error {
    Error::new(Kind::Io, Origin::Local, what).with_source(std::io::Error::from(error))
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: all states, with TCP_INFO.
fn request(family: u8, sequence: u32) -> [u8; 72] {
    let mut bytes = [0; 72];
    bytes[0..4].copy_from_slice(&72u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[16] = family;
    bytes[17] = IPPROTO_TCP;
    bytes[18] = 1 << (INET_DIAG_INFO - 1);
    bytes[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
    bytes
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    More,
    Done,
    /// With this error's number.
    Failed(i32),
}

/// Splits what one read gave into messages.
fn each_message(mut bytes: &[u8], sequence: u32, mut each: impl FnMut(&[u8])) -> Step {
    while let Some((size, kind, of)) = header(bytes) {
        let Some(body) = bytes.get(HEADER_SIZE..size) else { return Step::More };
        // Answers to an earlier request that was given up.
        if of == sequence {
            match kind {
                NLMSG_DONE => return Step::Done,
                NLMSG_ERROR => {
                    return Step::Failed(u32_at(body, 0).map_or(0, |code| (code as i32).saturating_neg()));
                }
                SOCK_DIAG_BY_FAMILY => each(body),
                _ => {}
            }
        }
        bytes = bytes.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    Step::More
}

/// Size, kind and sequence; none if it is not whole, or shorter than itself.
fn header(bytes: &[u8]) -> Option<(usize, u16, u32)> {
    let size = u32_at(bytes, 0)? as usize;
    let sequence = u32_at(bytes, 8)?;
    (size >= HEADER_SIZE && size <= bytes.len()).then_some((size, u16_at(bytes, 4)?, sequence))
}

/// `struct inet_diag_msg` and its attributes.
fn parse(bytes: &[u8]) -> Option<Socket> {
    if bytes.len() < MESSAGE_SIZE {
        return None;
    }
    let (family, timer) = (bytes[0], bytes[2]);
    let (local, remote) = (address(bytes, family, 8, 4)?, address(bytes, family, 24, 6)?);
    // A bound socket without a connection is listed as closed.
    let state = State::from_number(bytes[1])?;
    let cookie = u64::from(u32_at(bytes, 44)?) | u64::from(u32_at(bytes, 48)?) << 32;
    let info = attribute(&bytes[MESSAGE_SIZE..], INET_DIAG_INFO).unwrap_or_default();
    let ms = |at| u64::from(u32_at(info, at).unwrap_or(0));
    Some(Socket {
        state,
        local,
        remote,
        cookie,
        inode: u32_at(bytes, 68)?.into(),
        rest_ms: if timer == 3 { u32_at(bytes, 52)?.into() } else { 0 },
        retransmits: bytes[3],
        receive_queue: u32_at(bytes, 56)?,
        send_queue: u32_at(bytes, 60)?,
        // The offsets of `struct tcp_info` (include/uapi/linux/tcp.h).
        unacked: u32_at(info, 24).unwrap_or(0),
        since_ack_ms: ms(56),
        silent_ms: ms(52).min(ms(56)),
    })
}

fn address(bytes: &[u8], family: u8, ip_at: usize, port_at: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes.get(port_at..port_at + 2)?.try_into().ok()?);
    let ip: [u8; 16] = bytes.get(ip_at..ip_at + 16)?.try_into().ok()?;
    let ip = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(ip)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (size, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let body = bytes.get(4..size)?;
        if kind == wanted {
            return Some(body);
        }
        bytes = bytes.get(size.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(state: u8) -> Vec<u8> {
        let mut bytes = vec![0; MESSAGE_SIZE];
        (bytes[0], bytes[1], bytes[2]) = (AF_INET, state, 3);
        bytes[4..8].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        bytes[8..12].copy_from_slice(&[10, 9, 0, 1]);
        bytes[24..28].copy_from_slice(&[10, 9, 0, 2]);
        bytes[44..48].copy_from_slice(&7u32.to_ne_bytes());
        bytes[52..56].copy_from_slice(&59_000u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn message_is_read_whole_or_not_at_all() {
        let bytes = message(6);
        let one = parse(&bytes).expect("it is whole");
        assert_eq!((one.state, one.cookie, one.rest_ms, one.inode), (State::TimeWait, 7, 59_000, 0));
        assert_eq!(
            (one.local.to_string(), one.remote.to_string()),
            ("10.9.0.1:40000".into(), "10.9.0.2:80".into())
        );
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&message(99)), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), size in 0u32..500) {
            let mut seen = 0;
            let _ = each_message(&bytes, 0, |message| seen += usize::from(parse(message).is_some()));
            let mut framed = size.to_ne_bytes().to_vec();
            framed.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            framed.extend(message(1));
            framed.extend(&bytes);
            let _ = each_message(&framed, 0, |message| seen += usize::from(parse(message).is_some()));
            prop_assert!(seen <= (bytes.len() + framed.len()) / HEADER_SIZE);
        }
    }

    #[test]
    fn own_listener_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let all = Dump::open().unwrap().all().unwrap();
        assert!(all.iter().any(|one| one.state == State::Listen && one.local == local && one.inode != 0));
    }
}
