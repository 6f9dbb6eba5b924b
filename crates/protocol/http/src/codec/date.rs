//! The Date field, formatted once a second.

use std::time::{Duration, UNIX_EPOCH};

/// The text of one second, kept so that the next reply in the same second costs a copy of 29 bytes.
///
/// # Examples
///
/// ```
/// let (mut cache, mut out) = (millstream_http::codec::DateCache::new(), b"Date: ".to_vec());
/// cache.write(&mut out, 784_111_777);
/// assert_eq!(out, b"Date: Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Clone, Debug, Default)]
pub struct DateCache {
    second: Option<u64>,
    text: [u8; DATE_BYTES],
}

impl DateCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends this second as an IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    ///
    /// Seconds since 1970; beyond the year 9999 the last second of that year is written.
    #[inline]
    pub fn write(&mut self, out: &mut Vec<u8>, unix_seconds: u64) {
        if self.second != Some(unix_seconds) {
            self.refresh(unix_seconds);
        }
        out.extend_from_slice(&self.text);
    }

    #[cold]
    fn refresh(&mut self, unix_seconds: u64) {
        let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST_SECOND));
        let text = httpdate::fmt_http_date(time);
        self.text.copy_from_slice(text.as_bytes());
        self.second = Some(unix_seconds);
    }
}

/// Every IMF-fixdate has this many bytes.
const DATE_BYTES: usize = 29;

/// 9999-12-31 23:59:59, the last that fits four digits of year.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_imf_fixdate_and_follows_the_second() {
        let (mut cache, mut out) = (DateCache::new(), Vec::new());
        for second in [784_111_777, 784_111_777, 784_111_778, 0, u64::MAX] {
            cache.write(&mut out, second);
        }
        let lines: Vec<_> = out.chunks(29).map(|line| str::from_utf8(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nov 1994 08:49:38 GMT",
                "Thu, 01 Jan 1970 00:00:00 GMT",
                "Fri, 31 Dec 9999 23:59:59 GMT",
            ]
        );
    }
}
