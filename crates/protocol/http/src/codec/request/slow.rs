//! Any request head, by httparse.

use std::mem::MaybeUninit;

use http::Method;
use httparse::{Header, Status};

use super::RequestHead;
use crate::codec::fields::{STACK_FIELDS, Span};
use crate::codec::limits::{HeadLimits, MAX_METHOD_BYTES};
use crate::codec::progress::{BARE_LF, Progress, Scan, field_fault};
use crate::codec::reject::Reject;
use crate::codec::special::{Side, Special};
use crate::codec::target::{check_target, is_authority};
use crate::codec::{Parse, Version};

/// [`parse_request`](super::parse_request) over httparse alone: the judge of everything that isn't plain.
#[cold]
pub(in crate::codec) fn parse_request_slow(
    buf: &[u8],
    limits: &HeadLimits,
    into: &mut RequestHead,
    progress: &mut Progress,
) -> Result<Parse, Reject> {
    let Some(skipped) = skip_empty_lines(buf)? else { return Ok(Parse::Partial) };
    let head = limits.window(&buf[skipped..]);
    if progress.is_waiting() && matches!(progress.scan(head, limits)?, Scan::Wait) {
        return Ok(Parse::Partial);
    }
    let consumed = if limits.fields <= STACK_FIELDS {
        parse_whole(head, limits, into, &mut [const { MaybeUninit::uninit() }; STACK_FIELDS][..limits.fields])
    } else {
        parse_whole(head, limits, into, &mut vec![MaybeUninit::uninit(); limits.fields])
    };
    match consumed? {
        Some(bytes) => {
            *progress = Progress::default();
            Ok(Parse::Complete(skipped + bytes))
        }
        None => progress.skip_parsed(head, limits).map(|()| Parse::Partial),
    }
}

/// One pass over the head, then one over its fields; `None` if it has no end yet.
#[inline]
fn parse_whole<'a>(
    head: &'a [u8],
    limits: &HeadLimits,
    into: &mut RequestHead,
    slots: &mut [MaybeUninit<Header<'a>>],
) -> Result<Option<usize>, Reject> {
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, slots) {
        Ok(Status::Complete(len)) => {
            into.fill(&head[..len], &parsed, limits)?;
            Ok(Some(len))
        }
        Ok(Status::Partial) => {
            if parsed.path.is_some() {
                check_line(head, &parsed, limits)?;
            }
            Ok(None)
        }
        Err(error) => Err(fault(head, &parsed, limits, error)),
    }
}

impl RequestHead {
    /// Takes over what was parsed, or says what is wrong with it.
    #[inline]
    fn fill(
        &mut self,
        head: &[u8],
        parsed: &httparse::Request<'_, '_>,
        limits: &HeadLimits,
    ) -> Result<(), Reject> {
        let target = check_line(head, parsed, limits)?;
        self.version = Version::of(parsed.version);
        self.method = method_of(parsed.method.unwrap_or_default())?;
        self.form = check_target(&self.method, target)?;
        self.target = Span::within(target, head.as_ptr() as usize);
        let path_len = memchr::memchr(b'?', target).unwrap_or(target.len());
        self.path_end = self.target.start + path_len as u32;
        let special = self.fields.take(Side::Request, head, parsed.headers)?;
        self.host = check_host(&special, self.version, head)?;
        self.conclude(&special)
    }
}

/// How many empty bytes stand before the head, or `None` if the head hasn't begun.
#[inline]
fn skip_empty_lines(buf: &[u8]) -> Result<Option<usize>, Reject> {
    match buf {
        [] => Ok(None),
        [b'\r' | b'\n', ..] => count_empty_lines(buf),
        _ => Ok(Some(0)),
    }
}

#[cold]
fn count_empty_lines(buf: &[u8]) -> Result<Option<usize>, Reject> {
    let mut rest = buf;
    while let [b'\r', b'\n', behind @ ..] = rest {
        rest = behind;
        if buf.len() - rest.len() > MAX_EMPTY_LINES * 2 {
            return Err(Reject::bad("empty lines before the request"));
        }
    }
    match rest {
        [] | [b'\r'] => Ok(None),
        [b'\r', ..] => Err(Reject::bad("bare CR")),
        [b'\n', ..] => Err(BARE_LF),
        _ => Ok(Some(buf.len() - rest.len())),
    }
}

/// Checks the lengths in the request line and returns the target.
#[inline]
fn check_line<'a>(
    head: &[u8],
    parsed: &httparse::Request<'_, 'a>,
    limits: &HeadLimits,
) -> Result<&'a [u8], Reject> {
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    if target.len() > limits.target_bytes {
        return Err(Reject::new(414, "target too long"));
    }
    debug_assert!(head.len() >= method.len() + target.len(), "both are parts of the head");
    if method.len() > MAX_METHOD_BYTES {
        return Err(Reject::new(501, "method too long"));
    }
    Ok(target.as_bytes())
}

#[inline]
fn method_of(name: &str) -> Result<Method, Reject> {
    match name.as_bytes() {
        b"GET" => Ok(Method::GET),
        b"POST" => Ok(Method::POST),
        b"PUT" => Ok(Method::PUT),
        b"HEAD" => Ok(Method::HEAD),
        other => Method::from_bytes(other).map_err(|_| Reject::bad("malformed method")),
    }
}

/// Checks Host (RFC 9112 §3.2): one in HTTP/1.1, none or one in HTTP/1.0, and nothing in it that no host has.
#[inline]
fn check_host(special: &Special, version: Version, head: &[u8]) -> Result<Span, Reject> {
    match special.host {
        Some(host) if is_authority(host.of(head)) => Ok(host),
        Some(_) => Err(Reject::bad("malformed Host")),
        None if version == Version::Http10 => Ok(Span::default()),
        None => Err(Reject::bad("no Host")),
    }
}

/// What is wrong with a head that httparse refused.
#[cold]
fn fault(
    head: &[u8],
    parsed: &httparse::Request<'_, '_>,
    limits: &HeadLimits,
    error: httparse::Error,
) -> Reject {
    if parsed.path.is_some()
        && let Err(too_long) = check_line(head, parsed, limits)
    {
        return too_long;
    }
    if error == httparse::Error::Version && wants_other_version(head) {
        return Reject::new(505, "version not supported");
    }
    field_fault(error)
}

/// Does the request line end in a well-formed version that we don't speak? HTTP/1.2 and above too: none exists.
fn wants_other_version(head: &[u8]) -> bool {
    let version = head.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default();
    match version.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', minor, ..]) => minor.is_ascii_digit(),
        Some([major, ..]) => major.is_ascii_digit() && *major != b'1',
        _ => false,
    }
}

/// Empty lines that are skipped before a request line: clients of the past sent one after a POST.
const MAX_EMPTY_LINES: usize = 2;
