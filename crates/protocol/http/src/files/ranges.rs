//! Byte ranges: RFC 9110 §14.

use std::ops::Range;

/// What a client wants of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: it said nothing that we understand, or more than we do.
    Whole,
    /// These parts, in this order.
    Parts(Vec<Range<u64>>),
    /// Only what lies behind the end: 416.
    Unsatisfiable,
}

/// Ranges in one request at most; more are answered with the whole file. Each costs its sender a few bytes and us a part
/// with its head: the "Apache killer" of 2011 sent 1,300. Media players and PDF viewers send one or a few.
const MOST_RANGES: usize = 16;

/// What the value of Range asks for of a file of this length.
pub(crate) fn parse(value: &str, length: u64) -> Wanted {
    let Some((unit, set)) = value.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut count = 0;
    for item in set.split(',').map(trim).filter(|item| !item.is_empty()) {
        count += 1;
        match range(item, length) {
            Some(Some(range)) if count <= MOST_RANGES => parts.push(range),
            Some(None) if count <= MOST_RANGES => {}
            _ => return Wanted::Whole,
        }
    }
    decide(parts, count, length)
}

fn decide(parts: Vec<Range<u64>>, count: usize, length: u64) -> Wanted {
    if count == 0 {
        return Wanted::Whole;
    }
    if parts.is_empty() {
        return Wanted::Unsatisfiable;
    }
    // No part can be written of an empty file; ranges that overlap would send more than there is.
    let total = parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add);
    if total == 0 || (parts.len() > 1 && total > length) { Wanted::Whole } else { Wanted::Parts(parts) }
}

/// `None` when malformed, `Some(None)` when it lies behind the end.
fn range(item: &str, length: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = item.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some((suffix > 0).then(|| length.saturating_sub(suffix)..length));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < length).then(|| first..last.saturating_add(1).min(length)))
}

/// Digits only; what is too large for 64 bits is as good as infinite.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(list: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(list.iter().map(|&(start, end)| start..end).collect())
    }

    #[test]
    fn ranges_of_a_file_of_1000() {
        let all = [(0, 1000)];
        for (value, expected) in [
            ("bytes=0-499", parts(&[(0, 500)])),
            ("bytes=500-999", parts(&[(500, 1000)])),
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=999-", parts(&[(999, 1000)])),
            ("bytes=0-", parts(&all)),
            ("bytes=0-5000", parts(&all)),
            ("bytes=-1", parts(&[(999, 1000)])),
            ("bytes=-1000", parts(&all)),
            ("bytes=-5000", parts(&all)),
            ("BYTES=1-2", parts(&[(1, 3)])),
            ("bytes= 1-2 , 4-5", parts(&[(1, 3), (4, 6)])),
            ("bytes=,,1-2,,", parts(&[(1, 3)])),
            ("bytes=4-5,1-2", parts(&[(4, 6), (1, 3)])),
            ("bytes=0-0,-1", parts(&[(0, 1), (999, 1000)])),
            ("bytes=1-2,2000-3000", parts(&[(1, 3)])),
            ("bytes=1-99999999999999999999999", parts(&[(1, 1000)])),
            ("bytes=1000-", Wanted::Unsatisfiable),
            ("bytes=1000-2000,5000-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=0-999,0-999", Wanted::Whole),
            ("bytes=0-600,500-999", Wanted::Whole),
            ("bytes=5-1", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=,", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=--1", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=1 - 2", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=1-2,x", Wanted::Whole),
            ("bytes=1-2-3", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("bytes 0-1", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(parse(value, 1000), expected, "{value:?}");
        }
    }

    #[test]
    fn ranges_of_an_empty_file() {
        assert_eq!(parse("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(parse("bytes=-5", 0), Wanted::Whole);
    }

    #[test]
    fn many_ranges_are_the_whole_file() {
        let list =
            |count: u64| (0..count).map(|n| format!("{}-{}", n * 2, n * 2)).collect::<Vec<_>>().join(",");
        assert!(
            matches!(parse(&format!("bytes={}", list(16)), 1000), Wanted::Parts(parts) if parts.len() == 16)
        );
        assert_eq!(parse(&format!("bytes={}", list(17)), 1000), Wanted::Whole);
        // Unsatisfiable ones count too: they cost time as well.
        let beyond = vec!["2000-"; 17].join(",");
        assert_eq!(parse(&format!("bytes={beyond}"), 1000), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_file(value in "bytes=[0-9,\\- ]{0,30}", length in 0u64..2000) {
            if let Wanted::Parts(parts) = parse(&value, length) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
                prop_assert!(total <= length);
            }
        }
    }
}
