//! Plain heads in one pass, without httparse.
//!
//! Nearly every head that a server sees is plain: a known method, a target that begins with `/`, lines that end in CRLF,
//! values of visible ASCII and spaces. Such a head is read here, eight bytes at a time. Whatever else the bytes are (wrong,
//! not whole, only unusual), the answer is `None`, and the slow path over httparse judges them. So nothing is refused here,
//! and nothing may be accepted that the slow path doesn't accept with the same outcome: `fuzz::request` and the tests hold
//! both against each other.

use http::Method;

use super::Version;
use super::fields::{FieldSpan, Fields, Span};
use super::framing::is_token_byte;
use super::special::{Side, Special, may_steer};
use super::words::{letters_end, target_end, text_end};

/// A plain request line.
pub(super) struct RequestLine {
    pub(super) method: &'static Method,
    pub(super) version: Version,
    pub(super) target: Span,
    /// Where the fields begin.
    pub(super) end: u32,
}

/// Reads a plain request line from the front of a head.
#[inline]
pub(super) fn request_line(head: &[u8]) -> Option<RequestLine> {
    let (method, start) = method(head)?;
    if !is_at(head, start, b"/") {
        return None;
    }
    let end = target_end(head, start);
    let version = if is_at(head, end, b" HTTP/1.1\r\n") {
        Version::Http11
    } else if is_at(head, end, b" HTTP/1.0\r\n") {
        Version::Http10
    } else {
        return None;
    };
    Some(RequestLine { method, version, target: Span { start, end }, end: end + 11 })
}

/// The method, and where the target begins. CONNECT isn't plain: its target has a form of its own.
#[inline]
fn method(head: &[u8]) -> Option<(&'static Method, u32)> {
    if head.starts_with(b"GET ") { Some((&Method::GET, 4)) } else { other_method(head) }
}

fn other_method(head: &[u8]) -> Option<(&'static Method, u32)> {
    static KNOWN: [Method; 6] =
        [Method::POST, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
    let len = head.iter().take(8).position(|&byte| byte == b' ')?;
    let method = KNOWN.iter().find(|method| method.as_str().as_bytes() == &head[..len])?;
    Some((method, len as u32 + 1))
}

/// Reads plain field lines from `at` on; gives where the head ends, behind its empty line.
///
/// Only the spans are noted: once all is well, the caller copies the bytes.
#[inline]
pub(super) fn fields(
    side: Side,
    head: &[u8],
    mut at: u32,
    limit: usize,
    into: &mut Fields,
    special: &mut Special,
) -> Option<u32> {
    into.clear();
    while !is_at(head, at, b"\r\n") {
        let (field, end) = field(head, at)?;
        if into.spans.len() >= limit {
            return None;
        }
        into.spans.push(field);
        if may_steer(head, field.name) {
            special.on_field(side, head, field).ok()?;
        }
        at = end;
    }
    Some(at + 2)
}

/// One plain field line, and where it ends.
#[inline(always)]
fn field(head: &[u8], at: u32) -> Option<(FieldSpan, u32)> {
    let name = Span { start: at, end: name_end(head, at)? };
    let start = value_start(head, name.end + 1);
    let line_end = text_end(head, start);
    let is_blank_last = is_at(head, line_end - 1, b" ");
    let end = if is_blank_last { trimmed_end(head, start, line_end) } else { line_end };
    let field = FieldSpan { name, value: Span { start, end } };
    is_at(head, line_end, b"\r\n").then_some((field, line_end + 2))
}

/// Where the spaces before a value end: mostly there is one.
#[inline(always)]
fn value_start(head: &[u8], mut at: u32) -> u32 {
    while is_at(head, at, b" ") {
        at += 1;
    }
    at
}

/// Where a value with spaces behind it ends.
#[cold]
fn trimmed_end(head: &[u8], start: u32, mut end: u32) -> u32 {
    while end > start && is_at(head, end - 1, b" ") {
        end -= 1;
    }
    end
}

/// Where the colon behind the name stands.
#[inline(always)]
fn name_end(head: &[u8], at: u32) -> Option<u32> {
    let end = letters_end(head, at);
    if is_at(head, end, b":") && end > at { Some(end) } else { unusual_name_end(head, at) }
}

/// The same for names with other bytes than letters and `-`.
#[inline(never)]
fn unusual_name_end(head: &[u8], at: u32) -> Option<u32> {
    let name = head.get(at as usize..)?;
    let len = name.iter().position(|&byte| !is_token_byte(byte))?;
    (len > 0 && name[len] == b':').then_some(at + len as u32)
}

/// Do these bytes stand there?
#[inline(always)]
fn is_at<const LEN: usize>(head: &[u8], at: u32, bytes: &[u8; LEN]) -> bool {
    let start = at as usize;
    head.get(start..start + LEN).is_some_and(|there| there == bytes)
}
