//! A `tower::Service` as a handler, so that an axum router, or whatever speaks tower, can be served or mounted.
//!
//! ```
//! use millstream_http::Router;
//! use millstream_http::tower::tower;
//!
//! let app = axum::Router::new().route("/hello", axum::routing::get(async || "hello from axum"));
//! let router = Router::new().fallback(tower(app));
//! ```
//!
//! Mounted below a prefix, the service sees the path below it, as a nested axum router does. Upgrades (WebSockets) of such
//! services are not carried over: they reach for the connection of the server they were written for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{StatusCode, Uri};
use millstream_base::BoxError;
use tower_service::Service;

use crate::{Body, Handler, IntoResponse, Request, Response};

/// A handler that asks a service which takes our [`Body`], as an axum router does.
pub fn tower<S>(service: S) -> TowerHandler<S, fn(Body) -> Body> {
    TowerHandler::new(service)
}

/// A handler that asks a `tower::Service`. It clones the service for each request, as the trait demands.
#[derive(Clone, Debug)]
pub struct TowerHandler<S, M> {
    service: S,
    map_body: M,
}

impl<S> TowerHandler<S, fn(Body) -> Body> {
    /// For a service that takes our [`Body`], or any.
    pub fn new(service: S) -> Self {
        Self { service, map_body: std::convert::identity }
    }
}

impl<S, M> TowerHandler<S, M> {
    /// For a service that takes a body type of its own, and a function that makes it of ours.
    pub fn with_body(service: S, map_body: M) -> Self {
        Self { service, map_body }
    }
}

impl<S, M, B, R> Handler for TowerHandler<S, M>
where
    M: Fn(Body) -> B + Send + Sync + 'static,
    S: Service<http::Request<B>, Response = http::Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: 'static,
    R: http_body::Body + Send + 'static,
    R::Data: Into<Bytes>,
    R::Error: Into<BoxError>,
{
    type Future = Asking<S, B>;

    fn call(&self, request: Request) -> Self::Future {
        let state = match into_http(request) {
            Ok(request) => State::Waiting { request: Some(request.map(&self.map_body)) },
            Err(response) => State::Refused { response: Some(response) },
        };
        Asking { service: self.service.clone(), state }
    }
}

/// The request as the service sees it: below the prefix that it is mounted at.
fn into_http(request: Request) -> Result<http::Request<Body>, Response> {
    let local = request.local_path();
    let uri = (local.len() != request.path().len()).then(|| {
        let query = request.query_str();
        let slash = if local.starts_with('/') { "" } else { "/" };
        let mark = if query.is_some() { "?" } else { "" };
        format!("{slash}{local}{mark}{}", query.unwrap_or_default())
    });
    let mut request = request.into_http().map_err(IntoResponse::into_response)?;
    if let Some(uri) = uri {
        *request.uri_mut() = uri
            .parse::<Uri>()
            .map_err(|_| Response::text("malformed path\n").with_status(StatusCode::BAD_REQUEST))?;
    }
    Ok(request)
}

pin_project_lite::pin_project! {
    /// The response of a service in the making.
    pub struct Asking<S, B>
    where
        S: Service<http::Request<B>>,
    {
        service: S,
        #[pin]
        state: State<B, S::Future>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProjection]
    enum State<B, F> {
        /// The service says when it is ready for a request.
        Waiting { request: Option<http::Request<B>> },
        Called { #[pin] future: F },
        Refused { response: Option<Response> },
    }
}

impl<S, B, R> Future for Asking<S, B>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Error: Into<BoxError>,
    R: http_body::Body + Send + 'static,
    R::Data: Into<Bytes>,
    R::Error: Into<BoxError>,
{
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let mut this = self.project();
        loop {
            let future = match this.state.as_mut().project() {
                StateProjection::Refused { response } => {
                    return Poll::Ready(response.take().expect("a future is not polled after its end"));
                }
                StateProjection::Called { future } => {
                    return Poll::Ready(match ready!(future.poll(cx)) {
                        Ok(response) => response.into_response(),
                        Err(error) => failed(error),
                    });
                }
                StateProjection::Waiting { request } => match ready!(this.service.poll_ready(cx)) {
                    Ok(()) => this.service.call(request.take().expect("taken once, when the state is left")),
                    Err(error) => return Poll::Ready(failed(error)),
                },
            };
            this.state.set(State::Called { future });
        }
    }
}

/// What went wrong inside is logged and not told.
fn failed(error: impl Into<BoxError>) -> Response {
    let error = error.into();
    tracing::warn!(%error, "a service failed");
    Response::new(StatusCode::INTERNAL_SERVER_ERROR)
}
