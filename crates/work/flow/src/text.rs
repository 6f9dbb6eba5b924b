//! Words and numbers as people read them.

use std::time::Duration;

/// A span in a unit that fits it, with three figures.
pub(crate) fn time(span: Duration) -> String {
    let ns = span.as_nanos();
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1e-6, "µs"),
        1_000_000..1_000_000_000 => (1e-3, "ms"),
        _ => (1.0, "s"),
    };
    let value = span.as_secs_f64() / unit;
    let places = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.places$} {name}")
}

/// Whatever it is, on one line, without what a terminal or a page may take for an order.
pub(crate) fn on_one_line(text: &str) -> String {
    let clean = |char: char| match char {
        '\n' | '\t' | '\r' => ' ',
        char if char.is_control() => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    text.chars().map(clean).collect()
}

/// How many places of a terminal a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// The text if it takes no more than `most` places, else its beginning and an ellipsis.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let kept = text.chars().take_while(|char| match left.checked_sub(width_of(*char)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    kept.chain(['…']).collect()
}

/// By the large blocks of Unicode 16 whose characters are wide (UAX #11) or join the one before; single exceptions are not known here.
fn width_of(char: char) -> usize {
    match u32::from(char) {
        0x300..=0x36f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x200b..=0x200f | 0x20d0..=0x20ff => 0,
        0xfe00..=0xfe0f | 0xfe20..=0xfe2f | 0xfeff => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff => 2,
        0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_figures_and_a_unit() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (123_456_789, "123 ms"),
            (1_500_000_000, "1.50 s"),
            (u64::MAX, "18446744074 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(time(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn texts_are_cut_at_the_width_that_is_seen() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("東京都庁", 5), "東京…");
        assert_eq!((cut("東", 1), cut("ab", 0), cut("", 0)), ("…".into(), "…".into(), String::new()));
        assert_eq!((width("e\u{301}"), width("日本"), width("🦀")), (1, 4, 2));
    }

    #[test]
    fn orders_to_a_terminal_are_taken_out() {
        assert_eq!(on_one_line("a\nb\u{1b}[2J\0"), "a b\u{fffd}[2J\u{fffd}");
    }
}
