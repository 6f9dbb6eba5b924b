//! Plain request heads in one pass, without httparse.
//!
//! Nearly every head that a server sees is plain: a known method, a target that begins with `/`, lines that end in CRLF,
//! values of visible ASCII and spaces. Such a head is read here. Whatever else the bytes are (wrong, not whole, only
//! unusual), the answer is `None`, and the slow path over httparse judges them. So nothing is refused here, and nothing may
//! be accepted that the slow path doesn't accept with the same outcome: `fuzz::request` and the tests hold both against
//! each other.

use http::Method;

use super::Version;
use super::bytes::{DIGIT, HOST, PATH, TARGET, TOKEN, run_len, text_len};
use super::fields::{FieldSpan, Fields, Span};
use super::special::{Side, Special, is_host, may_steer};

/// A plain request line; the method stands where the caller wanted it.
pub(super) struct RequestLine<'a> {
    pub(super) version: Version,
    pub(super) target: &'a [u8],
    /// Bytes of the target before its `?`.
    pub(super) path_len: usize,
    /// The fields, and all behind them.
    pub(super) rest: &'a [u8],
}

/// Reads a plain request line from the front of a head.
#[inline(always)]
pub(super) fn request_line<'a>(head: &'a [u8], method: &mut Method) -> Option<RequestLine<'a>> {
    let rest = match head.strip_prefix(b"GET ") {
        Some(rest) => {
            *method = Method::GET;
            rest
        }
        None => other_method(head, method)?,
    };
    if rest.first() != Some(&b'/') {
        return None;
    }
    let path_len = run_len(rest, PATH);
    let query_len = if rest.get(path_len) == Some(&b'?') { run_len(&rest[path_len..], TARGET) } else { 0 };
    let (target, rest) = rest.split_at_checked(path_len + query_len)?;
    let (version, rest) = rest.split_first_chunk()?;
    let version = if version == b" HTTP/1.1\r\n" {
        Version::Http11
    } else if version == b" HTTP/1.0\r\n" {
        Version::Http10
    } else {
        return None;
    };
    Some(RequestLine { version, target, path_len, rest })
}

/// Gives what stands behind the method. CONNECT isn't plain: its target has a form of its own.
#[inline(never)]
fn other_method<'a>(head: &'a [u8], method: &mut Method) -> Option<&'a [u8]> {
    static KNOWN: [Method; 6] =
        [Method::POST, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
    let len = head.iter().take(8).position(|&byte| byte == b' ')?;
    let known = KNOWN.iter().find(|known| *known.as_str().as_bytes() == head[..len])?;
    method.clone_from(known);
    head.get(len + 1..)
}

/// Reads plain field lines of a request, up to the empty line; gives what stands behind that. `lines` is a part of `head`.
///
/// Only the spans are noted: once all is well, the caller copies the bytes.
#[inline(always)]
pub(super) fn fields<'a>(
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
        let (name, behind) = rest.split_at_checked(run_len(rest, TOKEN))?;
        let behind = without_spaces(behind.strip_prefix(b":")?);
        let is_host = is_host(name);
        // A host's bytes are checked as they are read; so nothing stands behind one but the end of its line.
        let len = if is_host { authority_len(behind)? } else { text_len(behind) };
        let (text, behind) = behind.split_at_checked(len)?;
        rest = behind.strip_prefix(b"\r\n")?;
        if name.is_empty() || into.spans.len() >= limit {
            return None;
        }
        let field =
            FieldSpan { name: Span::within(name, base), value: Span::within(trimmed_end(text), base) };
        into.spans.push(field);
        if is_host {
            special.on_host(field.value).ok()?;
        } else if may_steer(name) {
            special.on_field(Side::Request, head, field).ok()?;
        }
    }
}

/// Without the spaces at the front: mostly there is one.
#[inline(always)]
fn without_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', behind @ ..] = bytes {
        bytes = behind;
    }
    bytes
}

/// Without the spaces at the end.
#[inline(always)]
fn trimmed_end(mut bytes: &[u8]) -> &[u8] {
    while let [before @ .., b' '] = bytes {
        bytes = before;
    }
    bytes
}

/// How long `host [ ":" port ]` is, of a port of up to four digits or 10000 to 65535. No address in brackets: they are rare.
#[inline(always)]
fn authority_len(bytes: &[u8]) -> Option<usize> {
    let host = run_len(bytes, HOST);
    match bytes.get(host..)? {
        [b':', port @ ..] if host > 0 => {
            let digits = run_len(port, DIGIT);
            let is_small = digits < 5 || (digits == 5 && port.first_chunk()? <= b"65535");
            is_small.then_some(host + 1 + digits)
        }
        _ => Some(host),
    }
}
