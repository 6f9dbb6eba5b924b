//! What small files of `/proc` say: counters, settings, and who has which socket open.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::RangeInclusive;

use super::owners::Process;

pub(crate) type Numbers = BTreeMap<String, u64>;

/// Counters that only grow, and gauges. Of the thread's namespace: `/proc/net` is that of the process.
pub(crate) fn counters() -> io::Result<(Numbers, Numbers)> {
    let text = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let mut counters = Numbers::new();
    paired(&text("netstat")?, &mut counters);
    paired(&text("snmp")?, &mut counters);
    counters.retain(|name, _| name.starts_with("TcpExt.") || name.starts_with("Tcp."));
    let mut gauges = Numbers::new();
    named(&text("sockstat")?, &mut gauges);
    Ok((counters, gauges))
}

/// A line of names, and below it a line of values.
fn paired(text: &str, into: &mut Numbers) {
    let mut lines = text.lines();
    while let Some((names, values)) = lines.next().zip(lines.next()) {
        let (Some((group, names)), Some((same, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if group == same {
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                // Some are negative (Tcp.MaxConn is -1): no counters.
                if let Ok(value) = value.parse() {
                    into.insert(format!("{group}.{name}"), value);
                }
            }
        }
    }
}

/// `TCP: inuse 5 orphan 0`.
fn named(text: &str, into: &mut Numbers) {
    for (group, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        let words: Vec<_> = rest.split_whitespace().collect();
        for pair in words.chunks_exact(2) {
            if let Ok(value) = pair[1].parse() {
                into.insert(format!("{group}.{}", pair[0]), value);
            }
        }
    }
}

const SYSCTLS: [&str; 17] = [
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
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
    let range = port_range();
    if let Some(range) = &range {
        all.insert("net.ipv4.ip_local_port_range.low".to_owned(), (*range.start()).into());
        all.insert("net.ipv4.ip_local_port_range.high".to_owned(), (*range.end()).into());
    }
    let reserved = text("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
    (all, range.map(|range| ports(range, &reserved)))
}

fn text(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()
}

pub(crate) fn port_range() -> Option<RangeInclusive<u16>> {
    let text = text("net.ipv4.ip_local_port_range")?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// The range without what is reserved (`8080,9000-9010`).
fn ports(range: RangeInclusive<u16>, reserved: &str) -> u32 {
    let mut taken = HashSet::new();
    for part in reserved.trim().split(',').filter(|part| !part.is_empty()) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        if let Ok((low, high)) = low.parse::<u16>().and_then(|low| Ok((low, high.parse::<u16>()?))) {
            taken.extend((low..=high).filter(|port| range.contains(port)));
        }
    }
    (range.count() as u32).saturating_sub(taken.len() as u32)
}

/// Who has these inodes open, and how many processes could not be looked into.
pub(crate) fn holders(inodes: &[u64]) -> io::Result<(Vec<(u64, Process)>, usize)> {
    let wanted: HashSet<_> = inodes.iter().copied().collect();
    let (mut found, mut hidden) = (HashMap::new(), 0);
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else {
            continue;
        };
        match of_process(pid, &wanted) {
            Ok(mine) if mine.is_empty() => {}
            Ok(mine) => {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let process = Process { pid, name: name.trim().to_owned() };
                found.extend(mine.into_iter().map(|inode| (inode, process.clone())));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden += 1,
            // It has ended.
            Err(_) => {}
        }
    }
    Ok((found.into_iter().collect(), hidden))
}

fn of_process(pid: u32, wanted: &HashSet<u64>) -> io::Result<Vec<u64>> {
    let mut mine = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // Closed meanwhile.
        let Ok(link) = entry.and_then(|entry| fs::read_link(entry.path())) else { continue };
        let inode =
            link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        mine.extend(inode.filter(|inode| wanted.contains(inode)));
    }
    Ok(mine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_lines_are_counters_and_nonsense_is_nothing() {
        let mut all = Numbers::new();
        paired("TcpExt: A B C\nTcpExt: 1 x 3\nTcp: D\nUdp: 5\nlonely", &mut all);
        assert_eq!(all, [("TcpExt.A".to_owned(), 1), ("TcpExt.C".to_owned(), 3)].into());
        let mut all = Numbers::new();
        named("TCP: inuse 5 orphan x tw 7 odd\nnothing\n", &mut all);
        assert_eq!(all, [("TCP.inuse".to_owned(), 5), ("TCP.tw".to_owned(), 7)].into());
    }

    #[test]
    fn reserved_ports_count_once_and_only_within_the_range() {
        for (reserved, expected) in
            [("", 100), ("\n", 100), ("40000", 99), ("39990-40009,40005-40010,x,5-", 89)]
        {
            assert_eq!(ports(40_000..=40_099, reserved), expected, "{reserved:?}");
        }
    }
}
