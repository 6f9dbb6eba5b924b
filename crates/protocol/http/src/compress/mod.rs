//! Compressing responses for clients that ask for it: gzip, and with the features of the same names brotli and zstd.
//!
//! A response is compressed when its type shrinks (text, JSON, SVG, ...), it is not small, and nothing forbids it: a coding
//! it has already, `no-transform`, a part of a whole. Streams are compressed piece by piece and flushed whenever their
//! source pauses, so that server-sent events arrive as they are sent.
//!
//! HEAD is answered with the fields that GET would get, and a 304 with those of the 200 in its place, as far as that can be
//! told without the content: to HEAD its length and type are taken for it, so what would turn out not to shrink is called
//! coded as well; to a 304 the tag that the client named tells which it holds.

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
use crate::{Body, Handler, Headers, Request, Response};

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
        Wish {
            accepted: Accepted::of(request.fields()),
            is_head: *request.method() == Method::HEAD,
            known: request.fields().get_all("if-none-match").collect::<Vec<_>>().join(&b", "[..]),
            min_bytes: self.min_bytes,
        }
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
#[derive(Debug)]
struct Wish {
    accepted: Accepted,
    is_head: bool,
    /// The tags of If-None-Match, in a row.
    known: Vec<u8>,
    min_bytes: u64,
}

impl Wish {
    fn apply(&self, mut response: Response) -> Response {
        if response.status() == StatusCode::NOT_MODIFIED {
            return self.not_modified(response);
        }
        let length = self.length(&response);
        if length == Some(0) || !can_be_coded(&response) {
            return response;
        }
        // A client that refuses plain content gets it coded whatever it is.
        let must = !self.accepted.allows_identity();
        if !must && !is_worth_it(&response, length, self.min_bytes) {
            return response;
        }
        vary(&mut response);
        if response.body().is_empty() {
            return self.head(response);
        }
        match self.codings().find_map(|coding| Some((coding, Encoder::new(coding)?))) {
            Some((coding, encoder)) => self.encode(response, coding, encoder),
            None => response,
        }
    }

    /// What this build has of what the client wants, most wanted first.
    fn codings(&self) -> impl Iterator<Item = Coding> {
        self.accepted.ranked(Encoder::CODINGS).filter(|coding| Encoder::is_built(*coding))
    }

    /// How long the plain content is. To HEAD a handler may say so without giving it.
    fn length(&self, response: &Response) -> Option<u64> {
        let said = response.headers().get(&CONTENT_LENGTH).filter(|_| self.is_head);
        let said = said.and_then(|length| length.to_str().ok()?.parse().ok());
        if response.body().is_empty() { said.or(Some(0)) } else { response.body().len() }
    }

    /// The answer to HEAD without the content: how long it is when it is coded nobody knows (RFC 9110 §8.6).
    fn head(&self, mut response: Response) -> Response {
        let Some(coding) = self.codings().next() else { return response };
        describe(&mut response, coding);
        response.with_body(Body::from_fn(|| std::future::ready(None)))
    }

    /// A 304 has the tag that the 200 in its place would have (RFC 9110 §15.4.5).
    ///
    /// Whether that would be coded is not to be seen from a response without content, and seldom with a type. But the client
    /// tells: who names the weak tag was sent coded content, who names the strong one has it plain, as it was too small, of
    /// another type, or asked for so. Who names neither (`*`, a date) is answered by the type, or by Vary in its place.
    fn not_modified(&self, mut response: Response) -> Response {
        if is_fixed(&response) || self.codings().next().is_none() {
            return response;
        }
        let headers = response.headers();
        let Some(tag) = headers.get(&ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else {
            return response;
        };
        // Tags hold no quotes: found with theirs, it is all of one.
        let has = |tag: &[u8]| memchr::memmem::find(&self.known, tag).is_some();
        let is_coded = if has(tag.as_bytes()) {
            has(&[b"W/", tag.as_bytes()].concat())
        } else if headers.contains(&CONTENT_TYPE) {
            has_type_that_shrinks(&response)
        } else {
            has_token(&response, VARY, "accept-encoding")
        };
        if is_coded {
            vary(&mut response);
            take_back(response.headers_mut());
        }
        response
    }

    fn encode(&self, mut response: Response, coding: Coding, encoder: Encoder) -> Response {
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
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
        );
    has_content && !is_fixed(response) && response.upgrade.is_none()
}

/// Has its handler said how it is to go out?
fn is_fixed(response: &Response) -> bool {
    let headers = response.headers();
    headers.contains(&CONTENT_ENCODING)
        || headers.contains(&CONTENT_RANGE)
        || has_token(response, CACHE_CONTROL, "no-transform")
}

fn is_worth_it(response: &Response, length: Option<u64>, min_bytes: u64) -> bool {
    has_type_that_shrinks(response) && length.is_none_or(|length| length >= min_bytes)
}

fn has_type_that_shrinks(response: &Response) -> bool {
    let content_type = response.headers().get(&CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(is_compressible)
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

/// Says how it is coded.
fn describe(response: &mut Response, coding: Coding) {
    let headers = response.headers_mut();
    headers.set(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    take_back(headers);
}

/// Takes back what holds for the plain content only.
fn take_back(headers: &mut Headers) {
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
