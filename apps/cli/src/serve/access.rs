//! The access log: one line on standard output for each request, when its response begins.
//!
//! `2026-11-23T07:00:00Z 192.0.2.1:5000 "GET /a?b HTTP/1.1" 200 1234 0.000512` — moment, peer, request line, status, length of
//! the body where it is known, seconds from the request's head to the response's.
//!
//! A worker never waits for whoever reads the log: lines go through a queue to a thread, and what finds it full is counted and left out.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use millstream::http::codec::{RequestHead, Version};
use millstream::http::{Handler, Request, Response};

/// Lines that may wait for the disk: about 1 MiB.
const QUEUED_LINES: usize = 8 * 1024;

/// Where lines go.
#[derive(Clone)]
pub(super) struct AccessLog {
    give: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

impl AccessLog {
    /// Begins to write.
    pub(super) fn start() -> Self {
        let (give, take) = sync_channel(QUEUED_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let log = Self { give, lost: lost.clone() };
        std::thread::spawn(move || write(&take, &lost));
        log
    }

    /// Logs what `handler` answers.
    pub(super) fn wrap<H: Handler>(self, handler: H) -> Logged<H> {
        Logged { log: self, handler }
    }

    fn say(&self, line: String) {
        if self.give.try_send(line).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// What the thread does: writes line by line, and gives out what it has when no more follow.
fn write(take: &Receiver<String>, lost: &AtomicU64) {
    let mut out = BufWriter::new(std::io::stdout());
    while let Ok(first) = take.recv() {
        let lines = std::iter::once(first).chain(take.try_iter());
        for line in lines {
            // Nobody reads it any more: requests are served all the same.
            let _ = out.write_all(line.as_bytes());
        }
        let lost = lost.swap(0, Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "# {lost} lines left out: the log is not taken fast enough");
        }
        let _ = out.flush();
    }
}

/// A handler whose answers are logged.
pub(super) struct Logged<H> {
    log: AccessLog,
    handler: H,
}

impl<H: Handler> Handler for Logged<H> {
    type Future = Logging<H::Future>;

    fn call(&self, request: Request) -> Self::Future {
        let version = match request.version() {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
        };
        let (peer, method, target) = (request.conn().peer(), request.method(), quoted(request.target()));
        let asked = format!("{peer} \"{method} {target} HTTP/{version}\"");
        let answer = Box::pin(self.handler.call(request));
        Logging { log: self.log.clone(), asked, begun: Instant::now(), answer }
    }

    fn max_body(&self, head: &RequestHead) -> Option<u64> {
        self.handler.max_body(head)
    }
}

/// The answer in the making.
pub(super) struct Logging<F> {
    log: AccessLog,
    asked: String,
    begun: Instant,
    answer: Pin<Box<F>>,
}

impl<F: Future<Output = Response>> Future for Logging<F> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let response = ready!(self.answer.as_mut().poll(cx));
        let (status, seconds) = (response.status().as_u16(), self.begun.elapsed().as_secs_f64());
        let length = response.body().len().map_or("-".to_owned(), |length| length.to_string());
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.log.say(format!("{} {} {status} {length} {seconds:.6}\n", utc(moment), self.asked));
        Poll::Ready(response)
    }
}

/// A target as it came, which can't end the quotes it stands in.
fn quoted(target: &str) -> Cow<'_, str> {
    if !target.contains(['"', '\\']) {
        return target.into();
    }
    target.replace('\\', "\\x5C").replace('"', "\\x22").into()
}

/// Seconds since 1970 as `2026-11-23T07:00:00Z`.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970 as year, month, day, counted in years that begin in March, so that a leap day is the last
/// (H. Hinnant, <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_does_not_end_its_quotes() {
        assert_eq!(quoted("/a?b=c"), "/a?b=c");
        assert_eq!(quoted("/a\" 200 \\"), "/a\\x22 200 \\x5C");
    }

    #[test]
    fn moments_are_those_of_date() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_417_200, "2026-11-23T07:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }
}
