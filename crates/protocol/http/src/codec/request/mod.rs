//! Bytes to a request head.

mod slow;

use http::Method;

use super::fields::{Fields, Span};
use super::framing::Framing;
use super::limits::HeadLimits;
use super::progress::Progress;
use super::reject::Reject;
use super::special::Special;
use super::target::{TargetForm, split_absolute};
use super::{Parse, Version, scan};
pub(super) use slow::parse_request_slow;

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
    /// Where the path ends in a target of origin form.
    path_end: u32,
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
            TargetForm::Origin => return self.origin_path_and_query(),
            TargetForm::Asterisk => self.target(),
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

    /// Most targets are of this form: where they are split was seen when they were parsed.
    #[inline]
    fn origin_path_and_query(&self) -> (&str, Option<&str>) {
        let Span { start, end } = self.target;
        let path = self.fields.text_at(Span { start, end: self.path_end });
        let query = Span { start: self.path_end + 1, end };
        (path, (self.path_end < end).then(|| self.fields.text_at(query)))
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
        *self = Self { fields: self.fields.take_emptied(), ..Self::default() };
    }

    /// Reads a plain head; says how many bytes it took. `None`: the slow path must judge, and overwrites all of this.
    #[inline(always)]
    pub(super) fn fill_plain(&mut self, head: &[u8], limits: &HeadLimits) -> Option<usize> {
        let mut special = Special::default();
        let line = scan::request_line(head, &mut self.method)?;
        if line.target.len() > limits.target_bytes {
            return None;
        }
        let behind = scan::fields(head, line.rest, limits.fields, &mut self.fields, &mut special)?;
        let head = head.get(..head.len() - behind.len())?;
        self.version = line.version;
        self.form = TargetForm::Origin;
        self.target = Span::within(line.target, head.as_ptr() as usize);
        self.path_end = self.target.start + line.path_len as u32;
        self.host = match special.host {
            Some(host) => host,
            None if line.version == Version::Http10 => Span::default(),
            None => return None,
        };
        self.conclude(&special).ok()?;
        self.fields.bytes.extend_from_slice(head);
        Some(head.len())
    }

    /// What the start line and the fields mean for the connection; Host is checked already.
    #[inline(always)]
    fn conclude(&mut self, special: &Special) -> Result<(), Reject> {
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
    if !progress.is_waiting()
        && let Some(bytes) = into.fill_plain(limits.window(buf), limits)
    {
        return Ok(Parse::Complete(bytes));
    }
    into.fields.clear();
    parse_request_slow(buf, limits, into, progress)
}
