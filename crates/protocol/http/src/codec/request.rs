//! Bytes to a request head.

use std::mem::MaybeUninit;

use http::Method;
use httparse::{Header, Status};

use super::fields::{Fields, STACK_FIELDS, Span};
use super::framing::Framing;
use super::limits::{HeadLimits, MAX_METHOD_BYTES};
use super::progress::{BARE_LF, Progress, Scan, field_fault};
use super::reject::Reject;
use super::special::{Side, Special};
use super::target::{TargetForm, check_target, is_authority, split_absolute};
use super::{Parse, Version};

/// A request head: start line, fields, and what they mean for the connection.
///
/// Meant to be reused: [`parse_request`] overwrites all of it and keeps the memory.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method; unknown ones too.
    pub method: Method,
    /// The protocol version.
    pub version: Version,
    /// All fields.
    pub fields: Fields,
    /// How long the body is. Never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Does the client allow another request behind this one?
    pub keep_alive: bool,
    /// Does the client wait for `100 Continue` before it sends the body?
    pub expect_continue: bool,
    /// Does the client want another protocol: `Connection: upgrade` with `Upgrade`, or CONNECT?
    pub upgrade: bool,
    /// Does the client want to see trailers (`TE: trailers`)?
    pub accepts_trailers: bool,
    form: TargetForm,
    target: Span,
    host: Span,
}

impl RequestHead {
    /// An empty head to parse into.
    pub fn new() -> Self {
        Self::default()
    }

    /// The request target as it came; ASCII without control bytes or `#`.
    #[inline]
    pub fn target(&self) -> &str {
        self.fields.text_at(self.target)
    }

    /// Which form the target has.
    #[inline]
    pub fn target_form(&self) -> TargetForm {
        self.form
    }

    /// The path without the query, still percent-encoded: begins with `/`, or is `*`, or is empty for CONNECT.
    #[inline]
    pub fn path(&self) -> &str {
        self.path_and_query().0
    }

    /// What stands behind the `?`.
    #[inline]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().1
    }

    /// [`RequestHead::path`] and [`RequestHead::query`] in one go.
    #[inline]
    pub fn path_and_query(&self) -> (&str, Option<&str>) {
        let text = match self.form {
            TargetForm::Origin | TargetForm::Asterisk => self.target(),
            TargetForm::Absolute => split_absolute(self.target()).map_or("", |(_, rest)| rest),
            TargetForm::Authority => return ("", None),
        };
        let (path, query) = match memchr::memchr(b'?', text.as_bytes()) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        match path {
            "" if self.method == Method::OPTIONS && query.is_none() => ("*", None),
            "" => ("/", query),
            _ => (path, query),
        }
    }

    /// Whom the client wants to talk to, `host[:port]`: from the target if that names one (RFC 9112 §3.2.2), else
    /// from Host. Empty if the client left it empty, or sent HTTP/1.0 without Host.
    pub fn host(&self) -> &str {
        match self.form {
            TargetForm::Origin | TargetForm::Asterisk => self.fields.text_at(self.host),
            TargetForm::Absolute => split_absolute(self.target()).map_or("", |(authority, _)| authority),
            TargetForm::Authority => self.target(),
        }
    }

    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

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
        self.target = Span::of(target, head.as_ptr() as usize);
        let special = self.fields.take(Side::Request, head, parsed.headers)?;
        self.host = check_host(&special, self.version, head)?;
        self.framing = special.lengths.decide(self.version)?.unwrap_or(Framing::None);
        self.keep_alive = special.keeps_alive(self.version);
        let is_http11 = self.version == Version::Http11;
        if special.expects_unknown && is_http11 {
            return Err(Reject::new(417, "expectation not supported"));
        }
        self.expect_continue = special.expects_continue && is_http11 && !self.framing.is_empty();
        self.accepts_trailers = special.accepts_trailers && is_http11;
        self.upgrade = special.has_upgrade && special.has_upgrade_token && is_http11;
        if self.method == Method::CONNECT {
            self.upgrade = true;
            if !self.framing.is_empty() {
                return Err(Reject::bad("CONNECT with a body"));
            }
        }
        Ok(())
    }
}

/// Parses a request head from the front of `buf`, which must begin where the last message ended.
///
/// After [`Parse::Partial`] call again with the same bytes and more behind them, and the same `progress`. Up to two
/// empty lines before the head are skipped (RFC 9112 §2.2) and count as consumed. Once complete, `into` holds a copy of
/// all it needs, and `progress` is ready for the next head.
///
/// # Errors
///
/// A [`Reject`] with 400, 414, 417, 431, 501 or 505. `into` holds nothing of use then, and the connection must close.
///
/// # Examples
///
/// ```
/// use millstream_http::codec::{HeadLimits, Parse, Progress, RequestHead, parse_request};
///
/// let (mut head, mut progress) = (RequestHead::new(), Progress::default());
/// let bytes = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\n\r\n";
/// let parse = parse_request(bytes, &HeadLimits::default(), &mut head, &mut progress);
/// assert_eq!(parse, Ok(Parse::Complete(bytes.len())));
/// assert_eq!((head.path(), head.query(), head.host()), ("/a", Some("b"), "example.org"));
/// ```
pub fn parse_request(
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
        Some(host) if is_authority(&head[host.range()]) => Ok(host),
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
