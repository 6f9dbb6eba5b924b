//! The address that the kernel would connect from.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// The source address of the route to `destination`, by a UDP socket that connects and sends nothing: four system calls. None where
/// there is no route.
pub(crate) fn towards(destination: SocketAddr) -> Option<IpAddr> {
    let socket = Socket::new(Domain::for_address(destination), Type::DGRAM.cloexec(), None).ok()?;
    socket.connect(&destination.into()).ok()?;
    Some(socket.local_addr().ok()?.as_socket()?.ip())
}

/// Is an address all that a `bind` needs? A link-local one of IPv6 needs an interface as well.
pub(crate) fn is_bindable(source: &IpAddr) -> bool {
    !matches!(source, IpAddr::V6(source) if source.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn route_to_loopback_begins_there() {
        assert_eq!(towards(([127, 0, 0, 1], 80).into()), Some([127, 0, 0, 1].into()));
        assert!(is_bindable(&Ipv6Addr::LOCALHOST.into()));
        assert!(!is_bindable(&"fe80::1".parse().unwrap()));
    }
}
