//! In which order addresses are tried.

use std::net::IpAddr;

/// The addresses with their families alternating, beginning with that of the first, each family in the order given: what
/// RFC 8305 section 4 asks of whoever connects, so that a family which leads nowhere costs one attempt, not many.
/// An address that occurs twice is kept once.
///
/// ```
/// use millstream_upstream::interleave;
/// let parse = |text: &str| text.split(' ').map(|ip| ip.parse().unwrap()).collect::<Vec<std::net::IpAddr>>();
/// assert_eq!(interleave(&parse("::1 ::2 ::3 10.0.0.1")), parse("::1 10.0.0.1 ::2 ::3"));
/// ```
pub fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let unique =
        addresses.iter().enumerate().filter(|(at, ip)| !addresses[..*at].contains(ip)).map(|(_, ip)| *ip);
    let leads_with_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = unique.partition(|ip| ip.is_ipv6() == leads_with_v6);
    let mut second = second.into_iter();
    let mut order = Vec::with_capacity(addresses.len());
    for address in first {
        order.push(address);
        order.extend(second.next());
    }
    order.extend(second);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> String {
        let addresses: Vec<IpAddr> =
            text.split_whitespace().map(|ip| ip.parse().expect("an address")).collect();
        interleave(&addresses).iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_alternate_and_the_first_one_leads() {
        let table = [
            ("", ""),
            ("::1", "::1"),
            ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("::1 ::2 10.0.0.1 10.0.0.2", "::1 10.0.0.1 ::2 10.0.0.2"),
            ("10.0.0.1 10.0.0.2 10.0.0.3 ::1", "10.0.0.1 ::1 10.0.0.2 10.0.0.3"),
            ("::1 10.0.0.1 10.0.0.2 10.0.0.3", "::1 10.0.0.1 10.0.0.2 10.0.0.3"),
        ];
        for (given, expected) in table {
            assert_eq!(order(given), expected);
        }
    }

    #[test]
    fn address_given_twice_is_tried_once() {
        assert_eq!(order("::1 ::1 10.0.0.1 ::1 10.0.0.1"), "::1 10.0.0.1");
    }
}
