//! What answers a request.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::{IntoResponse, Request, Response};
use crate::codec::RequestHead;

/// What answers a request. Every `Fn(Request) -> impl Future<Output = impl IntoResponse>` is one.
///
/// The future stays on the worker where the request arrived and need not be `Send`. It is dropped when the client goes
/// away, unless [`HttpOptions::finish_abandoned`](super::HttpOptions::finish_abandoned) is set.
pub trait Handler: Send + Sync + 'static {
    /// The answer in the making.
    type Future: Future<Output = Response> + 'static;

    /// Begins to answer.
    fn call(&self, request: Request) -> Self::Future;

    /// The most a body may be for this request, if it differs from the server's limit. Asked before the body is read.
    fn max_body(&self, _head: &RequestHead) -> Option<u64> {
        None
    }
}

impl<F, Fut> Handler for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoResponse,
{
    type Future = Answer<Fut>;

    #[inline]
    fn call(&self, request: Request) -> Self::Future {
        Answer { future: self(request) }
    }
}

pin_project_lite::pin_project! {
    /// The future of a handler that is a function.
    pub struct Answer<Fut> {
        #[pin]
        future: Fut,
    }
}

impl<Fut> Future for Answer<Fut>
where
    Fut: Future,
    Fut::Output: IntoResponse,
{
    type Output = Response;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.project().future.poll(cx).map(IntoResponse::into_response)
    }
}
