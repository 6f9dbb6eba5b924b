//! The trailer section of a chunked body.

use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::EMPTY_HEADER;

use super::ChunkLimits;
use crate::codec::progress::{BARE_LF, field_fault};
use crate::codec::reject::Reject;

/// Trailer lines as they come.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    /// The line that isn't whole.
    line: Vec<u8>,
    /// Bytes and lines of the section so far.
    bytes: usize,
    lines: usize,
    map: HeaderMap,
}

impl Trailers {
    /// Reads up to the end of a line; says how many bytes were used, and whether that was the last line.
    pub(super) fn read(&mut self, buf: &[u8], limits: &ChunkLimits) -> Result<(usize, bool), Reject> {
        let end = memchr::memchr(b'\n', buf).map(|at| at + 1);
        let used = end.unwrap_or(buf.len());
        self.bytes += used;
        if self.bytes > limits.trailer_bytes as usize {
            return Err(Reject::new(431, "trailers too large"));
        }
        self.line.extend_from_slice(&buf[..used]);
        if end.is_none() {
            return Ok((used, false));
        }
        if !self.line.ends_with(b"\r\n") {
            return Err(BARE_LF);
        }
        if self.line.len() == 2 {
            return Ok((used, true));
        }
        self.lines += 1;
        if self.lines > limits.trailer_fields as usize {
            return Err(Reject::new(431, "too many trailers"));
        }
        self.take_line()?;
        Ok((used, false))
    }

    pub(super) fn into_map(self) -> HeaderMap {
        self.map
    }

    /// Parses the line that became whole.
    fn take_line(&mut self) -> Result<(), Reject> {
        self.line.extend_from_slice(b"\r\n");
        let mut slots = [EMPTY_HEADER; 1];
        httparse::parse_headers(&self.line, &mut slots).map_err(field_fault)?;
        let [field] = slots;
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value)
            && may_trail(&name)
        {
            self.map.try_append(name, value).map_err(|_| Reject::new(431, "too many trailers"))?;
        }
        self.line.clear();
        Ok(())
    }
}

/// May this field stand in a trailer section? RFC 9110 §6.5.1: nothing that decides framing, routing, who asks, or how
/// the content is read.
pub(super) fn may_trail(name: &HeaderName) -> bool {
    FORBIDDEN.binary_search(&name.as_str()).is_err()
}

/// Sorted.
const FORBIDDEN: [&str; 34] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_names_are_sorted_for_the_search() {
        assert!(FORBIDDEN.is_sorted());
        assert!(!may_trail(&http::header::TRANSFER_ENCODING));
        assert!(may_trail(&HeaderName::from_static("x-checksum")));
    }
}
