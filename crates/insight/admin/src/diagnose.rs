//! `/doctor`: what is wrong with this host's connections, with what the engine knows of its own.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result};
use millstream_doctor::{Comparison, Observation, Observer, Report};
use millstream_http::Request;
use millstream_http::server::transport::LifeTable;
use millstream_http::server::{Worker, listen_refused};

use crate::admin::Watched;
use crate::facts::Look;

/// What the query asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Wanted {
    span: Duration,
    pub(crate) is_text: bool,
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(query: &str) -> Result<Self> {
        let mut wanted = Self { span: DEFAULT_SPAN, is_text: false };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*key, &*value) {
                ("for", value) => wanted.span = span(value)?,
                ("format", "text") => wanted.is_text = true,
                ("format", "json") => wanted.is_text = false,
                _ => return Err(Error::invalid("want for=SECONDS or format=text|json\n")),
            }
        }
        Ok(wanted)
    }
}

fn span(value: &str) -> Result<Duration> {
    let seconds = value.parse().ok().filter(|seconds| (1..=LONGEST_SPAN.as_secs()).contains(seconds));
    let seconds =
        seconds.ok_or_else(|| Error::invalid(format!("for is 1 to {} s\n", LONGEST_SPAN.as_secs())))?;
    Ok(Duration::from_secs(seconds))
}

/// The report that a request brings, to be compared with: what this path gave earlier, or `millstream doctor --json`.
///
/// # Errors
/// It is longer than [`LONGEST_REPORT`], or no report.
pub(crate) async fn earlier(request: &mut Request) -> Result<Report> {
    let text = request.text().await?;
    let told = |error: Error| Error::invalid(format!("{}, nor what /doctor gave\n", error.message()));
    Report::from_json(&text).map_err(told)
}

/// Bytes of an earlier report: one of some 5,000 endpoints. With every connection that may be, 128 MiB.
pub(crate) const LONGEST_REPORT: u64 = 2 * 1024 * 1024;

/// The new report, with what has become of the earlier one.
///
/// # Errors
/// The earlier one is of some endpoint only.
pub(crate) fn compared(mut report: Report, earlier: &Report) -> Result<Report> {
    let told = |error: Error| Error::invalid(format!("{}\n", error.message()));
    report.since = Some(Comparison::of(earlier, &report).map_err(told)?);
    Ok(report)
}

/// Five samples.
const DEFAULT_SPAN: Duration = Duration::from_secs(1);
/// A request that takes longer is given up by whatever stands between.
const LONGEST_SPAN: Duration = Duration::from_secs(30);
/// Four looks a second see a queue before it overflows (connections.md F14).
const PAUSE: Duration = Duration::from_millis(250);

/// Looks for as long as is wanted, on a thread of `worker`'s engine that may block. One at a time: a look costs the kernel a
/// walk over its sockets.
pub(crate) async fn report(watched: &Watched, worker: &Worker, wanted: &Wanted) -> Result<Report> {
    // An engine that has stopped listens nowhere.
    let refused = watched.worker.engine().map(|engine| listen_refused(&engine)).unwrap_or_default();
    let lives = watched.lives.clone();
    let span = wanted.span;
    let engine = worker
        .engine()
        .ok_or_else(|| Error::new(Kind::Cancelled, Origin::Local, "the admin endpoint ends"))?;
    let seen = engine.blocking(move || observe(&lives, span, refused)).await?;
    seen.map(|seen| Report::of(&seen))
}

fn observe(lives: &LifeTable, span: Duration, refused: Vec<String>) -> Result<Observation> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = Look::at(lives);
    let mut observer = Observer::new()?;
    observer.sample()?;
    let looks = (span.as_millis() / PAUSE.as_millis()).max(Observation::SAMPLES_MIN as u128 - 1);
    for _ in 0..looks {
        std::thread::sleep(PAUSE);
        observer.sample()?;
    }
    let mut facts = before.facts_since(lives);
    facts.listen_refused = Some(refused);
    Ok(observer.observation().with_engine(facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_says_for_how_long_and_how() {
        let wanted = |query: &str| query.parse::<Wanted>();
        let usual = Wanted { span: DEFAULT_SPAN, is_text: false };
        assert_eq!(wanted("").expect("nothing is fine"), usual);
        let some = Wanted { span: Duration::from_secs(30), is_text: true };
        assert_eq!(wanted("for=30&format=text").expect("good"), some);
        for bad in ["for=0", "for=31", "for=", "for=-1", "format=xml", "x=1"] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
