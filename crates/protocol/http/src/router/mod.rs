//! Path and method to handler.
//!
//! | you want | you write |
//! | --- | --- |
//! | a handler for a method and a path | [`Router::get`], [`Router::post`], ..., [`Router::route`], [`Router::any`] |
//! | a part of the path | `/users/{id}`, then [`Request::param`]; `/files/{*rest}` for all that follows |
//! | routes under a prefix | [`Router::nest`] |
//! | a handler that sees only the path below its prefix | [`Router::mount`], then [`Request::local_path`] |
//! | what to say to unknown paths | [`Router::fallback`] |
//! | something around all of it | [`Router::layer`] |
//! | larger bodies for one route | [`with_max_body`], [`streamed`] |
//!
//! A path is matched as it came, still percent-encoded; parameters are decoded. HEAD is answered by the handler of GET,
//! OPTIONS with the methods there are, other methods with 405.

mod endpoint;
mod middleware;
mod mount;
mod route;
mod table;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, StatusCode};
use millstream_base::{Error, Result};

use self::endpoint::Endpoint;
use self::mount::MountedAt;
use self::route::Route;
use self::table::{Found, Miss, Table};
use crate::codec::RequestHead;
use crate::{Handler, Request, Response};

pub use self::endpoint::{BoxResponse, MaxBody, streamed, with_max_body};
pub use self::middleware::{Middleware, Next};

/// Path and method to handler. It is a [`Handler`] itself.
///
/// State is what a handler's closure captures.
///
/// ```
/// use millstream_http::{Request, Response, Router};
///
/// let router = Router::new()
///     .get("/", async |_: Request| "hello")
///     .get("/users/{id}", async |request: Request| {
///         format!("user {}", request.param("id").unwrap_or_default())
///     })
///     .nest("/api", Router::new().post("/echo", async |mut request: Request| request.bytes().await));
/// ```
pub struct Router {
    paths: Table,
    /// What nested routers say to paths they don't know.
    fallbacks: Table,
    fallback: Arc<Route>,
    layers: Vec<Arc<dyn Middleware>>,
    max_body: Option<u64>,
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! method_routes {
    ($($name:ident $method:ident),+) => {$(
        #[doc = concat!("Answers ", stringify!($method), " on this path. See [`Router::route`].")]
        #[track_caller]
        #[must_use]
        pub fn $name(self, path: &str, handler: impl Handler) -> Self {
            self.route(Method::$method, path, handler)
        }
    )+};
}

impl Router {
    /// A router that answers everything with 404.
    pub fn new() -> Self {
        Self {
            paths: Table::default(),
            fallbacks: Table::default(),
            fallback: Arc::new(Route::new("fallback".to_owned())),
            layers: Vec::new(),
            max_body: None,
        }
    }

    method_routes!(get GET, post POST, put PUT, patch PATCH, delete DELETE, head HEAD, options OPTIONS);

    /// Answers this method on this path.
    ///
    /// # Panics
    /// Where [`Router::try_route`] fails: a mistake in the program, best found when it starts.
    #[track_caller]
    #[must_use]
    pub fn route(self, method: Method, path: &str, handler: impl Handler) -> Self {
        or_panic(self.try_route(method, path, handler))
    }

    /// Answers this method on this path.
    ///
    /// # Errors
    /// When the path is malformed, or the route conflicts with another.
    #[track_caller]
    pub fn try_route(mut self, method: Method, path: &str, handler: impl Handler) -> Result<Self> {
        let endpoint = Endpoint::new(&format!("{method} {path}"), handler);
        self.add(path, Some(method), endpoint)?;
        Ok(self)
    }

    /// Answers all methods on this path that have no handler of their own.
    ///
    /// # Panics
    /// When the path is malformed, or the route conflicts with another.
    #[track_caller]
    #[must_use]
    pub fn any(mut self, path: &str, handler: impl Handler) -> Self {
        or_panic(self.add(path, None, Endpoint::new(path, handler)));
        self
    }

    fn add(&mut self, path: &str, method: Option<Method>, endpoint: Endpoint) -> Result<()> {
        let layers = &self.layers;
        let make = || Route::new(path.to_owned()).with_layers(layers);
        self.paths.entry(path, make)?.add(method, endpoint)
    }

    /// Gives a handler everything at and below a prefix, whatever the method. It finds the path below the prefix in
    /// [`Request::local_path`], as [`Files`](crate::Files) does.
    ///
    /// # Panics
    /// Where [`Router::try_mount`] fails.
    #[track_caller]
    #[must_use]
    pub fn mount(self, prefix: &str, handler: impl Handler) -> Self {
        or_panic(self.try_mount(prefix, handler))
    }

    /// Gives a handler everything at and below a prefix. For a [`Router`] use [`Router::nest`]: it is faster, and keeps
    /// the limits that routes set on bodies.
    ///
    /// # Errors
    /// When the prefix is malformed, or another route lies there.
    #[track_caller]
    pub fn try_mount(mut self, prefix: &str, handler: impl Handler) -> Result<Self> {
        let endpoint = Endpoint::new(prefix, handler);
        for pattern in mount::patterns(prefix) {
            let make = || Route::new(pattern.clone()).with_layers(&self.layers).mounted();
            self.paths.entry(&pattern, make)?.add(None, endpoint.clone())?;
        }
        Ok(self)
    }

    /// Takes over all routes of another router, under a prefix. Its layers stay around its routes only; its fallback, if
    /// set, answers what lies under the prefix. Its `/` answers the prefix both with and without a slash behind it.
    ///
    /// # Panics
    /// Where [`Router::try_nest`] fails.
    #[track_caller]
    #[must_use]
    pub fn nest(self, prefix: &str, router: Router) -> Self {
        or_panic(self.try_nest(prefix, router))
    }

