//! What `millstream bench` is told.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use millstream::http::{HeaderName, HeaderValue, Method, Url};

use crate::get::options::{field, method, url};
use crate::span;

/// Loads a URL and tells how it went
///
/// Each caller sends its next request when its last was answered; with --rate, requests are due at fixed moments, and a
/// latency counts from the moment its request was due, so that a stall is seen in full. Exits with 0 when there were no
/// errors, 2 when there were, 1 when it could not run.
#[derive(Args)]
pub(crate) struct Options {
    /// What to ask for
    #[arg(value_name = "URL", value_parser = url)]
    pub(crate) url: Url,
    /// Has this many requests under way at most
    #[arg(short = 'c', long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub(crate) connections: u16,
    /// Begins no request after this time [default: 10s]
    #[arg(short, long, value_name = "SPAN", value_parser = duration, conflicts_with = "requests")]
    pub(crate) duration: Option<Duration>,
    /// Sends exactly this many requests
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) requests: Option<u64>,
    /// Makes so many requests due each second, whether or not earlier ones were answered
    #[arg(long, value_name = "PER-SECOND", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Uses a new connection for each request
    #[arg(long)]
    pub(crate) no_keep_alive: bool,
    /// Sends this field with each request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Asks with this method, as it is spelled, instead of GET (POST with data)
    #[arg(short = 'X', long, value_name = "METHOD", value_parser = method)]
    pub(crate) method: Option<Method>,
    /// Sends this text as the body of each request
    #[arg(long, value_name = "TEXT")]
    pub(crate) data: Option<String>,
    /// Loads from this many threads; as many as there are cores by default, and never more than connections
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroU16>,
    /// Prints the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Writes the report as a page for a browser to this file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Accepts any certificate: whoever stands between can read and change all
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
}

impl Options {
    /// How long requests are begun; without end when they are counted.
    pub(crate) fn span(&self) -> Option<Duration> {
        self.duration.or(self.requests.is_none().then_some(Duration::from_secs(10)))
    }

    /// How many threads.
    pub(crate) fn workers(&self) -> u16 {
        let cores =
            || std::thread::available_parallelism().ok().and_then(|count| u16::try_from(count.get()).ok());
        let wanted = self.workers.map(NonZeroU16::get).or_else(cores).unwrap_or(1);
        wanted.min(self.connections)
    }

    /// What is asked with.
    pub(crate) fn method(&self) -> Method {
        let usual = if self.data.is_some() { Method::POST } else { Method::GET };
        self.method.clone().unwrap_or(usual)
    }
}

/// A day at most: what is longer is a slip of the keyboard.
fn duration(text: &str) -> Result<Duration, String> {
    let span = span::parse(text)?;
    let is_good = !span.is_zero() && span <= Duration::from_secs(86_400);
    if is_good { Ok(span) } else { Err("want more than nothing and at most 24h".to_owned()) }
}

/// Ten million are more than a machine can send; one in a thousand seconds is less than anybody waits for.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "want a number of requests from 0.001 to 10000000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_durations_have_limits() {
        assert_eq!((rate("2.5"), duration("2s")), (Ok(2.5), Ok(Duration::from_secs(2))));
        for bad in ["0", "-1", "nan", "inf", "x", "1e9"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        for bad in ["0", "25h", "x"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
