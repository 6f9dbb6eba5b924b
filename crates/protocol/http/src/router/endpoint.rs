//! A handler behind a pointer, and the limit on its body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use millstream_server::{Label, note};

use crate::codec::RequestHead;
use crate::{Handler, Request, Response};

/// A response in the making, of whatever handler.
pub type BoxResponse = Pin<Box<dyn Future<Output = Response>>>;

/// A handler whose type is forgotten, and the name it runs under.
#[derive(Clone)]
pub(crate) struct Endpoint {
    label: Label,
    handler: Arc<dyn Erased>,
}

impl Endpoint {
    #[track_caller]
    pub(crate) fn new(name: &str, handler: impl Handler) -> Self {
        Self { label: Label::new(name), handler: Arc::new(handler) }
    }

    /// The same handler under another name.
    #[track_caller]
    pub(crate) fn renamed(&self, name: &str) -> Self {
        Self { label: Label::new(name), handler: self.handler.clone() }
    }

    #[inline]
    pub(crate) fn call(&self, request: Request) -> BoxResponse {
        self.handler.call(self.label, request)
    }

    pub(crate) fn max_body(&self, head: &RequestHead) -> Option<u64> {
        self.handler.max_body(head)
    }
}

trait Erased: Send + Sync {
    fn call(&self, label: Label, request: Request) -> BoxResponse;
    fn max_body(&self, head: &RequestHead) -> Option<u64>;
}

impl<H: Handler> Erased for H {
    fn call(&self, label: Label, request: Request) -> BoxResponse {
        // A handler may work before it gives its future.
        note(label);
        Box::pin(Labelled { label, future: Handler::call(self, request) })
    }

    fn max_body(&self, head: &RequestHead) -> Option<u64> {
        Handler::max_body(self, head)
    }
}

pin_project_lite::pin_project! {
    /// Says at each poll whose it is, so that the report of a blocked worker names the route.
    struct Labelled<F> {
        label: Label,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Labelled<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        note(*this.label);
        this.future.poll(cx)
    }
}

/// A handler with its own limit on the request's body; see [`with_max_body`] and [`streamed`].
#[derive(Clone, Debug)]
pub struct MaxBody<H> {
    bytes: u64,
    handler: H,
}

/// The handler, with bodies of at most so many bytes whatever the server's limit is.
///
/// ```
/// use millstream_http::{Request, Response, Router, router::with_max_body};
/// let upload = async |mut request: Request| request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()));
/// let router = Router::new().post("/upload", with_max_body(1 << 30, upload));
/// ```
pub fn with_max_body<H: Handler>(bytes: u64, handler: H) -> MaxBody<H> {
    MaxBody { bytes, handler }
}

/// The handler, with bodies of any length: for one that reads piece by piece, as memory allows.
pub fn streamed<H: Handler>(handler: H) -> MaxBody<H> {
    MaxBody { bytes: u64::MAX, handler }
}

impl<H: Handler> Handler for MaxBody<H> {
    type Future = H::Future;

    fn call(&self, request: Request) -> H::Future {
        self.handler.call(request)
    }

    fn max_body(&self, _head: &RequestHead) -> Option<u64> {
        Some(self.bytes)
    }
}
