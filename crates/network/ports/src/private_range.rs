//! A range of local ports that the kernel's search leaves alone, and that one process has for itself.

use std::io;
use std::ops::RangeInclusive;

use millstream_sockets::{Error, Result, Sysctls};

use crate::local_ports::DEFAULT_RANGE;

/// Local ports that no automatic `connect` or `bind` gets: outside `ip_local_port_range`, or in `ip_local_reserved_ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrivateRange {
    first: u16,
    last: u16,
}

/// A program needs rights for those below (`PROT_SOCK`, include/net/sock.h).
const FIRST_UNPRIVILEGED: u16 = 1024;

impl PrivateRange {
    /// These, on a host with such settings.
    ///
    /// # Errors
    /// When it is empty, has ports below 1024, or ports that the kernel's search finds.
    pub(crate) fn new(ports: &RangeInclusive<u16>, sysctls: &Sysctls) -> Result<Self> {
        let (first, last) = (*ports.start(), *ports.end());
        if ports.is_empty() {
            return Err(invalid(format!("{first} to {last} is empty")));
        }
        if first < FIRST_UNPRIVILEGED {
            return Err(invalid(format!("{first} to {last} begins below {FIRST_UNPRIVILEGED}")));
        }
        let automatic = sysctls.local_port_range.clone().unwrap_or(DEFAULT_RANGE);
        let common = first.max(*automatic.start())..=last.min(*automatic.end());
        let open = common.len() as u32 - sysctls.reserved_ports.count_within(&common);
        if open > 0 {
            let (from, to) = automatic.into_inner();
            return Err(invalid(format!(
                "{first} to {last} has {open} ports that the kernel chooses from ({from} to {to}): \
                 add them to net.ipv4.ip_local_reserved_ports"
            )));
        }
        Ok(Self { first, last })
    }

    pub(crate) fn has(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub(crate) fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    pub(crate) fn len(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
}

fn invalid(why: String) -> Error {
    Error::Io { what: "a private range of ports", source: io::Error::new(io::ErrorKind::InvalidInput, why) }
}

#[cfg(test)]
mod tests {
    use millstream_sockets::PortSet;

    use super::*;

    #[test]
    fn only_ports_that_the_kernel_never_picks_are_private() {
        let mut sysctls = Sysctls::default();
        sysctls.local_port_range = Some(40_000..=40_099);
        sysctls.reserved_ports = PortSet::parse("40050-40079");
        let told = |ports| match PrivateRange::new(&ports, &sysctls) {
            Ok(range) => range.len().to_string(),
            Err(error) => error.to_string(),
        };
        for (ports, said) in [
            (41_000..=41_099, "100"),
            (1024..=39_999, "38976"),
            (40_050..=40_079, "30"),
            (40_060..=40_060, "1"),
            (40_100..=65_535, "25436"),
            #[allow(clippy::reversed_empty_ranges)]
            (41_000..=40_999, "a private range of ports: 41000 to 40999 is empty"),
            (1023..=1100, "a private range of ports: 1023 to 1100 begins below 1024"),
            (0..=65_535, "a private range of ports: 0 to 65535 begins below 1024"),
            (
                40_049..=40_082,
                "a private range of ports: 40049 to 40082 has 4 ports that the kernel chooses from \
                 (40000 to 40099): add them to net.ipv4.ip_local_reserved_ports",
            ),
            (
                39_000..=41_000,
                "a private range of ports: 39000 to 41000 has 70 ports that the kernel chooses from \
                 (40000 to 40099): add them to net.ipv4.ip_local_reserved_ports",
            ),
        ] {
            assert_eq!(told(ports), said);
        }
        // Where the setting can't be read, Linux's default counts.
        assert!(PrivateRange::new(&(32_000..=32_768), &Sysctls::default()).is_err());
        assert!(PrivateRange::new(&(61_000..=65_535), &Sysctls::default()).is_ok());
    }
}
