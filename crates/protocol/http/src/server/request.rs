//! A request as a handler sees it.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Method};
use millstream_base::{ConnId, Error, Result};
use millstream_server::Context;
use millstream_transport::tls::TlsInfo;
use millstream_transport::{Addr, Life};

use super::pool::HeadBox;
use crate::Body;
use crate::codec::{Fields, RequestHead, Version};

/// A request as a handler sees it: a head that lies in one buffer, and a body that is read when asked for.
///
/// Fields are found by walking the few there are; nothing is hashed or copied. [`Request::into_http`] makes an
/// [`http::Request`] of it.
pub struct Request {
    head: HeadBox,
}

/// What a head is made of, kept and used again.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) parsed: RequestHead,
    pub(crate) conn: Option<Arc<ConnInfo>>,
    pub(crate) number: u64,
    pub(crate) max_body: u64,
    /// Here and not beside the head, so that a request is a pointer: it is moved into a handler's future.
    pub(crate) body: Body,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What few requests have.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) params: Vec<(Box<str>, Box<str>)>,
    pub(crate) extensions: Extensions,
}

impl Head {
    pub(crate) fn reset(&mut self, keep_bytes: usize) {
        self.parsed.fields.shrink(keep_bytes);
        if self.extra.is_some() {
            self.extra = None;
        }
        if !self.body.is_nothing() {
            self.body = Body::empty();
        }
    }
}

/// The connection a request came on.
pub struct ConnInfo {
    life: Arc<Life>,
    tls: Option<TlsInfo>,
    context: Option<Context>,
}

impl ConnInfo {
    pub(crate) fn new(life: Arc<Life>, tls: Option<TlsInfo>, context: Option<Context>) -> Self {
        Self { life, tls, context }
    }

    /// Is it about the connection of this record?
    #[inline]
    pub(crate) fn is_of(&self, life: &Life) -> bool {
        std::ptr::eq(&raw const *self.life, life)
    }

    /// Names the connection within its engine.
    pub fn id(&self) -> ConnId {
        self.life.id()
    }

    /// The peer's address.
    pub fn peer(&self) -> &Addr {
        self.life.peer()
    }

    /// Where we listen; may be a wildcard.
    pub fn local(&self) -> &Addr {
        self.life.local()
    }

    /// What the TLS handshake agreed on; none without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// The value made when the connection opened, if the server makes one of this type.
    pub fn context<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.context.as_deref()?.downcast_ref()
    }
}

impl Request {
    #[inline]
    pub(crate) fn new(head: HeadBox) -> Self {
        Self { head }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.head.parsed.method
    }

    /// The path as it came, percent-encoded: `/a%20b`. It begins with `/`; or it is `*` (OPTIONS), or empty (CONNECT).
    pub fn path(&self) -> &str {
        self.head.parsed.path()
    }

    /// What stands behind the `?`, as it came.
    pub fn query_str(&self) -> Option<&str> {
        self.head.parsed.query()
    }

    /// The whole request target as it came.
    pub fn target(&self) -> &str {
        self.head.parsed.target()
    }

    /// Whom the client wants to talk to: `host[:port]` of the target, or of the Host field.
    pub fn host(&self) -> &str {
        self.head.parsed.host()
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.head.parsed.version
    }

    /// All fields.
    pub fn fields(&self) -> &Fields {
        &self.head.parsed.fields
    }

    /// The first field of that name, if it is text; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.parsed.fields.get_str(name)
    }

    /// Does the client want another protocol: `Connection: upgrade` with `Upgrade`, or CONNECT?
    pub fn wants_upgrade(&self) -> bool {
        self.head.parsed.upgrade
    }

    /// Does the client want to see trailers?
    pub fn accepts_trailers(&self) -> bool {
        self.head.parsed.accepts_trailers
    }

    /// The number of this request on its connection, from 1 on.
    pub fn number(&self) -> u64 {
        self.head.number
    }

    /// The connection it came on.
    ///
    /// # Panics
    /// Never for a request that a server made.
    pub fn conn(&self) -> &ConnInfo {
        self.head.conn.as_deref().expect("the server sets it for every request")
    }

    /// The connection's context, if the server makes one of this type.
    pub fn context<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.conn().context()
    }

    /// A parameter of the route's path, percent-decoded: `id` of `/users/{id}`.
    pub fn param(&self, name: &str) -> Option<&str> {
        let params = &self.head.extra.as_ref()?.params;
        params.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn set_params(&mut self, params: Vec<(Box<str>, Box<str>)>) {
        self.head.extra.get_or_insert_default().params.extend(params);
    }

    /// Values that one layer leaves for the next.
    pub fn extensions(&self) -> Option<&Extensions> {
        self.head.extra.as_ref().map(|extra| &extra.extensions)
    }

    /// Values that one layer leaves for the next.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.head.extra.get_or_insert_default().extensions
    }

    /// The most the body may be, in bytes: the server's limit or the route's.
    pub fn max_body(&self) -> u64 {
        self.head.max_body
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.head.body
    }

    /// The body, to read piece by piece.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.head.body
    }

    /// Takes the body out; what is left has none.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.head.body)
    }

    /// The whole body, within the server's limit. Dropping the future loses what was read.
    ///
    /// # Errors
    /// [`millstream_base::Kind::Limit`] when it is longer (as a response: 413), else what broke the connection.
    pub async fn bytes(&mut self) -> Result<Bytes> {
        let limit = usize::try_from(self.max_body()).unwrap_or(usize::MAX);
        self.take_body().collect(limit).await
    }

    /// The whole body as text, within the server's limit. Dropping the future loses what was read.
    ///
    /// # Errors
    /// As [`Request::bytes`], and when it is not UTF-8.
    pub async fn text(&mut self) -> Result<String> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into()).map_err(|_| Error::protocol("the body is not UTF-8"))
    }

    /// As an [`http::Request`] of the same body, with the [`ConnInfo`] among its extensions. Its URI is the target.
    ///
    /// # Errors
    /// When the target is no URI as the `http` crate knows it.
    pub fn into_http(mut self) -> Result<http::Request<Body>> {
        let invalid = |error| Error::protocol("the target is no URI").with_source(error);
        let uri: http::Uri = self.target().parse().map_err(invalid)?;
        let body = self.take_body();
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method().clone();
        *request.uri_mut() = uri;
        *request.version_mut() = self.version().into();
        *request.headers_mut() = self.fields().to_header_map();
        if let Some(extra) = self.head.extra.take() {
            *request.extensions_mut() = extra.extensions;
        }
        if let Some(conn) = self.head.conn.take() {
            request.extensions_mut().insert(conn);
        }
        Ok(request)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No fields and no query: they may hold secrets.
        write!(f, "{} {}", self.method(), self.path())
    }
}

impl std::fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connection {} from {}", self.id(), self.peer())
    }
}
