//! The two things a fresh network namespace needs to be told: that loopback is up, and an address more.
//!
//! By rtnetlink, so that no program has to be installed for it.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

/// A way to the kernel's network devices, in the namespace of the thread that opened it.
pub(crate) struct Netlink(OwnedFd);

// Of linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h and linux/if.h.
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
/// NLM_F_REQUEST and NLM_F_ACK.
const REQUEST_ACK: u16 = 0x5;
const NLM_F_CREATE: u16 = 0x400;
const IFA_LOCAL: u16 = 2;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
/// The kernel gives this number to `lo` in every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;
/// `struct nlmsghdr`.
const HEADER_SIZE: usize = 16;
/// The kernel answers from memory: a longer silence is a fault, not work.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Netlink {
    pub(crate) fn open() -> Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is number 0.
            None,
        )?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(TIMEOUT))?;
        Ok(Self(socket))
    }

    /// Brings loopback up; the kernel then gives it 127.0.0.1 by itself.
    pub(crate) fn raise_loopback(&self) -> Result<()> {
        // `struct ifinfomsg`: family, device type, number, flags, which flags to change.
        let mut body = vec![0; 4];
        body.extend(LOOPBACK.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        self.ask(RTM_NEWLINK, REQUEST_ACK, &body)
    }

    /// Gives loopback an address more.
    pub(crate) fn add_to_loopback(&self, address: Ipv4Addr) -> Result<()> {
        // `struct ifaddrmsg`: family, length of the prefix, flags, scope, device; then one attribute.
        let mut body = vec![AF_INET, 32, 0, 0];
        body.extend(LOOPBACK.to_ne_bytes());
        body.extend(8u16.to_ne_bytes());
        body.extend(IFA_LOCAL.to_ne_bytes());
        body.extend(address.octets());
        self.ask(RTM_NEWADDR, REQUEST_ACK | NLM_F_CREATE, &body)
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
        rustix::net::send(&self.0, &message(kind, flags, body), SendFlags::empty())?;
        let mut answer = [0; 1024];
        let (_, size) = rustix::net::recv(&self.0, &mut answer[..], RecvFlags::empty())?;
        acknowledged(answer.get(..size).unwrap_or_default())
    }
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER_SIZE + body.len()).expect("bodies here have a few bytes");
    let mut bytes = size.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// An acknowledgement is an error message with the number 0.
fn acknowledged(answer: &[u8]) -> Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(HEADER_SIZE..HEADER_SIZE + 4).and_then(|bytes| bytes.try_into().ok());
    match (kind, code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        // The kernel's numbers are -4095 to -1; anything else is no answer.
        (Some(NLMSG_ERROR), Some(code @ -4095..=-1)) => Err(Errno::from_raw_os_error(-code)),
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_is_an_acknowledgement() {
        let answer = |code: i32| message(NLMSG_ERROR, 0, &code.to_ne_bytes());
        assert_eq!(acknowledged(&answer(0)), Ok(()));
        assert_eq!(acknowledged(&answer(-1)), Err(Errno::PERM));
        for strange in [&answer(i32::MIN)[..], &answer(7), &answer(0)[..19], &[]] {
            assert_eq!(acknowledged(strange), Err(Errno::PROTO));
        }
    }
}
