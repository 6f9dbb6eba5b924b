//! How long a body is: RFC 9112 §6.3, with everything ambiguous refused.

use super::Version;
use super::bytes::{TOKEN, is_of};
use super::fields::list_items;
use super::reject::Reject;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// A body of exactly this many bytes, at most `i64::MAX`.
    Length(u64),
    /// Chunks, then trailers: [`super::ChunkedDecoder`].
    Chunked,
    /// Everything until the peer closes. Responses only.
    UntilClose,
}

impl Framing {
    /// Is there certainly no byte of body?
    #[inline]
    pub fn is_empty(self) -> bool {
        matches!(self, Framing::None | Framing::Length(0))
    }
}

/// What the fields that decide the framing said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lengths {
    pub(crate) length: Option<u64>,
    pub(crate) codings: Codings,
}

/// Which transfer codings were named, in all fields together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Codings {
    /// No Transfer-Encoding.
    #[default]
    Absent,
    /// `chunked` alone.
    Chunked,
    /// Others, and `chunked` as the last.
    OthersThenChunked,
    /// Others only.
    Others,
}

impl Lengths {
    /// A Content-Length of a request: at most one, whatever it says.
    pub(crate) fn on_request_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.length.is_some() {
            return Err(Reject::bad("more than one Content-Length"));
        }
        self.length = Some(parse_length(value)?);
        Ok(())
    }

    /// A Content-Length of a response: may be repeated if it says the same.
    pub(crate) fn on_response_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        let length = parse_length(value)?;
        match self.length.replace(length) {
            Some(before) if before != length => Err(Reject::bad("Content-Length values differ")),
            _ => Ok(()),
        }
    }

    /// One Transfer-Encoding field; several add up to one list.
    pub(crate) fn on_codings(&mut self, value: &[u8]) -> Result<(), Reject> {
        for item in list_items(value) {
            let is_chunked = item.eq_ignore_ascii_case(b"chunked");
            if !is_chunked && !is_token(item) {
                return Err(Reject::bad("malformed Transfer-Encoding"));
            }
            self.codings = match (self.codings, is_chunked) {
                (Codings::Absent, true) => Codings::Chunked,
                (Codings::Others, true) => Codings::OthersThenChunked,
                (Codings::Absent | Codings::Others, false) => Codings::Others,
                (_, true) => return Err(Reject::bad("chunked applied twice")),
                (_, false) => return Err(Reject::bad("chunked is not the last transfer coding")),
            };
        }
        Ok(())
    }

    /// The framing that every message must agree on, or `None` where neither field was there.
    #[inline]
    pub(crate) fn decide(self, version: Version) -> Result<Option<Framing>, Reject> {
        if self.codings == Codings::Absent {
            return Ok(self.length.map(Framing::Length));
        }
        if self.length.is_some() {
            return Err(Reject::bad("Content-Length with Transfer-Encoding"));
        }
        if version == Version::Http10 {
            return Err(Reject::bad("Transfer-Encoding in HTTP/1.0"));
        }
        match self.codings {
            Codings::Chunked => Ok(Some(Framing::Chunked)),
            Codings::OthersThenChunked => Err(Reject::new(501, "transfer coding not supported")),
            _ => Err(Reject::bad("Transfer-Encoding does not end in chunked")),
        }
    }
}

/// `1*DIGIT`, nothing else, and small enough that sums of two can't overflow.
pub(crate) fn parse_length(value: &[u8]) -> Result<u64, Reject> {
    const MALFORMED: Reject = Reject::bad("malformed Content-Length");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    let mut length = 0_u64;
    for &digit in value {
        length = length
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit - b'0')))
            .ok_or(MALFORMED)?;
    }
    if length > i64::MAX as u64 { Err(MALFORMED) } else { Ok(length) }
}

/// `1*tchar` of RFC 9110 §5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// `tchar` of RFC 9110 §5.6.2.
#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    is_of(TOKEN, byte)
}
