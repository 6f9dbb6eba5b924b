//! What stands between the server and a handler: sees each request before it and each response after it.

use std::pin::Pin;
use std::sync::Arc;

use super::endpoint::{BoxResponse, Endpoint};
use super::route::Route;
use crate::{Handler, IntoResponse, Request};

/// Sees each request before the handler and each response after it. Every `async fn(Request, Next)` that gives a
/// response is one.
///
/// ```
/// use millstream_http::router::{Next, Router};
/// use millstream_http::{Request, Response, StatusCode};
///
/// async fn only_known(request: Request, next: Next) -> Response {
///     match request.bearer() {
///         Some("secret") => next.run(request).await,
///         _ => Response::new(StatusCode::UNAUTHORIZED),
///     }
/// }
/// let router = Router::new().get("/", async |_: Request| "hello").layer(only_known);
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Answers, with or without asking `next`.
    fn call(&self, request: Request, next: Next) -> BoxResponse;
}

impl<F, Fut> Middleware for F
where
    F: Fn(Request, Next) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoResponse,
{
    fn call(&self, request: Request, next: Next) -> BoxResponse {
        let future = self(request, next);
        Box::pin(async move { future.await.into_response() })
    }
}

/// What comes after a middleware: the next one, or the handler.
pub struct Next(To);

enum To {
    /// The route's layer at this place, or its handler behind the last.
    Layer(Arc<Route>, usize),
    Endpoint(Endpoint),
}

impl Next {
    /// A handler behind a middleware without a router: for tests, and for middleware that wraps a handler.
    #[track_caller]
    pub fn new(handler: impl Handler) -> Self {
        Self(To::Endpoint(Endpoint::new("handler behind a middleware", handler)))
    }

    pub(crate) fn first(route: Arc<Route>) -> Self {
        Self(To::Layer(route, 0))
    }

    /// Goes on to the handler. Dropping the future drops the handler's.
    pub fn run(self, request: Request) -> Pin<Box<dyn Future<Output = crate::Response>>> {
        match self.0 {
            To::Endpoint(endpoint) => endpoint.call(request),
            To::Layer(route, at) => match route.layers.get(at) {
                Some(layer) => layer.call(request, Self(To::Layer(route.clone(), at + 1))),
                None => route.answer(request),
            },
        }
    }
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Next")
    }
}
