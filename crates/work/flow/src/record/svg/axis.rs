//! A scale of time with round steps.

use std::time::Duration;

/// Moments in steps of 1, 2 or 5 times a power of ten, all in the unit that fits the end.
#[derive(Debug)]
pub(super) struct Axis {
    step_ns: u64,
    end_ns: u64,
}

/// So many steps at most.
const STEPS: u64 = 8;
const UNITS: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")];

impl Axis {
    /// From nothing to `end`.
    pub(super) fn new(end: Duration) -> Self {
        let end_ns = u64::try_from(end.as_nanos()).unwrap_or(u64::MAX).max(1);
        let powers = (0..19).map(|power| 10_u64.pow(power));
        let mut steps = powers.flat_map(|power| [1, 2, 5].map(|times| power.saturating_mul(times)));
        let step_ns = steps.find(|step| end_ns / step <= STEPS).unwrap_or(u64::MAX);
        Self { step_ns, end_ns }
    }

    /// Where a moment is: 0 at the begin, 1 at the end.
    #[allow(clippy::cast_precision_loss)] // 2^53 ns are 104 days
    pub(super) fn place(&self, moment: Duration) -> f64 {
        (moment.as_nanos() as f64 / self.end_ns as f64).min(1.0)
    }

    /// Each with its text.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (Duration, String)> {
        let (unit, name) = UNITS.into_iter().find(|(unit, _)| *unit <= self.end_ns).unwrap_or((1, "ns"));
        (0..=self.end_ns / self.step_ns).map(move |number| {
            let ns = number * self.step_ns;
            let part = format!("{:09}", ns % unit * (1_000_000_000 / unit));
            let part = part.trim_end_matches('0');
            let point = if part.is_empty() { "" } else { "." };
            (Duration::from_nanos(ns), format!("{}{point}{part} {name}", ns / unit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ns: u64) -> Vec<String> {
        Axis::new(Duration::from_nanos(ns)).ticks().map(|(_, text)| text).collect()
    }

    #[test]
    fn steps_are_round_and_few() {
        assert_eq!(texts(0), ["0 ns", "1 ns"]);
        assert_eq!(texts(9), ["0 ns", "2 ns", "4 ns", "6 ns", "8 ns"]);
        assert_eq!(texts(1_300), ["0 µs", "0.2 µs", "0.4 µs", "0.6 µs", "0.8 µs", "1 µs", "1.2 µs"]);
        assert_eq!(
            texts(40_000_000),
            ["0 ms", "5 ms", "10 ms", "15 ms", "20 ms", "25 ms", "30 ms", "35 ms", "40 ms"]
        );
        assert_eq!(texts(3_000_000_000).last().unwrap(), "3 s");
        for ns in (0..64).map(|bits| 1 << bits).chain([u64::MAX]) {
            assert!((2..=9).contains(&texts(ns).len()), "{ns}");
        }
    }
}
