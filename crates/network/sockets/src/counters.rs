//! The kernel's counters of this network namespace: `/proc/net/{snmp,netstat,sockstat,sockstat6}`.
//!
//! The first two have two lines a group, names and values; the others one line a group, names and values in turn.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// A reading of the counters.
///
/// ```
/// let before = millstream_sockets::Counters::read()?;
/// // ...
/// let later = millstream_sockets::Counters::read()?;
/// println!("{} accept queues overflowed", later.since(&before).get("TcpExt", "ListenOverflows"));
/// # Ok::<(), millstream_sockets::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    values: BTreeMap<String, i64>,
}

/// How much counters grew between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deltas {
    values: BTreeMap<String, i64>,
}

/// Files with a line of names before each line of values.
const TABLES: [&str; 2] = ["netstat", "snmp"];
/// Files with names and values in turn.
const LISTS: [&str; 2] = ["sockstat", "sockstat6"];

impl Counters {
    /// Reads them in the network namespace of this thread. What this kernel does not count is not there.
    ///
    /// # Errors
    /// When `/proc/net/netstat` can't be read.
    pub fn read() -> Result<Self> {
        let mut counters = Self::default();
        let file = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        for name in TABLES {
            match file(name) {
                Ok(text) => counters.take_table(&text),
                Err(source) => return Err(Error::Io { what: "/proc/net/netstat and snmp", source }),
            }
        }
        for name in LISTS {
            counters.take_list(&file(name).unwrap_or_default());
        }
        Ok(counters)
    }

    /// Of this group (`Tcp`, `TcpExt`, `IpExt`, of sockstat `TCP`, `sockets`, ...) the one of this name.
    pub fn get(&self, group: &str, name: &str) -> Option<i64> {
        self.values.get(&key(group, name)).copied()
    }

    /// All of them, as `group.name`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.values.iter().map(|(name, value)| (&**name, *value))
    }

    /// How much they grew since `earlier`. What was not there then counts from 0.
    pub fn since(&self, earlier: &Self) -> Deltas {
        let grown = |(name, value): (&String, &i64)| {
            let before = earlier.values.get(name).copied().unwrap_or(0);
            (name.clone(), value.wrapping_sub(before))
        };
        Deltas { values: self.values.iter().map(grown).collect() }
    }

    fn take_table(&mut self, text: &str) {
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (Some((group, names)), Some((same, values))) =
                (names.split_once(':'), values.split_once(':'))
            else {
                continue;
            };
            if group == same {
                self.take_pairs(group, names.split_whitespace().zip(values.split_whitespace()));
            }
        }
    }

    fn take_list(&mut self, text: &str) {
        for (group, words) in text.lines().filter_map(|line| line.split_once(':')) {
            let words: Vec<_> = words.split_whitespace().collect();
            self.take_pairs(group, words.as_chunks().0.iter().map(|[name, value]| (*name, *value)));
        }
    }

    fn take_pairs<'a>(&mut self, group: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        let known = pairs.filter_map(|(name, value)| Some((key(group, name), value.parse().ok()?)));
        self.values.extend(known);
    }
}

impl Deltas {
    /// Of this group the one of this name; 0 if it did not grow, or is not counted here.
    pub fn get(&self, group: &str, name: &str) -> i64 {
        self.values.get(&key(group, name)).copied().unwrap_or(0)
    }

    /// Those that changed, as `group.name`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.values.iter().filter(|(_, value)| **value != 0).map(|(name, value)| (&**name, *value))
    }
}

fn key(group: &str, name: &str) -> String {
    format!("{group}.{name}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(table: &str, list: &str) -> Counters {
        let mut counters = Counters::default();
        counters.take_table(table);
        counters.take_list(list);
        counters
    }

    #[test]
    fn tables_and_lists_are_read_and_subtracted() {
        let list = "sockets: used 10\nTCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1\n";
        let one = parsed("TcpExt: A B\nTcpExt: 1 2\nTcp: RtoMin MaxConn\nTcp: 200 -1\n", list);
        assert_eq!(one.get("TcpExt", "B"), Some(2));
        assert_eq!((one.get("Tcp", "MaxConn"), one.get("TCP", "tw")), (Some(-1), Some(3)));
        assert_eq!(one.get("Tcp", "tw"), None);
        let two = parsed("TcpExt: A B C\nTcpExt: 1 5 4\n", list);
        let deltas = two.since(&one);
        assert_eq!(deltas.iter().collect::<Vec<_>>(), [("TcpExt.B", 3), ("TcpExt.C", 4)]);
        assert_eq!((deltas.get("TcpExt", "A"), deltas.get("No", "such")), (0, 0));
    }

    #[test]
    fn this_kernel_counts_what_a_diagnosis_needs() {
        let counters = Counters::read().expect("Linux has them");
        let needed = [
            ("TcpExt", "ListenOverflows"),
            ("TcpExt", "ListenDrops"),
            ("TcpExt", "TWRecycled"),
            ("TcpExt", "TCPTimeWaitOverflow"),
            ("TcpExt", "TCPAbortOnClose"),
            ("TcpExt", "TCPAbortOnMemory"),
            ("TcpExt", "TCPSynRetrans"),
            ("Tcp", "ActiveOpens"),
            ("TCP", "tw"),
            ("TCP", "orphan"),
        ];
        for (group, name) in needed {
            assert!(counters.get(group, name).is_some(), "{group}.{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(table in "(\\PC|\n|:| |[0-9-])*", list in "(\\PC|\n|:| |[0-9-])*") {
            let counters = parsed(&table, &list);
            prop_assert!(counters.since(&Counters::default()).iter().count() <= counters.iter().count());
        }
    }
}
