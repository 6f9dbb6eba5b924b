//! Which sockets a dump gives, and the filter that the kernel runs for it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::{State, States};

/// Which sockets a dump gives: all that fit every condition.
///
/// ```
/// use millstream_sockets::{Query, State};
///
/// let query = Query::all().states([State::TimeWait]).remote_port(443);
/// ```
#[derive(Clone, Debug)]
pub struct Query {
    states: States,
    local_ports: Option<RangeInclusive<u16>>,
    remote_ports: Option<RangeInclusive<u16>>,
    local: Option<IpAddr>,
    remote: Option<IpAddr>,
    wants_info: bool,
}

/// A step of the kernel's filter: `struct inet_diag_bc_op` and what belongs to it (include/uapi/linux/inet_diag.h).
struct Step {
    code: u8,
    /// Behind the step's own four bytes.
    rest: Vec<u8>,
}

const LOCAL_AT_LEAST: u8 = 2;
const LOCAL_AT_MOST: u8 = 3;
const REMOTE_AT_LEAST: u8 = 4;
const REMOTE_AT_MOST: u8 = 5;
const LOCAL_ADDRESS: u8 = 7;
const REMOTE_ADDRESS: u8 = 8;

impl Query {
    /// Every TCP socket, without [`TcpInfo`](crate::TcpInfo).
    pub fn all() -> Self {
        let (local_ports, remote_ports, local, remote) = (None, None, None, None);
        Self { states: States::ALL, local_ports, remote_ports, local, remote, wants_info: false }
    }

    /// In one of these states.
    #[must_use]
    pub fn states(mut self, states: impl IntoIterator<Item = State>) -> Self {
        self.states = states.into_iter().collect();
        self
    }

    /// With this port on this side.
    #[must_use]
    pub fn local_port(self, port: u16) -> Self {
        self.local_ports(port..=port)
    }

    /// With one of these ports on this side.
    #[must_use]
    pub fn local_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.local_ports = Some(ports);
        self
    }

    /// With this port on the other side.
    #[must_use]
    pub fn remote_port(mut self, port: u16) -> Self {
        self.remote_ports = Some(port..=port);
        self
    }

    /// From this address.
    #[must_use]
    pub fn local_ip(mut self, ip: IpAddr) -> Self {
        self.local = Some(ip);
        self
    }

    /// To this address.
    #[must_use]
    pub fn remote_ip(mut self, ip: IpAddr) -> Self {
        self.remote = Some(ip);
        self
    }

    /// To this address and port.
    #[must_use]
    pub fn remote(self, remote: SocketAddr) -> Self {
        self.remote_ip(remote.ip()).remote_port(remote.port())
    }

    /// With [`Record::info`](crate::Record::info): 250 bytes more of each socket.
    #[must_use]
    pub fn with_info(mut self) -> Self {
        self.wants_info = true;
        self
    }

    pub(crate) fn wanted_states(&self) -> States {
        self.states
    }

    pub(crate) fn wants_info(&self) -> bool {
        self.wants_info
    }

    /// The conditions as the kernel's byte-code; nothing if there are none.
    pub(crate) fn byte_code(&self) -> Vec<u8> {
        let mut steps = Vec::new();
        let ports = [
            (&self.local_ports, LOCAL_AT_LEAST, LOCAL_AT_MOST),
            (&self.remote_ports, REMOTE_AT_LEAST, REMOTE_AT_MOST),
        ];
        for (range, at_least, at_most) in ports {
            if let Some(range) = range {
                steps.push(Step::port(at_least, *range.start()));
                steps.push(Step::port(at_most, *range.end()));
            }
        }
        steps.extend(self.local.map(|ip| Step::address(LOCAL_ADDRESS, ip)));
        steps.extend(self.remote.map(|ip| Step::address(REMOTE_ADDRESS, ip)));
        let mut left: usize = steps.iter().map(Step::size).sum();
        let mut bytes = Vec::with_capacity(left);
        for step in steps {
            // True goes to the next step, at last to the end: taken. False goes four bytes beyond the end: not taken.
            let (next, refused) = (step.size(), left + 4);
            bytes.extend_from_slice(&[step.code, u8::try_from(next).expect("no step has 256 bytes")]);
            bytes.extend_from_slice(&u16::try_from(refused).expect("eight steps at most").to_ne_bytes());
            bytes.extend_from_slice(&step.rest);
            left -= next;
        }
        bytes
    }
}

impl Step {
    /// The port stands where a second step has its jump.
    fn port(code: u8, port: u16) -> Self {
        let mut rest = vec![0, 0];
        rest.extend_from_slice(&port.to_ne_bytes());
        Self { code, rest }
    }

    /// `struct inet_diag_hostcond`, for any port.
    fn address(code: u8, ip: IpAddr) -> Self {
        const AF_INET: u8 = 2;
        const AF_INET6: u8 = 10;
        let (family, octets) = match ip {
            IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
        };
        let bits = u8::try_from(octets.len() * 8).expect("an address has 128 bits at most");
        let mut rest = vec![family, bits, 0, 0];
        rest.extend_from_slice(&(-1_i32).to_ne_bytes());
        rest.extend_from_slice(&octets);
        Self { code, rest }
    }

    fn size(&self) -> usize {
        4 + self.rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_jumps_to_its_end_or_four_bytes_beyond() {
        assert!(Query::all().states([State::Listen]).byte_code().is_empty());
        let bytes = Query::all().local_port(7).remote("10.9.0.2:80".parse().unwrap()).byte_code();
        // Two steps of eight bytes for each port, one of sixteen for the address.
        assert_eq!(bytes.len(), 4 * 8 + 16);
        let mut at = 0;
        while at < bytes.len() {
            let refused = u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]);
            assert_eq!(at + usize::from(refused), bytes.len() + 4);
            at += usize::from(bytes[at + 1]);
        }
        assert_eq!(at, bytes.len());
    }
}
