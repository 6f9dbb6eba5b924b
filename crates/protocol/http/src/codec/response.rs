//! Bytes to a response head.

use std::mem::MaybeUninit;
use std::time::Duration;

use http::{Method, StatusCode};
use httparse::{Header, Status};

use super::fields::{Fields, STACK_FIELDS, Span};
use super::framing::{Codings, Framing};
use super::limits::HeadLimits;
use super::progress::{Progress, Scan, field_fault};
use super::reject::Reject;
use super::special::{Side, Special};
use super::{Parse, Version};

/// A response head: status line, fields, and what they mean for the connection.
///
/// Meant to be reused: [`parse_response`] overwrites all of it and keeps the memory.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status, 100 to 999.
    pub status: StatusCode,
    /// The protocol version.
    pub version: Version,
    /// All fields.
    pub fields: Fields,
    /// How long the body is, given the method of the request.
    pub framing: Framing,
    /// May another request go out on this connection once the body is read?
    pub keep_alive: bool,
    /// How long the server says it keeps the connection while nothing happens (`Keep-Alive: timeout=`).
    pub keep_alive_timeout: Option<Duration>,
    /// How many requests the server says it takes on the connection (`Keep-Alive: max=`): Apache counts those to come, Node all
    /// of them, and both say `Connection: close` with the last. 0 is none, whoever counts.
    pub keep_alive_max: Option<u64>,
    /// Does the connection speak another protocol from here on: 101, or 2xx to CONNECT?
    pub upgrade: bool,
    reason: Span,
}

impl ResponseHead {
    /// An empty head to parse into.
    pub fn new() -> Self {
        Self::default()
    }

    /// The reason phrase; empty if there was none, or one that isn't ASCII.
    pub fn reason(&self) -> &str {
        self.fields.text_at(self.reason)
    }

    /// Is this an interim response (1xx but 101), behind which the real one comes?
    #[inline]
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && !self.upgrade
    }

    /// Forgets the response and keeps the memory.
    pub fn clear(&mut self) {
        *self = Self { fields: self.fields.take_emptied(), ..Self::default() };
    }

    /// Takes over what was parsed, or says what is wrong with it.
    #[inline]
    fn fill(
        &mut self,
        head: &[u8],
        parsed: &httparse::Response<'_, '_>,
        request_method: &Method,
    ) -> Result<(), Reject> {
        self.version = Version::of(parsed.version);
        self.status = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|_| Reject::bad("status code below 100"))?;
        self.reason = match parsed.reason {
            Some(reason) if !reason.is_empty() => Span::within(reason.as_bytes(), head.as_ptr() as usize),
            _ => Span::default(),
        };
        let special = self.fields.take(Side::Response, head, parsed.headers)?;
        self.keep_alive_timeout = special.timeout;
        self.keep_alive_max = special.max;
        self.upgrade = self.status == StatusCode::SWITCHING_PROTOCOLS
            || (*request_method == Method::CONNECT && self.status.is_success());
        self.decide_body(&special, request_method)
    }

    /// RFC 9112 §6.3, in its order.
    #[inline]
    fn decide_body(&mut self, special: &Special, request_method: &Method) -> Result<(), Reject> {
        self.keep_alive = special.keeps_alive(self.version) && !self.upgrade;
        if self.upgrade {
            self.framing = Framing::None;
            return Ok(());
        }
        let said = special.lengths.decide(self.version)?;
        let never_has_body = self.status.is_informational() || self.status == StatusCode::NO_CONTENT;
        if never_has_body || self.status == StatusCode::NOT_MODIFIED || *request_method == Method::HEAD {
            self.framing = Framing::None;
            // A server that announces a body where none can be may send it: what follows can't be trusted.
            let announces = special.lengths.codings != Codings::Absent || special.lengths.length > Some(0);
            self.keep_alive &= !(never_has_body && announces);
            return Ok(());
        }
        self.framing = said.unwrap_or(Framing::UntilClose);
        self.keep_alive &= self.framing != Framing::UntilClose;
        Ok(())
    }
}

/// Parses a response head from the front of `buf`, which must begin where the last message ended.
///
/// The method of the request decides whether a body follows. After [`Parse::Partial`] call again with the same bytes
/// and more behind them, and the same `progress`. Once complete, `into` holds a copy of all it needs, and `progress` is
/// ready for the next head. Interim responses (1xx) come out like others: see [`ResponseHead::is_interim`].
///
/// # Errors
///
/// A [`Reject`] with status 502. `into` holds nothing of use then, and the connection must close.
///
/// # Examples
///
/// ```
/// use millstream_http::codec::{Framing, HeadLimits, Parse, Progress, ResponseHead, parse_response};
///
/// let (mut head, mut progress) = (ResponseHead::new(), Progress::default());
/// let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// let parse = parse_response(bytes, &HeadLimits::default(), &http::Method::GET, &mut head, &mut progress);
/// assert_eq!(parse, Ok(Parse::Complete(bytes.len() - 2)));
/// assert_eq!(head.framing, Framing::Length(2));
/// ```
pub fn parse_response(
    buf: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
    into: &mut ResponseHead,
    progress: &mut Progress,
) -> Result<Parse, Reject> {
    parse(buf, limits, request_method, into, progress).map_err(Reject::of_response)
}

#[inline]
fn parse(
    buf: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
    into: &mut ResponseHead,
    progress: &mut Progress,
) -> Result<Parse, Reject> {
    let head = limits.window(buf);
    match head.first() {
        None => return Ok(Parse::Partial),
        Some(b'\r' | b'\n') => return Err(Reject::bad("empty line before the response")),
        Some(_) => {}
    }
    if progress.is_waiting() && matches!(progress.scan(head, limits)?, Scan::Wait) {
        return Ok(Parse::Partial);
    }
    let consumed = if limits.fields <= STACK_FIELDS {
        let slots = &mut [const { MaybeUninit::uninit() }; STACK_FIELDS];
        parse_whole(head, request_method, into, &mut slots[..limits.fields])
    } else {
        parse_whole(head, request_method, into, &mut vec![MaybeUninit::uninit(); limits.fields])
    };
    match consumed? {
        Some(bytes) => {
            *progress = Progress::default();
            Ok(Parse::Complete(bytes))
        }
        None => progress.skip_parsed(head, limits).map(|()| Parse::Partial),
    }
}

/// One pass over the head, then one over its fields; `None` if it has no end yet.
#[inline]
fn parse_whole<'a>(
    head: &'a [u8],
    request_method: &Method,
    into: &mut ResponseHead,
    slots: &mut [MaybeUninit<Header<'a>>],
) -> Result<Option<usize>, Reject> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, slots) {
        Ok(Status::Complete(len)) => {
            into.fill(&head[..len], &parsed, request_method)?;
            Ok(Some(len))
        }
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(field_fault(error)),
    }
}
