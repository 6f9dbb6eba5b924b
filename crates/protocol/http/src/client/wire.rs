//! HTTP/1 as a protocol of a [`millstream_client::Client`]: requests and replies as they are on the wire.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use millstream_base::{Deadline, Error, Result};
use millstream_client::{Failed, Lease, Protocol, Target};
use millstream_transport::Conn;

use super::decode::ACCEPT_ENCODING;
use super::exchange::Exchange;
use super::head::ReplyHead;
use super::origin::Tunnel;
use super::outgoing::{Outgoing, Streamed, Upload};
use super::session::Http1Session;
use super::upgraded::UpgradedConn;
use crate::codec::{HeadLimits, encode};
use crate::{Body, Headers};

/// HTTP/1.1 for clients: one call at a time on a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Http1 {
    /// Limits on a reply's head.
    pub head: HeadLimits,
    /// From the request's last byte to the reply's first.
    pub first_byte_timeout: Duration,
    /// Silence between two reads of a reply.
    pub read_timeout: Duration,
    /// How long `Expect: 100-continue` waits before the body goes out anyway.
    pub continue_timeout: Duration,
}

impl Default for Http1 {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            first_byte_timeout: millstream_client::DEFAULT_FIRST_BYTE_TIMEOUT,
            read_timeout: millstream_client::DEFAULT_READ_TIMEOUT,
            continue_timeout: Duration::from_secs(1),
        }
    }
}

/// A request as it goes out: what frames it is added.
pub struct WireRequest {
    /// The method.
    pub method: Method,
    /// The target as it stands in the request line: `/path?query`, or an absolute URL to a proxy.
    pub target: Arc<str>,
    /// The Host field.
    pub host: HeaderValue,
    /// The other fields.
    pub headers: Headers,
    /// Fields of this hop only: a jar's cookies, who we are to a proxy.
    pub(crate) own: Headers,
    /// Whether a coded body is welcome.
    pub(crate) accepts_coding: bool,
    /// Whether its connection ends with it, so that the server is asked to close.
    pub(crate) is_last: bool,
    /// Where in the program it was made.
    pub(crate) caller: &'static Location<'static>,
    /// When the reply's body must be whole.
    pub(crate) whole_by: Option<Deadline>,
    /// The body.
    pub body: Body,
    /// Whether doing it twice does harm, when the method alone does not tell (an idempotency key).
    pub is_idempotent: Option<bool>,
}

impl WireRequest {
    /// A request without fields and body.
    #[track_caller]
    pub fn new(method: Method, target: impl Into<Arc<str>>, host: HeaderValue) -> Self {
        let (headers, own, body) = (Headers::new(), Headers::new(), Body::empty());
        Self {
            method,
            target: target.into(),
            host,
            headers,
            own,
            accepts_coding: false,
            is_last: false,
            caller: Location::caller(),
            whole_by: None,
            body,
            is_idempotent: None,
        }
    }

