//! The date of Expires, which servers write in more ways than HTTP knows: RFC 6265 §5.1.1.

use std::time::{Duration, SystemTime};

/// What has been found of a date.
#[derive(Default)]
struct Found {
    time: Option<(u64, u64, u64)>,
    day: Option<u64>,
    month: Option<u64>,
    year: Option<u64>,
}

/// Reads a date; `None` when it is none, or before 1970 began to be counted (such a cookie has ended: see the caller).
pub(super) fn parse_expires(text: &str) -> Option<SystemTime> {
    let mut found = Found::default();
    let is_delimiter = |c: char| matches!(c, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~');
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        found.take(token);
    }
    found.moment()
}

impl Found {
    /// Takes the token as the first of these that is missing and that it can be.
    fn take(&mut self, token: &str) {
        let is_new = |slot: bool, found: bool| !slot && found;
        if is_new(self.time.is_some(), time(token).is_some()) {
            self.time = time(token);
        } else if is_new(self.day.is_some(), number(token, 1, 2).is_some()) {
            self.day = number(token, 1, 2);
        } else if is_new(self.month.is_some(), month(token).is_some()) {
            self.month = month(token);
        } else if self.year.is_none() {
            self.year = number(token, 2, 4);
        }
    }

    fn moment(&self) -> Option<SystemTime> {
        let ((hour, minute, second), day, month) = (self.time?, self.day?, self.month?);
        let year = match self.year? {
            year @ 70..=99 => year + 1900,
            year @ 0..=69 => year + 2000,
            year => year,
        };
        let is_sane = (1..=days_in(month, year)).contains(&day)
            && year >= 1601
            && hour <= 23
            && minute <= 59
            && second <= 59;
        if !is_sane {
            return None;
        }
        let Some(days) = days_since_epoch(year, month, day) else { return Some(SystemTime::UNIX_EPOCH) };
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// `hh:mm:ss`, each of one or two digits; what follows a digit-free rest is ignored.
fn time(token: &str) -> Option<(u64, u64, u64)> {
    let mut parts = token.splitn(3, ':');
    let (hour, minute) = (exact(parts.next()?)?, exact(parts.next()?)?);
    Some((hour, minute, number(parts.next()?, 1, 2)?))
}

fn exact(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| number(text, 1, 2))?
}

/// So many digits at the front, with no further digit behind them.
fn number(token: &str, least: usize, most: usize) -> Option<u64> {
    let end = token.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(token.len());
    (least..=most).contains(&end).then(|| token[..end].parse().ok())?
}

fn month(token: &str) -> Option<u64> {
    const NAMES: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let front = token.get(..3)?.to_ascii_lowercase();
    (1..).zip(NAMES).find(|(_, name)| *name == front).map(|(number, _)| number)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(month: u64, year: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `None` before 1970.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let years = year.checked_sub(1970)?;
    let before = year - 1;
    let leaps = (before / 4 - before / 100 + before / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let months: u64 = (1..month).map(|month| days_in(month, year)).sum();
    Some(years * 365 + leaps + months + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_way_servers_write_them() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(1_445_412_480)),
            ("Wed, 21-Oct-2015 07:28:00 GMT", Some(1_445_412_480)),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", Some(1_445_412_480)),
            ("Wed Oct 21 07:28:00 2015", Some(1_445_412_480)),
            ("21 oct 2015 7:28:0", Some(1_445_412_480)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 31-Dec-1999 23:59:59 GMT", Some(946_684_799)),
            ("01 Mar 2000 00:00:00", Some(951_868_800)),
            ("01 Jan 1969 00:00:00", Some(0)),
            ("29 Feb 2023 00:00:00", None),
            ("31 Apr 2023 00:00:00", None),
            ("21 Oct 1600 07:28:00", None),
            ("21 Oct 2015 24:00:00", None),
            ("21 Oct 2015", None),
            ("07:28:00 2015", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let expected = seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(parse_expires(text), expected, "{text:?}");
        }
    }

    #[test]
    fn days_agree_with_another_calendar() {
        for days in (0..60_000).step_by(17) {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
            assert_eq!(parse_expires(&httpdate::fmt_http_date(moment)), Some(moment));
        }
    }
}
