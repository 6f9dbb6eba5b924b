//! How many ports a second are used up, over as many seconds as it takes to know.
//!
//! Connections at a steady rate of two a second are two, one or three in any second; a smoothed count a second is off by a tenth
//! for ever, and so is a forecast. So the rate is what was used between the first and the last use of a window, and the window
//! reaches back until it holds [`ENOUGH`] ports.

use std::collections::VecDeque;

/// Ports used up, less those that came free without TIME_WAIT, by second.
#[derive(Debug, Default)]
pub(crate) struct Rate(VecDeque<Second>);

#[derive(Clone, Copy, Debug)]
struct Second {
    number: u64,
    ports: i64,
    /// When, within it, ports were used or came free first and last, in microseconds.
    first: u64,
    last: u64,
}

/// As many ports make a window: what happens by chance differs by a seventh then, what happens evenly by nothing.
const ENOUGH: i64 = 50;
/// A window has no less than this many seconds in which anything happened, if there were as many, and no more than that.
const SECONDS: std::ops::RangeInclusive<usize> = 4..=32;
/// What lies behind so many idle seconds does not count.
const PAUSE: u64 = 10;

impl Rate {
    /// So many were used up, or came free.
    pub(crate) fn note(&mut self, now: u64, ports: i64) {
        let number = now / 1_000_000;
        match self.0.back_mut() {
            Some(second) if second.number >= number => {
                second.ports += ports;
                second.last = now.max(second.last);
            }
            _ => {
                if self.0.len() == *SECONDS.end() {
                    self.0.pop_front();
                }
                self.0.push_back(Second { number, ports, first: now, last: now });
            }
        }
    }

    /// Ports a second; 0 until there were two uses.
    pub(crate) fn per_second(&self, now: u64) -> f64 {
        let Some(newest) = self.0.back() else { return 0.0 };
        let (mut sum, mut first, mut number) = (0, newest.first, now / 1_000_000);
        for (count, second) in self.0.iter().rev().enumerate() {
            let is_enough = sum >= ENOUGH && count >= *SECONDS.start();
            if is_enough || number.saturating_sub(second.number) > PAUSE {
                break;
            }
            (sum, first, number) = (sum + second.ports, second.first, second.number);
        }
        let used = (sum - 1) as f64; // after the first
        if used <= 0.0 || newest.last <= first {
            return 0.0;
        }
        // Two gaps without a use: the rate is falling.
        let gap = (newest.last - first) as f64 / used;
        let idle = now.saturating_sub(newest.last) as f64;
        let span = if idle > 2.0 * gap { now - first } else { newest.last - first };
        used * 1e6 / span as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `per_second` uses at even distances from `from` on, for so many seconds.
    fn use_up(rate: &mut Rate, per_second: f64, from: f64, seconds: f64) {
        let count = (per_second * seconds) as u32;
        let moment = |number: u32| ((from + f64::from(number) / per_second) * 1e6) as u64;
        (0..count).for_each(|number| rate.note(moment(number), 1));
    }

    fn at(rate: &Rate, seconds: f64) -> f64 {
        rate.per_second((seconds * 1e6) as u64)
    }

    #[test]
    fn steady_rate_is_exact_also_between_two_whole_numbers() {
        for per_second in [1.7, 2.0, 2.3, 9.9, 470.5, 20_000.0] {
            let mut rate = Rate::default();
            use_up(&mut rate, per_second, 100.3, 6.0);
            let error = at(&rate, 106.3) / per_second - 1.0;
            assert!(error.abs() < 0.002, "{per_second}: {error}");
        }
    }

    #[test]
    fn change_is_followed_and_a_pause_forgotten() {
        let mut rate = Rate::default();
        use_up(&mut rate, 10.0, 100.0, 40.0);
        use_up(&mut rate, 400.0, 140.0, 5.0);
        assert!((at(&rate, 145.0) - 400.0).abs() < 20.0, "{}", at(&rate, 145.0));
        assert!(at(&rate, 150.0) < 250.0, "{}", at(&rate, 150.0));
        assert_eq!(at(&rate, 156.0), 0.0);
        assert_eq!(Rate::default().per_second(7), 0.0);
    }

    #[test]
    fn what_comes_free_at_once_is_no_use() {
        let mut rate = Rate::default();
        for number in 0..1000_u64 {
            rate.note(5_000_000 + number * 10_000, 1);
            rate.note(5_000_000 + number * 10_000 + 5, if number % 2 == 0 { -1 } else { 0 });
        }
        assert!((at(&rate, 15.0) - 50.0).abs() < 1.0, "{}", at(&rate, 15.0));
    }
}