    /// Takes over all routes of another router, under a prefix.
    ///
    /// # Errors
    /// When the prefix is malformed, or a route conflicts with another.
    #[track_caller]
    pub fn try_nest(mut self, prefix: &str, router: Router) -> Result<Self> {
        let prefix = mount::trim_prefix(prefix);
        for route in router.paths.routes() {
            let pattern = format!("{prefix}{}", route.pattern);
            if route.pattern == "/" && !prefix.is_empty() {
                adopt(&mut self.paths, route, prefix.to_owned(), &self.layers, router.max_body)?;
            }
            adopt(&mut self.paths, route, pattern, &self.layers, router.max_body)?;
        }
        for route in router.fallbacks.routes() {
            let pattern = format!("{prefix}{}", route.pattern);
            adopt(&mut self.fallbacks, route, pattern, &self.layers, router.max_body)?;
        }
        if !router.fallback.is_empty() {
            for pattern in mount::patterns(prefix) {
                let route = Route::clone(&router.fallback).mounted();
                adopt(&mut self.fallbacks, &route, pattern, &self.layers, router.max_body)?;
            }
        }
        Ok(self)
    }

    /// Answers what no route matches; by default that is a 404.
    #[track_caller]
    #[must_use]
    pub fn fallback(mut self, handler: impl Handler) -> Self {
        let route = Route::of_any("fallback".to_owned(), Endpoint::new("fallback", handler));
        self.fallback = Arc::new(route.with_layers(&self.layers));
        self
    }

    /// Puts a middleware around everything this router answers, its 404 and 405 too, whether it was added before or is
    /// added later. The first layer is the outermost: it sees a request first and its response last.
    #[must_use]
    pub fn layer(mut self, middleware: impl Middleware) -> Self {
        let middleware: Arc<dyn Middleware> = Arc::new(middleware);
        let at = self.layers.len();
        let fallback = std::iter::once(Arc::make_mut(&mut self.fallback));
        for route in self.paths.routes_mut().chain(self.fallbacks.routes_mut()).chain(fallback) {
            // Before the layers that nested routers brought along.
            route.layers.insert(at, middleware.clone());
        }
        self.layers.push(middleware);
        self
    }

    /// The most a body may be on routes that say nothing of it themselves; by default the server's limit.
    #[must_use]
    pub fn with_max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// The route of a path, or of what answers unknown ones.
    #[inline]
    fn find(&self, path: &str) -> Result<Found<'_>, Miss> {
        match self.paths.find(path) {
            Err(Miss::Unknown) => match self.fallbacks.find(path) {
                Err(Miss::Unknown) => {
                    Ok(Found { route: &self.fallback, params: Vec::new(), mounted_at: None })
                }
                other => other,
            },
            other => other,
        }
    }

    fn dispatch(&self, mut request: Request) -> Result<BoxResponse, Response> {
        let path = request.local_path();
        let offset = request.path().len() - path.len();
        if path == "*" {
            return Err(Response::new(StatusCode::NO_CONTENT));
        }
        let Found { route, params, mounted_at } = self.find(path).map_err(|_| {
            Response::text("a part of the path is not UTF-8\n").with_status(StatusCode::BAD_REQUEST)
        })?;
        if !params.is_empty() {
            request.set_params(params);
        }
        if let Some(at) = mounted_at {
            request.extensions_mut().insert(MountedAt(offset + at));
        }
        if route.layers.is_empty() {
            Ok(route.answer(request))
        } else {
            Ok(Next::first(route.clone()).run(request))
        }
    }
}

/// Takes over a nested router's route under its new pattern.
#[track_caller]
fn adopt(
    table: &mut Table,
    route: &Route,
    pattern: String,
    layers: &[Arc<dyn Middleware>],
    max_body: Option<u64>,
) -> Result<()> {
    let mut adopted = route.clone();
    adopted.pattern = pattern.clone();
    adopted.max_body = route.max_body.or(max_body);
    adopted.layers.splice(0..0, layers.iter().cloned());
    adopted.rename();
    let mut adopted = Some(adopted);
    let known = table.entry(&pattern, || adopted.take().expect("taken once, here"))?;
    match adopted {
        None => Ok(()),
        // Both routers know this path: they agree only if nothing but the handlers differs.
        Some(other) if same_layers(&known.layers, &other.layers) && known.is_mount == other.is_mount => {
            known.join(&other)
        }
        Some(_) => Err(Error::invalid(format!("route {pattern} is there already, under other layers"))),
    }
}

fn same_layers(left: &[Arc<dyn Middleware>], right: &[Arc<dyn Middleware>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
}

#[track_caller]
fn or_panic<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

impl Handler for Router {
    type Future = Routed;

    #[inline]
    fn call(&self, request: Request) -> Routed {
        Routed(match self.dispatch(request) {
            Ok(future) => State::Running(future),
            Err(response) => State::Ready(Some(response)),
        })
    }

    fn max_body(&self, head: &RequestHead) -> Option<u64> {
        if head.framing.is_empty() {
            return None;
        }
        let found = self.find(head.path()).ok()?;
        found.route.max_body(head).or(self.max_body)
    }
}

/// The response of a [`Router`] in the making.
pub struct Routed(State);

enum State {
    Ready(Option<Response>),
    Running(BoxResponse),
}

impl Future for Routed {
    type Output = Response;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match &mut self.0 {
            State::Ready(response) => {
                Poll::Ready(response.take().expect("a future is not polled after its end"))
            }
            State::Running(future) => future.as_mut().poll(cx),
        }
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.paths.routes().map(|route| &route.pattern)).finish()
    }
}
