//! Compressing responses for clients that ask for it: gzip, and with the features of the same names brotli and zstd.
//!
//! A response is compressed when its type shrinks (text, JSON, SVG, ...), it is not small, and nothing forbids it: a coding
//! it has already, `no-transform`, a part of a whole. Streams are compressed piece by piece and flushed whenever their
//! source pauses, so that server-sent events arrive as they are sent.

mod body;
mod coding;
mod encoder;
mod media;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, VARY,
};
use http::{Method, StatusCode};

use self::body::CompressedBody;
pub(crate) use self::coding::{Accepted, Coding};
pub(crate) use self::encoder::Encoder;
pub(crate) use self::media::is_compressible;
use crate::codec::RequestHead;
use crate::router::{BoxResponse, Middleware, Next};
use crate::{Body, Handler, Request, Response};

/// Compresses responses for clients that ask for it. A layer of a [`Router`](crate::Router), or around any handler.
///
/// Don't put it around pages that show a secret beside text that the client chose: how well they compress tells the
/// secret to who watches the line (BREACH).
///
/// ```
/// use millstream_http::{Compress, Request, Router};
/// let router = Router::new().get("/", async |_: Request| "hello").layer(Compress::new());
/// let handler = Compress::new().wrap(async |_: Request| "hello");
/// ```
#[derive(Clone, Debug)]
pub struct Compress {
    min_bytes: u64,
}

/// Shorter bodies go out as they are: they fit in one packet either way.
pub const DEFAULT_MIN_BYTES: u64 = 1024;

impl Default for Compress {
    fn default() -> Self {
        Self { min_bytes: DEFAULT_MIN_BYTES }
    }
}

impl Compress {
    /// With the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The least length of a body, in bytes, that is compressed.
    #[must_use]
    pub fn with_min_bytes(mut self, bytes: u64) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// Around one handler.
    pub fn wrap<H: Handler>(self, handler: H) -> Compressed<H> {
        Compressed { compress: self, handler }
    }

    fn wish(&self, request: &Request) -> Wish {
        let is_head = *request.method() == Method::HEAD;
        Wish { accepted: Accepted::of(request.fields()), is_head, min_bytes: self.min_bytes }
    }
}

impl Middleware for Compress {
    fn call(&self, request: Request, next: Next) -> BoxResponse {
        let wish = self.wish(&request);
        Box::pin(Compressing { wish, future: next.run(request) })
    }
}

/// A handler whose responses are compressed. See [`Compress::wrap`].
#[derive(Clone, Debug)]
pub struct Compressed<H> {
    compress: Compress,
    handler: H,
}

impl<H: Handler> Handler for Compressed<H> {
    type Future = Compressing<H::Future>;

    fn call(&self, request: Request) -> Self::Future {
        Compressing { wish: self.compress.wish(&request), future: self.handler.call(request) }
    }

    fn max_body(&self, head: &RequestHead) -> Option<u64> {
        self.handler.max_body(head)
    }
}

pin_project_lite::pin_project! {
    /// A response in the making that will be compressed.
    pub struct Compressing<F> {
        wish: Wish,
        #[pin]
        future: F,
    }
}

impl<F: Future<Output = Response>> Future for Compressing<F> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let this = self.project();
        let response = ready!(this.future.poll(cx));
        Poll::Ready(this.wish.apply(response))
    }
}

/// What must be remembered of a request until its response is there.
#[derive(Clone, Copy, Debug)]
struct Wish {
    accepted: Accepted,
    is_head: bool,
    min_bytes: u64,
}

impl Wish {
    fn apply(self, mut response: Response) -> Response {
        if !can_be_coded(&response) {
            return response;
        }
        // A client that refuses plain content gets it coded whatever it is.
        let must = !self.accepted.allows_identity();
        if !must && !is_worth_it(&response, self.min_bytes) {
            return response;
        }
        vary(&mut response);
        // To HEAD the fields of the plain content are as true, and cost nothing.
        if self.is_head {
            return response;
        }
        let mut codings = self.accepted.ranked(Encoder::CODINGS);
        match codings.find_map(|coding| Some((coding, Encoder::new(coding)?))) {
            Some((coding, encoder)) => self.encode(response, coding, encoder),
            None => response,
        }
    }

    fn encode(self, mut response: Response, coding: Coding, encoder: Encoder) -> Response {
        let body = match std::mem::take(response.body_mut()).try_into_full() {
            Ok(bytes) if bytes.len() <= WHOLE_BYTES => match whole(&bytes, encoder) {
                Some(coded) if coded.len() < bytes.len() || !self.accepted.allows_identity() => {
                    Body::from(coded)
                }
                // It does not shrink.
                _ => return response.with_body(bytes),
            },
            Ok(bytes) => Body::stream(CompressedBody::new(bytes.into(), encoder)),
            Err(stream) => Body::stream(CompressedBody::new(stream, encoder)),
        };
        describe(&mut response, coding);
        response.with_body(body)
    }
}

/// Does nothing forbid it?
fn can_be_coded(response: &Response) -> bool {
    let status = response.status();
    let has_content = status.as_u16() >= 200
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    let headers = response.headers();
    let is_fixed = headers.contains(&CONTENT_ENCODING)
        || headers.contains(&CONTENT_RANGE)
        || has_token(response, CACHE_CONTROL, "no-transform");
    has_content && !is_fixed && !response.body().is_empty() && response.upgrade.is_none()
}

fn is_worth_it(response: &Response, min_bytes: u64) -> bool {
    let content_type = response.headers().get(&CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(is_compressible)
        && response.body().len().is_none_or(|length| length >= min_bytes)
}

/// Does a comma-separated field hold this token?
fn has_token(response: &Response, name: HeaderName, token: &str) -> bool {
    let values = response.headers().get_all(&name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Says that the response depends on Accept-Encoding, also where it was not coded: a cache must know.
fn vary(response: &mut Response) {
    if !has_token(response, VARY, "accept-encoding") && !has_token(response, VARY, "*") {
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Says how it is coded, and takes back what holds for the plain content only.
fn describe(response: &mut Response, coding: Coding) {
    let headers = response.headers_mut();
    headers.set(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(&CONTENT_LENGTH);
    // Ranges count bytes of the plain content.
    headers.remove(&ACCEPT_RANGES);
    // The bytes differ from those the tag stands for: equal in meaning only (RFC 9110 §8.8.1).
    if let Some(tag) = headers.get(&ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'))
        && let Ok(weak) = HeaderValue::try_from(format!("W/{tag}"))
    {
        headers.set(ETAG, weak);
    }
}

/// All of it at once.
fn whole(bytes: &Bytes, mut encoder: Encoder) -> Option<Vec<u8>> {
    encoder.write(bytes).ok()?;
    encoder.finish().ok()
}

/// Bodies up to this size are compressed before the head goes out, which can then say their length.
const WHOLE_BYTES: usize = 32 * 1024;
