//! Questions to `NETLINK_SOCK_DIAG` (sock_diag(7)): all sockets, one, and the end of one.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use rustix::net::RecvFlags;

use crate::netlink::{Channel, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, message};
use crate::record::{AF_INET, AF_INET6};
use crate::{Entry, Error, Query, Record, Result, State, States};

/// A way to ask the kernel about the TCP sockets of the network namespace of the thread that opened it.
///
/// One question at a time. Dropping it closes it; it holds 64 KiB.
#[derive(Debug)]
pub struct Diag {
    channel: Channel,
    sequence: u32,
}

pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// The question of old (include/uapi/linux/inet_diag.h): for both families, so that the kernel walks over its tables once.
const TCPDIAG_GETSOCK: u16 = 18;
const IPPROTO_TCP: u8 = 6;
/// `1 << (INET_DIAG_INFO - 1)`.
const WANTS_INFO: u8 = 2;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
/// `sizeof(struct inet_diag_req_v2)`.
const REQUEST_SIZE: usize = 56;
/// `sizeof(struct inet_diag_req)`.
const OLD_REQUEST_SIZE: usize = 60;

impl Diag {
    /// Opens it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the kernel has no sock_diag.
    pub fn open() -> Result<Self> {
        Ok(Self { channel: Channel::open(0)?, sequence: 0 })
    }

    /// Calls `each` with every socket that the query takes, in no order, until it breaks. The kernel walks over all sockets of
    /// the host for it, also of other namespaces; nothing is allocated for a socket.
    ///
    /// # Errors
    /// When the kernel refuses, or is silent for 10 s.
    pub fn dump(
        &mut self,
        query: &Query,
        mut each: impl FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let (states, filter) = (query.wanted_states(), query.byte_code());
        let body = with_filter(old_request(states, query.wants_info()), &filter);
        match self.dump_one(TCPDIAG_GETSOCK, &body, states, &mut each) {
            Err(Error::Unsupported { .. }) => {}
            done => return done.map(drop),
        }
        for family in [AF_INET, AF_INET6] {
            let body = with_filter(request(family, states, query.wants_info()), &filter);
            match self.dump_one(SOCK_DIAG_BY_FAMILY, &body, states, &mut each) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                // A kernel without IPv6 has no sockets of it.
                Err(Error::Unsupported { .. }) if family == AF_INET6 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn dump_one(
        &mut self,
        kind: u16,
        body: &[u8],
        states: States,
        each: &mut impl FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let what = "dump of sockets";
        let sequence = self.ask(what, kind, NLM_F_DUMP, body)?;
        let mut flow = ControlFlow::Continue(());
        // Read to its end also when nobody wants more: the next question must not find it.
        while let Some(mut messages) = self.channel.receive(what, RecvFlags::empty())? {
            while let Some(message) = messages.next() {
                if message.sequence != sequence {
                    continue;
                }
                message.check(what)?;
                if matches!(message.kind, NLMSG_DONE | NLMSG_ERROR) {
                    return Ok(flow);
                }
                let record = Record::parse(message.body).filter(|record| states.has(record.state()));
                if flow.is_continue()
                    && let Some(record) = record
                {
                    flow = each(&record);
                }
            }
        }
        Err(Error::malformed(what))
    }

    /// The socket between these two addresses, in whatever state, TIME_WAIT included: one lookup, with
    /// [`TcpInfo`](crate::TcpInfo). `None` if there is none; but where somebody listens at `local`, the kernel gives the listener
    /// in place of a connection that is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Option<Entry>> {
        let mut body = request(family_of(local), States::ALL, true);
        put_id(&mut body, local, remote, u64::MAX);
        self.one("lookup of a socket", SOCK_DIAG_BY_FAMILY, &body)
    }

    /// The listener at this address: its [`receive_queue`](Entry::receive_queue) is how many connections wait to be
    /// accepted, its [`send_queue`](Entry::send_queue) how many may.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn listener(&mut self, local: SocketAddr) -> Result<Option<Entry>> {
        let nowhere: IpAddr = if local.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let found = self.find(local, SocketAddr::new(nowhere, 0))?;
        Ok(found.filter(|entry| entry.state() == State::Listen))
    }

