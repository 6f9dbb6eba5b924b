//! Which hosts are reached without a proxy.

use std::net::IpAddr;

/// Which hosts are reached without a proxy: what `no_proxy` says.
///
/// A list of names, addresses and networks, separated by commas or blanks. A name stands for itself and all names below
/// it, with or without a dot in front; a port behind it limits it to that port; `*` stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoProxy {
    is_all: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Network(IpAddr, u32),
    Name(String, Option<u16>),
}

impl NoProxy {
    /// Reads a list; what makes no sense in it stands for nothing.
    pub(crate) fn parse(list: &str) -> Self {
        let mut this = Self::default();
        for item in list.split([',', ' ', '\t']).map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                this.is_all = true;
            } else if let Some(rule) = Rule::parse(item) {
                this.rules.push(rule);
            }
        }
        this
    }

    /// Is this host (a name, or an address without brackets) among them?
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let ip = host.parse().ok();
        self.is_all || self.rules.iter().any(|rule| rule.covers(host, ip, port))
    }
}

impl Rule {
    fn parse(item: &str) -> Option<Self> {
        if let Some((address, bits)) = item.split_once('/') {
            let (address, bits): (IpAddr, u32) = (bare(address).parse().ok()?, bits.parse().ok()?);
            return (bits <= width(address)).then_some(Self::Network(address, bits));
        }
        if let Ok(address) = bare(item).parse::<IpAddr>() {
            return Some(Self::Network(address, width(address)));
        }
        let (name, port) = match item.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (item, None),
        };
        let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
        let name = bare(name.strip_suffix('.').unwrap_or(name));
        (!name.is_empty()).then(|| Self::Name(name.to_ascii_lowercase(), port))
    }

    fn covers(&self, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
        match (self, ip) {
            (Self::Network(network, bits), Some(ip)) => is_within(ip, *network, *bits),
            (Self::Name(name, only), _) if only.is_none_or(|only| only == port) => is_below(host, name),
            _ => false,
        }
    }
}

/// Is it that name, or one below it?
fn is_below(host: &str, name: &str) -> bool {
    let Some(at) = host.len().checked_sub(name.len()) else { return false };
    let (front, back) = host.as_bytes().split_at(at);
    back.eq_ignore_ascii_case(name.as_bytes()) && (front.is_empty() || front.ends_with(b"."))
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let as_bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    };
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    ip.is_ipv4() == network.is_ipv4() && (as_bits(ip) ^ as_bits(network)) & mask == 0
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Without the brackets of a v6 address.
fn bare(address: &str) -> &str {
    address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_covered_by_name_network_and_port() {
        for (list, host, port, expected) in [
            ("", "a.example", 80, false),
            ("*", "a.example", 80, true),
            ("example", "a.example", 80, true),
            ("example", "example", 80, true),
            ("example", "an-example", 80, false),
            (".example", "a.example", 80, true),
            (".example", "example", 80, true),
            ("*.example", "a.b.example", 80, true),
            ("EXAMPLE", "a.Example.", 80, true),
            ("a.example", "b.example", 80, false),
            ("example:8080", "a.example", 8080, true),
            ("example:8080", "a.example", 80, false),
            ("x, example ,y", "a.example", 80, true),
            ("x example", "a.example", 80, true),
            ("127.0.0.1", "127.0.0.1", 80, true),
            ("127.0.0.1", "127.0.0.2", 80, false),
            ("10.0.0.0/8", "10.200.3.4", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.0.0.0/33", "10.0.0.1", 80, false),
            ("0.0.0.0/0", "9.9.9.9", 80, true),
            ("0.0.0.0/0", "::1", 80, false),
            ("[::1]", "::1", 80, true),
            ("fd00::/8", "fd12::1", 80, true),
            ("fd00::/8", "fe80::1", 80, false),
            ("10.0.0.0/8", "10.example", 80, false),
            ("nonsense/8,:,.,,", "a.example", 80, false),
        ] {
            assert_eq!(NoProxy::parse(list).covers(host, port), expected, "{list:?} covers {host}:{port}");
        }
    }
}
