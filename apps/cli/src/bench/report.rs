//! What a run gave, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use millstream::transport::{Counts, Side};
use serde_json::json;

use super::Options;
use super::tally::Tally;
use super::waiting::TimeWait;

/// What a run gave.
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) seconds: f64,
    pub(crate) opened: u64,
    pub(crate) closed: BTreeMap<&'static str, u64>,
    /// `None` where the kernel does not tell.
    pub(crate) time_wait: Option<TimeWait>,
    /// What was asked, in words.
    pub(crate) asked: String,
}

impl Report {
    pub(crate) fn new(tally: Tally, counts: &Counts, took: Duration, options: &Options) -> Self {
        let mut closed = BTreeMap::new();
        for (_, cause, _, count) in counts.each_ended().filter(|(side, ..)| *side == Side::Client) {
            *closed.entry(cause.name()).or_default() += count;
        }
        let (opened, _) = counts.of_side(Side::Client);
        let time_wait = TimeWait::of(&options.url, took);
        Self { tally, seconds: took.as_secs_f64(), opened, closed, time_wait, asked: asked(options) }
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.tally.errors.is_empty()
    }

    /// Whole replies each second.
    #[allow(clippy::cast_precision_loss)] // under 2^53 requests
    pub(crate) fn per_second(&self) -> f64 {
        self.tally.latencies.count() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// The name and the value of each percentile, in microseconds.
    pub(crate) fn percentiles(&self) -> [(&'static str, f64); 5] {
        let latencies = &self.tally.latencies;
        let at = |q| latencies.quantile_us(q);
        let max = latencies.max_us();
        [("p50", at(0.5)), ("p90", at(0.9)), ("p99", at(0.99)), ("p999", at(0.999)), ("max", max)]
    }

    /// What waits in TIME_WAIT, in words.
    pub(crate) fn waiting(&self) -> String {
        match self.time_wait {
            Some(TimeWait { ours, theirs }) => {
                format!("{ours} ours, {theirs} the server's (if it is on this host)")
            }
            None => "not known: the kernel does not tell".to_owned(),
        }
    }

    pub(crate) fn json(&self) -> String {
        let latency: BTreeMap<_, _> = self.percentiles().into_iter().collect();
        json!({
            "requests": self.tally.requests,
            "errors": self.tally.errors,
            "seconds": self.seconds,
            "latency_us": latency,
            "connections": {
                "opened": self.opened,
                "reused": self.tally.reused,
                "closed": self.closed,
                "time_wait": {
                    "ours": self.time_wait.map(|waiting| waiting.ours),
                    "theirs": self.time_wait.map(|waiting| waiting.theirs),
                },
            },
        })
        .to_string()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.asked);
        let (requests, seconds) = (self.tally.requests, self.seconds);
        let _ = writeln!(
            text,
            "{requests} requests in {seconds:.2} s: {:.0} replies/s\n\nlatency",
            self.per_second()
        );
        let percentiles = self.percentiles();
        let longest = percentiles[4].1;
        for (name, value) in percentiles {
            let _ = writeln!(text, "  {name:5} {:>10}  {}", time(value), bar(value, longest));
        }
        let _ = writeln!(text, "\nerrors: {}", list(&self.tally.errors));
        let (opened, reused) = (self.opened, self.tally.reused);
        let _ = writeln!(text, "connections: {opened} opened, reused by {reused} requests");
        let _ = writeln!(text, "closed: {}", list(&self.closed));
        let _ = write!(text, "TIME_WAIT: {}", self.waiting());
        text
    }
}

/// In a unit that people read.
pub(crate) fn time(us: f64) -> String {
    match us {
        ..1000.0 => format!("{us:.0} µs"),
        ..1_000_000.0 => format!("{:.2} ms", us / 1000.0),
        _ => format!("{:.2} s", us / 1_000_000.0),
    }
}

/// `kind count, kind count`, or none.
pub(crate) fn list(counts: &BTreeMap<&'static str, u64>) -> String {
    let words: Vec<_> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 30
fn bar(value: f64, longest: f64) -> String {
    if longest <= 0.0 {
        return String::new();
    }
    "█".repeat((30.0 * value / longest).round() as usize)
}

fn asked(options: &Options) -> String {
    let how = match (options.rate, options.requests, options.span()) {
        (Some(rate), Some(count), _) => format!("{count} requests, {rate} each second"),
        (Some(rate), None, Some(span)) => format!("{rate} requests each second for {span:?}"),
        (None, Some(count), _) => format!("{count} requests"),
        (_, None, span) => format!("{:?}", span.unwrap_or_default()),
    };
    let (callers, workers) = (options.connections, options.workers());
    format!("{} {}: {how}, {callers} callers on {workers} workers", options.method(), options.url)
}