    /// Ends a socket at once, as `ss --kill` does: a connection with a reset, TIME_WAIT by freeing its port. Whoever holds it
    /// sees `ECONNABORTED`. Another one at the same addresses is not touched: the cookie must fit. False if it is gone already.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`, [`Error::Unsupported`] without `CONFIG_INET_DIAG_DESTROY`.
    pub fn destroy(&mut self, entry: &Entry) -> Result<bool> {
        let what = "destroying a socket (CAP_NET_ADMIN, CONFIG_INET_DIAG_DESTROY)";
        let mut body = request(family_of(entry.local()), States::ALL, false);
        put_id(&mut body, entry.local(), entry.remote(), entry.cookie());
        body[44..48].copy_from_slice(&entry.interface().to_ne_bytes());
        match self.answer(what, SOCK_DESTROY, NLM_F_ACK, &body, |_| ()) {
            Ok(_) => Ok(true),
            Err(Refused::Gone) => Ok(false),
            Err(Refused::Failed(error)) => Err(error),
        }
    }

    fn one(&mut self, what: &'static str, kind: u16, body: &[u8]) -> Result<Option<Entry>> {
        match self.answer(what, kind, 0, body, |record| record.to_entry()) {
            Ok(entry) => Ok(entry),
            Err(Refused::Gone) => Ok(None),
            Err(Refused::Failed(error)) => Err(error),
        }
    }

    /// Asks, and reads one answer or acknowledgement.
    fn answer<T>(
        &mut self,
        what: &'static str,
        kind: u16,
        flags: u16,
        body: &[u8],
        take: impl Fn(&Record<'_>) -> T,
    ) -> std::result::Result<Option<T>, Refused> {
        let sequence = self.ask(what, kind, flags, body)?;
        while let Some(mut messages) = self.channel.receive(what, RecvFlags::empty())? {
            while let Some(message) = messages.next() {
                if message.sequence != sequence {
                    continue;
                }
                match message.check(what) {
                    // `ENOENT`: no such socket; sock_diag has answered us before, so it is there.
                    Err(Error::Unsupported { .. }) if is_not_found(message.body) => {
                        return Err(Refused::Gone);
                    }
                    Err(error) => return Err(Refused::Failed(error)),
                    Ok(()) => return Ok(Record::parse(message.body).map(|record| take(&record))),
                }
            }
        }
        Err(Refused::Failed(Error::malformed(what)))
    }

    fn ask(&mut self, what: &'static str, kind: u16, flags: u16, body: &[u8]) -> Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        self.channel.send(what, &message(kind, flags | NLM_F_REQUEST, self.sequence, body))?;
        Ok(self.sequence)
    }
}

/// Why there is no answer.
enum Refused {
    Gone,
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn is_not_found(body: &[u8]) -> bool {
    let code = crate::netlink::u32_at(body, 0).map(u32::cast_signed);
    code == Some(-rustix::io::Errno::NOENT.raw_os_error())
}

/// `struct inet_diag_req_v2` without a connection.
fn request(family: u8, states: States, wants_info: bool) -> Vec<u8> {
    let mut bytes = vec![0; REQUEST_SIZE];
    bytes[0] = family;
    bytes[1] = IPPROTO_TCP;
    bytes[2] = if wants_info { WANTS_INFO } else { 0 };
    bytes[4..8].copy_from_slice(&states.mask().to_ne_bytes());
    bytes
}

/// `struct inet_diag_req` without a connection.
fn old_request(states: States, wants_info: bool) -> Vec<u8> {
    let mut bytes = vec![0; OLD_REQUEST_SIZE];
    bytes[3] = if wants_info { WANTS_INFO } else { 0 };
    bytes[52..56].copy_from_slice(&states.mask().to_ne_bytes());
    bytes
}

/// The request, and the kernel's filter behind it if there is one.
fn with_filter(mut request: Vec<u8>, filter: &[u8]) -> Vec<u8> {
    if !filter.is_empty() {
        let size = u16::try_from(4 + filter.len()).expect("eight conditions at most");
        request.extend_from_slice(&size.to_ne_bytes());
        request.extend_from_slice(&INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        request.extend_from_slice(filter);
    }
    request
}

/// `struct inet_diag_sockid`.
fn put_id(bytes: &mut [u8], local: SocketAddr, remote: SocketAddr, cookie: u64) {
    bytes[8..10].copy_from_slice(&local.port().to_be_bytes());
    bytes[10..12].copy_from_slice(&remote.port().to_be_bytes());
    for (at, ip) in [(12, local.ip()), (28, remote.ip())] {
        match ip {
            IpAddr::V4(ip) => bytes[at..at + 4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[at..at + 16].copy_from_slice(&ip.octets()),
        }
    }
    let (low, high) = (cookie & u64::from(u32::MAX), cookie >> 32);
    for (at, half) in [(48, low), (52, high)] {
        let half = u32::try_from(half).expect("it is half of 64 bits");
        bytes[at..at + 4].copy_from_slice(&half.to_ne_bytes());
    }
}

fn family_of(address: SocketAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}
