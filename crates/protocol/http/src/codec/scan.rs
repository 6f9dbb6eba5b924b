//! Plain heads in one pass, without httparse.
//!
//! Nearly every head that a server sees is plain: a known method, a target that begins with `/`, lines that end in CRLF,
//! field names of letters, digits, `-` and `.`, values of visible ASCII and spaces. Such a head is read here, eight bytes
//! at a time. Whatever else the bytes are (wrong, not whole, only unusual), the answer is `None`, and the slow path over
//! httparse judges them. So nothing is refused here, and nothing may be accepted that the slow path doesn't accept with
//! the same outcome: `fuzz::request` and the tests hold both against each other.

use http::Method;

use super::Version;
use super::fields::{FieldSpan, Fields, Span};
use super::special::{Side, Special};
use super::words::{label_len, target_len, text_len};

/// A plain request line.
pub(super) struct RequestLine<'a> {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) target: &'a [u8],
    /// The fields and all behind them.
    pub(super) rest: &'a [u8],
}

/// Reads a plain request line from the front of a head.
#[inline]
pub(super) fn request_line(head: &[u8]) -> Option<RequestLine<'_>> {
    let (method, rest) = method(head)?;
    if rest.first() != Some(&b'/') {
        return None;
    }
    let (target, rest) = rest.split_at(target_len(rest));
    let (version, rest) = rest.split_first_chunk()?;
    let version = match version {
        b" HTTP/1.1\r\n" => Version::Http11,
        b" HTTP/1.0\r\n" => Version::Http10,
        _ => return None,
    };
    Some(RequestLine { method, version, target, rest })
}

/// The method, and what stands behind its space. CONNECT isn't plain: its target has a form of its own.
#[inline]
fn method(head: &[u8]) -> Option<(Method, &[u8])> {
    if let Some(rest) = head.strip_prefix(b"GET ") {
        Some((Method::GET, rest))
    } else if let Some(rest) = head.strip_prefix(b"POST ") {
        Some((Method::POST, rest))
    } else if let Some(rest) = head.strip_prefix(b"HEAD ") {
        Some((Method::HEAD, rest))
    } else if let Some(rest) = head.strip_prefix(b"PUT ") {
        Some((Method::PUT, rest))
    } else if let Some(rest) = head.strip_prefix(b"DELETE ") {
        Some((Method::DELETE, rest))
    } else {
        Some((Method::PATCH, head.strip_prefix(b"PATCH ")?))
    }
}

/// Reads plain field lines from `lines`, a part of `head`, up to the empty line. Gives what stands behind that.
///
/// Only the spans are noted: once all is well, the caller copies the bytes.
#[inline]
pub(super) fn fields<'a>(
    side: Side,
    head: &[u8],
    lines: &'a [u8],
    limit: usize,
    into: &mut Fields,
    special: &mut Special,
) -> Option<&'a [u8]> {
    let base = head.as_ptr() as usize;
    let mut rest = lines;
    into.clear();
    loop {
        if let Some(behind) = rest.strip_prefix(b"\r\n") {
            return Some(behind);
        }
        let (name, value, behind) = field(rest)?;
        if into.spans.len() >= limit {
            return None;
        }
        let at = Span::of(value, base);
        into.spans.push(FieldSpan { name: Span::of(name, base), value: at });
        special.on_field(side, name, value, at).ok()?;
        rest = behind;
    }
}

/// One plain field line: name, value without surrounding spaces, and what stands behind its end.
#[inline]
fn field(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = line.split_at(label_len(line));
    let mut rest = rest.strip_prefix(b":")?;
    while let [b' ', behind @ ..] = rest {
        rest = behind;
    }
    let (mut value, rest) = rest.split_at(text_len(rest));
    while let [before @ .., b' '] = value {
        value = before;
    }
    (!name.is_empty()).then_some((name, value, rest.strip_prefix(b"\r\n")?))
}
