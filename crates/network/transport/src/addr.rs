//! Where a connection ends, and where a listener waits.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use millstream_base::Error;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// An address and a TCP port.
    Tcp(SocketAddr),
    /// A Unix socket; without a path where the socket has none, as a client's mostly has.
    Unix(Option<Arc<Path>>),
    /// A pipe within the process, used by tests.
    Memory,
}

impl Addr {
    /// A Unix socket at this path.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::Unix(Some(path.as_ref().into()))
    }

    /// The TCP address, where it is one.
    pub fn as_tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            _ => None,
        }
    }

    /// Does it stand for all addresses of the host, as a listener's may?
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.ip().is_unspecified())
    }
}

impl From<SocketAddr> for Addr {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// Where a listener waits: `127.0.0.1:8080`, `[::1]:80`, `localhost:80`, `unix:/run/app.sock`.
///
/// ```
/// use millstream_transport::ListenAddr;
/// assert_eq!("unix:/run/app.sock".parse::<ListenAddr>().unwrap(), ListenAddr::Unix("/run/app.sock".into()));
/// assert_eq!("[::1]:80".parse::<ListenAddr>().unwrap().to_string(), "[::1]:80");
/// assert!("somewhere".parse::<ListenAddr>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// An address and a port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A path of the file system.
    Unix(PathBuf),
}

impl From<SocketAddr> for ListenAddr {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for ListenAddr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.strip_prefix("unix:") {
            Some("") => return Err(Error::invalid("unix: needs a path, as in unix:/run/app.sock")),
            Some(path) => return Ok(Self::Unix(path.into())),
            None => {}
        }
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            Error::invalid(format!(
                "{text:?} is no address to listen on: want IP:PORT, [IPv6]:PORT or unix:PATH"
            ))
        })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_print_as_they_parse() {
        for text in ["127.0.0.1:8080", "[::1]:80", "0.0.0.0:0", "unix:/run/app.sock", "unix:relative.sock"] {
            assert_eq!(text.parse::<ListenAddr>().unwrap().to_string(), text);
        }
        assert_eq!("localhost:81".parse::<ListenAddr>().unwrap().to_string(), "127.0.0.1:81");
    }

    #[test]
    fn bad_listen_addresses_say_what_is_wanted() {
        for text in ["", "80", "127.0.0.1", "host:80", "unix:", "127.0.0.1:99999", "::1:80:"] {
            let error = text.parse::<ListenAddr>().unwrap_err();
            assert!(error.to_string().contains("unix:"), "{error}");
        }
    }

    #[test]
    fn address_is_no_wider_than_a_socket_address() {
        assert_eq!(size_of::<Addr>(), size_of::<SocketAddr>());
    }
}
