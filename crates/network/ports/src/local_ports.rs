//! How many ports there are to choose from.

use std::ops::RangeInclusive;

use millstream_sockets::Sysctls;

/// The local ports that the kernel chooses from.
///
/// ```
/// use millstream_ports::LocalPorts;
///
/// // Linux's default range, 32768 to 60999.
/// let ports = LocalPorts::of(28_232);
/// assert_eq!(ports.share(), 12_704);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPorts {
    count: u32,
}

/// What one destination may have open at most, in percent of all. `connect` tries ports of one parity first, and searches
/// ever longer once those are used up (net/ipv4/inet_hashtables.c, `__inet_hash_connect`): half is where that begins, and
/// other programs want some too.
pub const SHARE_PERCENT: u32 = 45;

/// Linux's default (`inet_init_net`, net/ipv4/af_inet.c).
pub(crate) const DEFAULT_RANGE: RangeInclusive<u16> = 32_768..=60_999;

impl LocalPorts {
    /// As many as Linux has by default.
    pub const DEFAULT: Self = Self { count: (*DEFAULT_RANGE.end() - *DEFAULT_RANGE.start()) as u32 + 1 };

    /// Those of this thread's network namespace: `ip_local_port_range` without `ip_local_reserved_ports`. Where that can't be
    /// read, as many as Linux has by default.
    pub fn read() -> Self {
        Sysctls::read().local_port_count().map_or(Self::DEFAULT, Self::of)
    }

    /// So many.
    pub fn of(count: u32) -> Self {
        Self { count }
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.count
    }

    /// How many connections one destination may have open: [`SHARE_PERCENT`] of all, at least one.
    pub fn share(self) -> usize {
        let share = u64::from(self.count) * u64::from(SHARE_PERCENT) / 100;
        usize::try_from(share).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_below_half_and_never_nothing() {
        for count in [0, 1, 2, 3, 100, 28_232, 65_536, u32::MAX] {
            let share = LocalPorts::of(count).share();
            assert!(share >= 1 && (share == 1 || share * 2 < count as usize), "{count}: {share}");
        }
        assert_eq!(LocalPorts::of(100).share(), 45);
        assert!(LocalPorts::read().count() > 0);
    }
}
