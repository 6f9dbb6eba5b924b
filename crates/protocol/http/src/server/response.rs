//! A response as a handler makes it.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use millstream_base::{Error, Kind, Origin};

use super::upgrade::{OnUpgrade, Upgraded};
use crate::extract::Rejection;
use crate::message::Blame;
use crate::{Body, Headers};

/// A response as a handler makes it. What frames it (Content-Length, Transfer-Encoding, Connection, Date) is added by
/// the server and taken out where a handler sets it by mistake.
///
/// ```
/// use millstream_http::{Response, StatusCode};
/// let response = Response::text("not here").with_status(StatusCode::NOT_FOUND);
/// assert_eq!(response.status(), StatusCode::NOT_FOUND);
/// ```
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) closes: bool,
}

impl Response {
    /// An empty response with this status.
    #[inline]
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: Headers::new(), body: Body::empty(), upgrade: None, closes: false }
    }

    /// 200 with this body and no Content-Type.
    #[inline]
    pub fn bytes(body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..Self::new(StatusCode::OK) }
    }

    /// 200 with plain text.
    #[inline]
    pub fn text(body: impl Into<Body>) -> Self {
        Self::bytes(body).with_type(&PLAIN)
    }

    /// 200 with HTML.
    pub fn html(body: impl Into<Body>) -> Self {
        Self::bytes(body).with_type(&HTML)
    }

    /// 200 with JSON. A value that can't be JSON (a map with keys that are no strings) becomes a 500.
    pub fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self::bytes(bytes).with_type(&JSON),
            Err(error) => {
                tracing::error!(%error, "a response can't be made JSON");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// 303: the client gets `location` next. A location that can't be a field value becomes a 500.
    pub fn see_other(location: &str) -> Self {
        match HeaderValue::from_str(location) {
            Ok(value) => Self::new(StatusCode::SEE_OTHER).with_header(LOCATION, value),
            Err(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Switches to another protocol: sends 101 (to CONNECT: 200) with the fields set here, then hands the raw connection
    /// to `run`, on the same worker.
    ///
    /// A client that did not ask for an upgrade gets a 426 instead.
    pub fn upgrade<F, Fut>(run: F) -> Self
    where
        F: FnOnce(Upgraded) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let mut response = Self::new(StatusCode::SWITCHING_PROTOCOLS);
        response.upgrade = Some(OnUpgrade::new(run));
        response
    }

    /// With this status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With this field; others of that name are replaced.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.set(name, value);
        self
    }

    #[inline]
    fn with_type(mut self, value: &'static HeaderValue) -> Self {
        self.headers.set_media(value);
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Closes the connection after this response.
    #[must_use]
    pub fn with_close(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The fields, to change.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The body, to change.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }
}

static PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
static HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
static JSON: HeaderValue = HeaderValue::from_static("application/json");
static OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What can be a response: the output of a handler.
pub trait IntoResponse {
    /// Makes it one.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    #[inline]
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::new(self)
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(StatusCode::NO_CONTENT)
    }
}

macro_rules! text_into_response {
    ($($text:ty),+) => {$(
        impl IntoResponse for $text {
            fn into_response(self) -> Response {
                Response::text(self)
            }
        }
    )+};
}

text_into_response!(&'static str, String);

macro_rules! bytes_into_response {
    ($($bytes:ty),+) => {$(
        impl IntoResponse for $bytes {
            fn into_response(self) -> Response {
                Response::bytes(self).with_type(&OCTETS)
            }
        }
    )+};
}

bytes_into_response!(Bytes, Vec<u8>, &'static [u8]);

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Response {
        self.1.into_response().with_status(self.0)
    }
}

impl IntoResponse for Error {
    /// A client's fault is told to it; what went wrong inside, or with somebody else that the error names (an upstream: it has
    /// a target), is logged and not told.
    fn into_response(self) -> Response {
        if let Some(rejection) =
            std::error::Error::source(&self).and_then(|source| source.downcast_ref::<Rejection>())
        {
            return rejection.response();
        }
        if let Some((status, reason)) = Blame::of(&self) {
            return Response::text(reason).with_status(status);
        }
        let is_upstream = self.target().is_some() && self.origin() != Origin::Caller;
        let status = match self.kind() {
            Kind::Timeout if is_upstream => StatusCode::GATEWAY_TIMEOUT,
            Kind::Limit | Kind::Protocol | Kind::Policy if is_upstream => StatusCode::BAD_GATEWAY,
            Kind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Protocol | Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Policy => StatusCode::FORBIDDEN,
            Kind::Timeout if self.origin() == Origin::Peer => StatusCode::REQUEST_TIMEOUT,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Connect | Kind::Resolve | Kind::Closed | Kind::Reset | Kind::Tls => StatusCode::BAD_GATEWAY,
            Kind::PortsExhausted => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::warn!(error = %self, "a handler failed");
            return Response::new(status);
        }
        Response::text(self.message().to_owned()).with_status(status)
    }
}

impl<B> IntoResponse for http::Response<B>
where
    B: http_body::Body + Send + 'static,
    B::Data: Into<Bytes>,
    B::Error: Into<millstream_base::BoxError>,
{
    fn into_response(self) -> Response {
        let (parts, body) = self.into_parts();
        let headers: HeaderMap = parts.headers;
        let mut response = Response::new(parts.status).with_body(Body::wrap(body));
        response.headers = headers.into();
        response
    }
}
