//! Which Host a request may name: the cure for DNS rebinding, where a web page has a name of its own resolve to us.

use std::net::IpAddr;

use millstream_http::server::transport::Addr;

/// Which hosts are answered.
#[derive(Debug)]
pub(crate) struct Hosts {
    listens: Listens,
    names: Vec<String>,
}

#[derive(Debug)]
enum Listens {
    /// No browser gets here.
    Unix,
    /// An address, perhaps a wildcard.
    At(IpAddr),
}

impl Hosts {
    pub(crate) fn new(listens: &Addr, names: Vec<String>) -> Self {
        let listens =
            listens.as_tcp().map_or(Listens::Unix, |address| Listens::At(address.ip().to_canonical()));
        Self { listens, names }
    }

    /// May `host[:port]` be answered? An address can't be rebound, a name can: so only known names are.
    pub(crate) fn allows(&self, host: &str) -> bool {
        let Listens::At(listens) = self.listens else { return true };
        let name = without_port(host);
        if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback() || address == listens || listens.is_unspecified();
        }
        let is_local = name.eq_ignore_ascii_case("localhost");
        is_local || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// `host` of `host:port`, `[v6]` of `[v6]:port`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _port)) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(listens: &str, host: &str) -> bool {
        let address: std::net::SocketAddr = listens.parse().expect("an address");
        Hosts::new(&address.into(), vec!["metrics.internal".to_owned()]).allows(host)
    }

    #[test]
    fn loopback_answers_to_itself_and_known_names_only() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "127.8.8.8",
            "localhost:9090",
            "LOCALHOST",
            "[::1]:9090",
            "[::1]",
            "metrics.internal",
            "Metrics.Internal:80",
        ] {
            assert!(allowed("127.0.0.1:9090", host), "{host}");
        }
        for host in [
            "",
            ":9090",
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1:9090",
            "[2001:db8::1]:9090",
            "0.0.0.0",
            "metrics.internal.",
        ] {
            assert!(!allowed("127.0.0.1:9090", host), "{host}");
        }
    }

    #[test]
    fn wildcard_answers_to_any_address_but_no_unknown_name() {
        assert!(allowed("0.0.0.0:9090", "192.0.2.1:9090"));
        assert!(allowed("[::]:9090", "[2001:db8::1]"));
        assert!(!allowed("0.0.0.0:9090", "evil.example"));
    }

    #[test]
    fn bound_address_answers_to_itself() {
        assert!(allowed("192.0.2.1:9090", "192.0.2.1:9090"));
        assert!(!allowed("192.0.2.1:9090", "192.0.2.2:9090"));
    }
}
