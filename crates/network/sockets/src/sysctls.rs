//! The kernel's settings that decide about connections, below `/proc/sys`; those of `net` belong to the network namespace.

use std::ops::RangeInclusive;

/// The settings that decide about connections. What this kernel does not have, or does not let us read, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sysctls {
    /// `net.ipv4.ip_local_port_range`: where the kernel takes the ports of connections from.
    pub local_port_range: Option<RangeInclusive<u16>>,
    /// `net.ipv4.ip_local_reserved_ports`: which of them it leaves alone.
    pub reserved_ports: PortSet,
    /// `net.ipv4.tcp_tw_reuse`: 0 never, 1 for all, 2 on loopback (the default).
    pub tcp_tw_reuse: Option<u64>,
    /// `net.ipv4.tcp_tw_reuse_delay`, milliseconds (Linux 6.13).
    pub tcp_tw_reuse_delay_ms: Option<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`: beyond it connections end without TIME_WAIT.
    pub tcp_max_tw_buckets: Option<u64>,
    /// `net.ipv4.tcp_fin_timeout`, seconds: how long an orphan stays in FIN_WAIT_2. Nothing to do with TIME_WAIT.
    pub tcp_fin_timeout_s: Option<u64>,
    /// `net.ipv4.tcp_timestamps`.
    pub tcp_timestamps: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub tcp_max_syn_backlog: Option<u64>,
    /// `net.ipv4.tcp_max_orphans`.
    pub tcp_max_orphans: Option<u64>,
    /// `net.ipv4.tcp_orphan_retries`.
    pub tcp_orphan_retries: Option<u64>,
    /// `net.ipv4.tcp_abort_on_overflow`.
    pub tcp_abort_on_overflow: Option<u64>,
    /// `net.ipv4.tcp_syn_retries`.
    pub tcp_syn_retries: Option<u64>,
    /// `net.ipv4.tcp_syn_linear_timeouts`: so many SYNs are sent again a second apart, before the pauses double (Linux 6.5).
    pub tcp_syn_linear_timeouts: Option<u64>,
    /// `net.ipv4.tcp_keepalive_time`, seconds.
    pub tcp_keepalive_time_s: Option<u64>,
    /// `net.core.somaxconn`: the longest accept queue.
    pub somaxconn: Option<u64>,
    /// `net.netfilter.nf_conntrack_max`, where connections are tracked.
    pub nf_conntrack_max: Option<u64>,
    /// `net.netfilter.nf_conntrack_count`.
    pub nf_conntrack_count: Option<u64>,
    /// `fs.file-max`: open files on the host.
    pub file_max: Option<u64>,
}

/// A set of ports, as ranges in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<RangeInclusive<u16>>);

impl Sysctls {
    /// Reads them in the network namespace of this thread.
    pub fn read() -> Self {
        let text = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).ok();
        let number = |name: &str| text(name)?.trim().parse().ok();
        let tcp = |name: &str| number(&format!("net/ipv4/{name}"));
        Self {
            local_port_range: text("net/ipv4/ip_local_port_range").and_then(|text| range(&text)),
            reserved_ports: PortSet::parse(&text("net/ipv4/ip_local_reserved_ports").unwrap_or_default()),
            tcp_tw_reuse: tcp("tcp_tw_reuse"),
            tcp_tw_reuse_delay_ms: tcp("tcp_tw_reuse_delay"),
            tcp_max_tw_buckets: tcp("tcp_max_tw_buckets"),
            tcp_fin_timeout_s: tcp("tcp_fin_timeout"),
            tcp_timestamps: tcp("tcp_timestamps"),
            tcp_max_syn_backlog: tcp("tcp_max_syn_backlog"),
            tcp_max_orphans: tcp("tcp_max_orphans"),
            tcp_orphan_retries: tcp("tcp_orphan_retries"),
            tcp_abort_on_overflow: tcp("tcp_abort_on_overflow"),
            tcp_syn_retries: tcp("tcp_syn_retries"),
            tcp_syn_linear_timeouts: tcp("tcp_syn_linear_timeouts"),
            tcp_keepalive_time_s: tcp("tcp_keepalive_time"),
            somaxconn: number("net/core/somaxconn"),
            nf_conntrack_max: number("net/netfilter/nf_conntrack_max"),
            nf_conntrack_count: number("net/netfilter/nf_conntrack_count"),
            file_max: number("fs/file-max"),
        }
    }

    /// How many ports the kernel may choose from: the range without what is reserved. `None` if the range is not known.
    pub fn local_port_count(&self) -> Option<u32> {
        let range = self.local_port_range.clone()?;
        let all = u32::from(*range.end() - *range.start()) + 1;
        Some(all - self.reserved_ports.count_within(&range))
    }
}

impl PortSet {
    /// As the kernel writes it: `80,443,8000-8100`. What is not understood is left out.
    pub fn parse(text: &str) -> Self {
        let mut ranges: Vec<RangeInclusive<u16>> = text.trim().split(',').filter_map(item).collect();
        ranges.sort_unstable_by_key(|range| (*range.start(), *range.end()));
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                    *last = *last.start()..=(*last.end()).max(*range.end());
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// Is it in the set?
    pub fn has(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// The ranges, in order, none next to another.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }

    /// How many of the set lie in this range.
    pub fn count_within(&self, range: &RangeInclusive<u16>) -> u32 {
        let common = |one: &RangeInclusive<u16>| {
            let (start, end) = (*one.start().max(range.start()), *one.end().min(range.end()));
            if start <= end { u32::from(end - start) + 1 } else { 0 }
        };
        self.0.iter().map(common).sum()
    }
}

fn item(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    ordered(first, last)
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_whitespace();
    ordered(words.next()?, words.next()?)
}

fn ordered(first: &str, last: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reserved_ports_are_counted_once_and_only_within_the_range() {
        let set = PortSet::parse("80,40050-40099,40000,40090-40120,40001\n");
        assert_eq!(set.ranges(), [80..=80, 40000..=40001, 40050..=40120]);
        assert_eq!(set.count_within(&(40000..=40099)), 52);
        assert!(set.has(40100) && !set.has(40002));
        let reserved_ports = set;
        let sysctls = Sysctls { local_port_range: Some(40000..=40099), reserved_ports, ..Sysctls::default() };
        assert_eq!((sysctls.local_port_count(), Sysctls::default().local_port_count()), (Some(48), None));
        assert_eq!(PortSet::parse("\n").ranges(), []);
    }

    #[test]
    fn this_kernel_tells_the_main_ones() {
        let sysctls = Sysctls::read();
        assert!(sysctls.local_port_count().is_some_and(|count| count > 0));
        assert!(sysctls.tcp_max_tw_buckets.is_some() && sysctls.somaxconn.is_some());
    }

    proptest! {
        #[test]
        fn every_text_is_a_set(text in "([0-9]{1,6}[-, ]?|\\PC)*", port: u16) {
            let set = PortSet::parse(&text);
            prop_assert!(set.count_within(&(0..=u16::MAX)) <= 65_536);
            prop_assert_eq!(set.has(port), set.count_within(&(port..=port)) == 1);
            let _ = range(&text);
        }
    }
}
