//! Netlink messages (include/uapi/linux/netlink.h): a header, a body, padded to four bytes. Read by offset, each read checked.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::{Error, Result};

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// `sizeof(struct nlmsghdr)`.
pub(crate) const HEADER_SIZE: usize = 16;

/// What `ss` reads with; the kernel fills up to 32 KiB at once.
const BUF_SIZE: usize = 64 * 1024;
/// The kernel answers from memory: a longer silence is a fault, not work.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A way to the kernel.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    buf: Vec<u8>,
}

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of one read.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl Channel {
    /// Opens it in the network namespace of this thread; in these multicast groups.
    pub(crate) fn open(groups: u32) -> Result<Self> {
        let what = "sock_diag";
        let failed = |errno| Error::of(what, errno);
        let family = AddressFamily::NETLINK;
        let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        let socket =
            rustix::net::socket_with(family, kind, flags, Some(netlink::SOCK_DIAG)).map_err(failed)?;
        // A larger buffer only makes dumps quicker.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, 1 << 20);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(TIMEOUT)).map_err(failed)?;
        if groups != 0 {
            rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups)).map_err(failed)?;
        }
        Ok(Self { socket, buf: vec![0; BUF_SIZE] })
    }

    pub(crate) fn send(&self, what: &'static str, bytes: &[u8]) -> Result<()> {
        let sent = rustix::net::send(&self.socket, bytes, SendFlags::empty());
        sent.map(drop).map_err(|errno| Error::of(what, errno))
    }

    /// What the kernel has, `None` if that is nothing and it was not to be waited for.
    pub(crate) fn receive(&mut self, what: &'static str, flags: RecvFlags) -> Result<Option<Messages<'_>>> {
        loop {
            match rustix::net::recv(&self.socket, &mut self.buf[..], flags) {
                Ok((_, 0)) => return Err(Error::malformed(what)),
                // A message that was cut off reads as none.
                Ok((_, size)) => return Ok(Some(Messages::new(self.buf.get(..size).unwrap_or_default()))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if flags.contains(RecvFlags::DONTWAIT) => return Ok(None),
                Err(errno) => return Err(Error::of(what, errno)),
            }
        }
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

impl<'a> Messages<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next whole one.
    pub(crate) fn next(&mut self) -> Option<Message<'a>> {
        let size = u32_at(self.rest, 0)? as usize;
        let kind = u16_at(self.rest, 4)?;
        let sequence = u32_at(self.rest, 8)?;
        let body = self.rest.get(HEADER_SIZE..size)?;
        self.rest = self.rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, sequence, body })
    }
}

impl Message<'_> {
    /// The error that this message tells of; `Ok` for an acknowledgement and all else.
    pub(crate) fn check(&self, what: &'static str) -> Result<()> {
        if self.kind != NLMSG_ERROR {
            return Ok(());
        }
        match u32_at(self.body, 0).map(u32::cast_signed) {
            Some(0) => Ok(()),
            Some(code) => Err(Error::of(what, Errno::from_raw_os_error(code.saturating_neg()))),
            None => Err(Error::malformed(what)),
        }
    }
}

/// A message of this kind.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER_SIZE + body.len()).expect("requests are short");
    let mut bytes = Vec::with_capacity(HEADER_SIZE + body.len());
    bytes.extend_from_slice(&size.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(body);
    bytes
}

/// The body of the attribute of this kind (`struct rtattr`).
pub(crate) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (size, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let body = bytes.get(4..size)?;
        if kind == wanted {
            return Some(body);
        }
        bytes = bytes.get(size.next_multiple_of(4)..)?;
    }
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes)
}
