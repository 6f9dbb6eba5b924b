//! Counters, settings, and who has which socket open, in the doctor's shapes.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;

use millstream_sockets::{Counters, Holders, Process, Sysctls};

use crate::reuse;

pub(crate) type Numbers = BTreeMap<String, u64>;

/// Counters that only grow, and gauges.
pub(crate) fn counters() -> millstream_sockets::Result<(Numbers, Numbers)> {
    let all = Counters::read()?;
    // Some are negative (Tcp.MaxConn is -1): no counters.
    let numbers = || all.iter().filter_map(|(name, value)| Some((name, u64::try_from(value).ok()?)));
    let of = |groups: &[&str]| -> Numbers {
        let wanted = |name: &str| groups.iter().any(|group| name.starts_with(group));
        numbers().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.to_owned(), value)).collect()
    };
    Ok((of(&["TcpExt.", "Tcp."]), of(&["sockets.", "TCP.", "UDP.", "FRAG."])))
}

const SYSCTLS: [&str; 17] = [
    "net.ipv4.tcp_tw_reuse",
    reuse::DELAY,
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_syn_linear_timeouts",
    "net.ipv4.tcp_rfc1337",
    "net.core.somaxconn",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "fs.file-max",
    "fs.file-nr",
];

/// Settings by name, and how many ports the kernel may choose from.
pub(crate) fn sysctls() -> (Numbers, Option<u32>) {
    let mut all = Numbers::new();
    for name in SYSCTLS {
        // Some files hold several numbers: the first is the one meant.
        if let Some(value) = text(name).and_then(|text| text.split_whitespace().next()?.parse().ok()) {
            all.insert(name.to_owned(), value);
        }
    }
    let ports = Sysctls::read();
    if let Some(range) = &ports.local_port_range {
        all.insert("net.ipv4.ip_local_port_range.low".to_owned(), (*range.start()).into());
        all.insert("net.ipv4.ip_local_port_range.high".to_owned(), (*range.end()).into());
    }
    (all, ports.local_port_count())
}

/// How long a TIME_WAIT rests before `connect` may take it over, in milliseconds.
pub(crate) fn reuse_delay_ms() -> u64 {
    reuse::delay_or_usual(text(reuse::DELAY).and_then(|text| text.trim().parse().ok()))
}

fn text(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()
}

pub(crate) fn port_range() -> Option<RangeInclusive<u16>> {
    Sysctls::read().local_port_range
}

/// Who has these inodes open, and how many processes could not be looked into.
pub(crate) fn holders(inodes: &[u32]) -> (Vec<(u32, Process)>, usize) {
    let holders = Holders::find(inodes.iter().copied());
    let found = inodes.iter().filter_map(|inode| Some((*inode, holders.of(*inode)?.clone()))).collect();
    (found, holders.hidden())
}