    /// Appends the head. The body's framing is the last field, so that nothing a caller set can differ from it.
    pub(crate) fn encode_head(&self, out: &mut Vec<u8>) -> Result<()> {
        encode::encode_request_line(out, &self.method, &self.target)?;
        encode::encode_field(out, &HOST, &self.host);
        for (name, value) in self.headers.iter() {
            if !is_ours(name) {
                encode::encode_field(out, name, value);
            }
        }
        if self.accepts_coding {
            out.extend_from_slice(ACCEPT_ENCODING);
        }
        if self.is_last {
            out.extend_from_slice(CONNECTION_CLOSE);
        }
        for (name, value) in self.own.iter() {
            encode::encode_field(out, name, value);
        }
        match self.body.len() {
            Some(0) if !expects_body(&self.method) => {}
            Some(length) => encode::encode_content_length(out, length),
            None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// May we ask the server to close behind it? Not where the caller has something else in mind for the connection.
    pub(crate) fn may_be_last(&self) -> bool {
        !self.headers.contains(&CONNECTION)
            && !self.own.contains(&CONNECTION)
            && !self.headers.contains(&UPGRADE)
            && self.method != Method::CONNECT
    }

    /// Appends the head, and the body if it is all there and small. Gives what is still to be sent.
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>) -> Result<Upload> {
        self.encode_head(out)?;
        let is_chunked = self.body.len().is_none();
        let waits = self
            .headers
            .get(&EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if let Some(bytes) = self.body.as_full()
            && (bytes.is_empty() || !waits && bytes.len() <= INLINE_BODY)
        {
            out.extend_from_slice(bytes);
            return Ok(Upload::None);
        }
        match self.body.try_clone() {
            Some(body) => Ok(Upload::Body(Streamed { left: body.len(), body, is_chunked, waits })),
            None => {
                let left = self.body.len();
                let body = std::mem::take(&mut self.body);
                Ok(Upload::Body(Streamed { body, is_chunked, waits, left }))
            }
        }
    }

    /// May a peer see this twice?
    pub(crate) fn may_repeat(&self) -> bool {
        self.is_idempotent.unwrap_or_else(|| self.method.is_idempotent())
    }
}

const CONNECTION_CLOSE: &[u8] = b"Connection: close\r\n";

/// A body up to this size goes out with the head in one write.
const INLINE_BODY: usize = 16 * 1024;

fn expects_body(method: &Method) -> bool {
    *method == Method::POST || *method == Method::PUT || *method == Method::PATCH
}

/// Fields that frame the message: the client writes them, whatever a caller set.
#[inline]
fn is_ours(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == HOST
}

/// A reply as it came.
pub struct WireReply {
    pub(crate) head: ReplyHead,
    /// The body; it holds the connection until it is read to its end.
    pub body: Body,
    /// The raw connection, when the reply is an upgrade.
    pub upgraded: Option<Box<UpgradedConn>>,
    /// Whether the connection had served a call before.
    pub is_reused: bool,
    /// The request, when the reply is a redirect.
    pub(crate) sent: Option<Sent>,
}

/// A request that was sent, as far as it can be sent again.
pub(crate) struct Sent {
    pub(crate) request: Box<WireRequest>,
    /// Is its body still whole?
    pub(crate) is_repeatable: bool,
    /// The call's.
    pub(crate) deadline: Deadline,
}

impl Sent {
    /// What is left of a request: a body that is a stream is gone once it was touched.
    pub(crate) fn new(mut request: Box<WireRequest>, outgoing: &mut Outgoing, deadline: Deadline) -> Self {
        let is_begun = outgoing.is_body_begun();
        if let Some(body) = outgoing.take_untouched_body() {
            request.body = body;
        }
        let is_repeatable = !is_begun || request.body.try_clone().is_some_and(|body| !body.is_empty());
        Self { request, is_repeatable, deadline }
    }
}

impl std::fmt::Debug for WireRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The query may hold secrets.
        let target = self.target.split_once('?').map_or(&*self.target, |(path, _)| path);
        write!(f, "WireRequest({} {target}, {:?}, {:?})", self.method, self.headers, self.body)
    }
}

impl std::fmt::Debug for WireReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireReply({}, {:?})", self.head.status, self.body)
    }
}

impl Protocol for Http1 {
    type Session = Http1Session;
    /// Boxed: it is handed through several layers, and moving a pointer is cheaper.
    type Request = Box<WireRequest>;
    type Reply = WireReply;

    fn name(&self) -> &'static str {
        "http"
    }

    async fn open(&self, conn: Conn, target: &Target, deadline: Deadline) -> Result<Http1Session> {
        match target.extra::<Tunnel>() {
            None => Ok(Http1Session { conn }),
            Some(tunnel) => tunnel.open(conn, self, deadline).await,
        }
    }

    async fn call(
        &self,
        lease: Lease<Self>,
        request: Box<WireRequest>,
        deadline: Deadline,
    ) -> Result<WireReply, Failed<Box<WireRequest>>> {
        Exchange::run(self, lease, request, deadline).await
    }

    fn is_idempotent(&self, request: &Box<WireRequest>) -> bool {
        request.may_repeat()
    }
}

/// The error for a reply that breaks the protocol.
pub(crate) fn malformed(reject: crate::codec::Reject) -> Error {
    Error::protocol(format!("malformed reply: {}", reject.reason)).with_seen(millstream_base::Seen::Yes)
}
