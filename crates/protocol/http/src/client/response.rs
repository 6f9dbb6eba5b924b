//! A reply as a program sees it.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use millstream_base::{Error, Kind, Origin, Phase, Result, Seen};
use serde::de::DeserializeOwned;

use super::Url;
use super::charset::Charset;
use super::head::ReplyHead;
use super::upgraded::UpgradedConn;
use super::wire::WireReply;
use crate::Body;
use crate::codec::{Fields, Version};

/// A reply: its head is here, its body is read when asked for.
///
/// The connection serves the next call once the body is read to its end. Dropping the response earlier closes the
/// connection.
pub struct Response {
    head: ReplyHead,
    body: Body,
    method: Method,
    url: Url,
    max_body: usize,
    is_reused: bool,
    upgraded: Option<Box<UpgradedConn>>,
}

impl Response {
    pub(crate) fn new(reply: WireReply, method: Method, url: Url, max_body: usize) -> Self {
        let WireReply { head, body, upgraded, is_reused, .. } = reply;
        Self { head, body, method, url, max_body, is_reused, upgraded }
    }

    /// How errors name the call.
    fn called(&self) -> String {
        self.url.called(&self.method)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The protocol version of the reply.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The URL that was asked last: behind redirects, where they led.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// All fields.
    pub fn fields(&self) -> &Fields {
        &self.head.fields
    }

    /// The first field of that name, if it is text; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.fields.get_str(name)
    }

    /// All fields as a map.
    pub fn headers(&self) -> HeaderMap {
        self.head.fields.to_header_map()
    }

    /// The exact length of the body in bytes, where it is known.
    pub fn content_length(&self) -> Option<u64> {
        self.body.len()
    }

    /// Did the connection serve a call before this one?
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// This response, if its status is under 400.
    ///
    /// # Errors
    /// [`Kind::Policy`] with the status otherwise.
    pub fn error_for_status(self) -> Result<Self> {
        let status = self.status();
        if status.as_u16() < 400 {
            return Ok(self);
        }
        let origin = if status.is_client_error() { Origin::Caller } else { Origin::Peer };
        Err(Error::new(Kind::Policy, origin, format!("answered with {status}")).with_target(self.called()))
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    ///
    /// # Errors
    /// When the body is cut off, malformed, or silent for too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let next = self.body.chunk().await.transpose();
        next.map_err(|error| error.with_target(self.called()))
    }

    /// The whole body, within the client's limit. Dropping the future closes the connection.
    ///
    /// # Errors
    /// As [`Response::chunk`], and [`Kind::Limit`] when it is longer.
    pub async fn bytes(self) -> Result<Bytes> {
        let Self { body, method, url, max_body, .. } = self;
        // The limit does not know that it is a reply's.
        let named = |error: Error| error.with_phase(Phase::Read).with_seen(Seen::Yes);
        body.collect(max_body).await.map_err(|error| named(error).with_target(url.called(&method)))
    }

    /// The whole body as text, within the client's limit, in the charset that Content-Type names: UTF-8 (also without one)
    /// or windows-1252, as which the standard of browsers reads all that is called Latin-1 or ASCII. A byte order mark
    /// of UTF-8 is left out.
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// As [`Response::bytes`], and when it is not text in that charset, or the charset is another.
    pub async fn text(self) -> Result<String> {
        let (method, url) = (self.method.clone(), self.url.clone());
        let charset = Charset::of(self.header("content-type"));
        let bytes = self.bytes().await?;
        charset
            .and_then(|charset| charset.decode(bytes))
            .map_err(|error| error.with_target(url.called(&method)))
    }

    /// The whole body as JSON, within the client's limit. Dropping the future closes the connection.
    ///
    /// # Errors
    /// As [`Response::bytes`], and when it is not the JSON that was hoped for.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let (method, url) = (self.method.clone(), self.url.clone());
        let bytes = self.bytes().await?;
        let not_json = |error| {
            Error::protocol("the body is not the JSON hoped for")
                .with_source(error)
                .with_target(url.called(&method))
        };
        serde_json::from_slice(&bytes).map_err(not_json)
    }

    /// The body, to read piece by piece or to hand on.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The body alone.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The raw connection, when the server switched protocols (101, or 2xx to CONNECT).
    ///
    /// # Errors
    /// [`Kind::Policy`] with the status when it did not.
    pub fn into_upgraded(self) -> Result<UpgradedConn> {
        if let Some(upgraded) = self.upgraded {
            return Ok(*upgraded);
        }
        let message = format!("answered with {} instead of switching protocols", self.head.status);
        Err(Error::new(Kind::Policy, Origin::Peer, message).with_target(self.called()))
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({} of {:?}, {:?})", self.status(), self.url, self.body)
    }
}
