//! What the callers of a worker counted.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::http::StatusCode;
use millstream::{Error, Kind};

use super::latency::Latencies;

/// Counts of one worker, or of all.
pub(crate) struct Tally {
    /// Requests that ended, well or not.
    pub(crate) requests: u64,
    pub(crate) reused: u64,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) latencies: Latencies,
    curve: Vec<Latencies>,
    /// How long a step of the curve is. The same for all that began with the same and are as long.
    step: Duration,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let step = Duration::from_millis(100);
        let latencies = Latencies::new();
        Self { requests: 0, reused: 0, errors: BTreeMap::new(), latencies, curve: Vec::new(), step }
    }

    /// A whole reply: `at` is the time since the run began.
    pub(crate) fn on_reply(&mut self, status: StatusCode, is_reused: bool, latency: Duration, at: Duration) {
        self.requests += 1;
        self.reused += u64::from(is_reused);
        match status.as_u16() {
            400..500 => self.on_errors("4xx", 1),
            500.. => self.on_errors("5xx", 1),
            _ => {}
        }
        self.latencies.record(latency);
        self.step_at(at).record(latency);
    }

    /// A request that failed.
    pub(crate) fn on_failure(&mut self, error: &Error) {
        self.requests += 1;
        self.on_errors(kind(error), 1);
    }

    pub(crate) fn on_errors(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.errors.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn add(&mut self, mut other: Self) {
        while self.step < other.step {
            self.halve();
        }
        while other.step < self.step {
            other.halve();
        }
        self.requests += other.requests;
        self.reused += other.reused;
        other.errors.iter().for_each(|(kind, count)| self.on_errors(kind, *count));
        self.latencies.add(&other.latencies);
        for (number, step) in other.curve.iter().enumerate() {
            self.step_number(number).add(step);
        }
    }

    /// The latencies of each step of time, in order.
    pub(crate) fn curve(&self) -> impl Iterator<Item = (Duration, &Latencies)> {
        let step = self.step;
        self.curve.iter().zip(1u32..).map(move |(latencies, number)| (step * number, latencies))
    }

    fn step_at(&mut self, at: Duration) -> &mut Latencies {
        while at >= self.step * MAX_STEPS {
            self.halve();
        }
        let number = at.as_nanos() / self.step.as_nanos();
        self.step_number(usize::try_from(number).expect("halving has made it less than MAX_STEPS"))
    }

    fn step_number(&mut self, number: usize) -> &mut Latencies {
        while self.curve.len() <= number {
            self.curve.push(Latencies::new());
        }
        &mut self.curve[number]
    }

    /// Half as many steps, each twice as long.
    fn halve(&mut self) {
        self.step *= 2;
        let steps = std::mem::take(&mut self.curve);
        for (number, step) in steps.iter().enumerate() {
            self.step_number(number / 2).add(step);
        }
    }
}

/// The name under which an error is counted.
fn kind(error: &Error) -> &'static str {
    match error.kind() {
        Kind::Timeout => "timeout",
        Kind::Resolve => "resolve",
        Kind::Connect => "connect",
        Kind::PortsExhausted => "ports",
        Kind::Tls => "tls",
        Kind::Closed => "closed",
        Kind::Reset => "reset",
        Kind::Protocol => "protocol",
        Kind::Limit => "limit",
        Kind::Io => "io",
        _ => "other",
    }
}

/// Enough for a curve on a page; 2.4 MiB a worker.
const MAX_STEPS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_keeps_all_in_bounded_steps() {
        let (mut long, mut short) = (Tally::new(), Tally::new());
        for second in 0..600 {
            long.on_reply(StatusCode::OK, true, Duration::from_millis(1), Duration::from_secs(second));
        }
        short.on_reply(StatusCode::NOT_FOUND, false, Duration::from_millis(9), Duration::from_secs(1));
        short.add(long);
        assert!(short.curve().count() <= 64);
        assert_eq!(short.curve().map(|(_, step)| step.count()).sum::<u64>(), 601);
        assert_eq!((short.requests, short.reused, short.errors["4xx"]), (601, 600, 1));
    }
}
