//! What is known of one path: a handler for each method, what to say to other methods, the layers around it.

use std::sync::Arc;

use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use millstream_base::{Error, Result};

use super::endpoint::{BoxResponse, Endpoint};
use super::middleware::Middleware;
use crate::codec::RequestHead;
use crate::{Request, Response};

/// What is known of one path.
#[derive(Clone)]
pub(crate) struct Route {
    /// The pattern as matchit knows it.
    pub(crate) pattern: String,
    /// Outermost first: those of the outer router stand before those of a nested one.
    pub(crate) layers: Vec<Arc<dyn Middleware>>,
    pub(crate) max_body: Option<u64>,
    /// Does the handler see only the path below the pattern?
    pub(crate) is_mount: bool,
    methods: Vec<(Method, Endpoint)>,
    any: Option<Endpoint>,
    allow: HeaderValue,
}

impl Route {
    pub(crate) fn new(pattern: String) -> Self {
        Self {
            pattern,
            layers: Vec::new(),
            max_body: None,
            is_mount: false,
            methods: Vec::new(),
            any: None,
            allow: HeaderValue::from_static("OPTIONS"),
        }
    }

    /// A route that answers every method with this handler.
    pub(crate) fn of_any(pattern: String, endpoint: Endpoint) -> Self {
        Self { any: Some(endpoint), ..Self::new(pattern) }
    }

    pub(crate) fn with_layers(self, layers: &[Arc<dyn Middleware>]) -> Self {
        Self { layers: layers.to_vec(), ..self }
    }

    pub(crate) fn mounted(self) -> Self {
        Self { is_mount: true, ..self }
    }

    /// Is there nothing but the built-in 404?
    pub(crate) fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.any.is_none()
    }

    /// # Errors
    /// When the method has a handler already.
    pub(crate) fn add(&mut self, method: Option<Method>, endpoint: Endpoint) -> Result<()> {
        let name = method.as_ref().map_or("any method", Method::as_str).to_owned();
        let is_known = match &method {
            Some(method) => self.methods.iter().any(|(known, _)| known == method),
            None => self.any.is_some(),
        };
        if is_known {
            return Err(Error::invalid(format!("{name} {} has a handler already", self.pattern)));
        }
        match method {
            Some(method) => self.methods.push((method, endpoint)),
            None => self.any = Some(endpoint),
        }
        self.allow = self.allowed();
        Ok(())
    }

    /// Takes over the handlers of a route of the same path.
    ///
    /// # Errors
    /// When both have one for the same method.
    pub(crate) fn join(&mut self, other: &Route) -> Result<()> {
        for (method, endpoint) in &other.methods {
            self.add(Some(method.clone()), endpoint.clone())?;
        }
        other.any.iter().try_for_each(|endpoint| self.add(None, endpoint.clone()))
    }

    /// Gives every handler a name with the path as it is now.
    #[track_caller]
    pub(crate) fn rename(&mut self) {
        for (method, endpoint) in &mut self.methods {
            *endpoint = endpoint.renamed(&format!("{method} {}", self.pattern));
        }
        if let Some(endpoint) = &mut self.any {
            *endpoint = endpoint.renamed(&self.pattern);
        }
    }

    /// The methods for `Allow`, sorted: HEAD where GET is, OPTIONS always.
    fn allowed(&self) -> HeaderValue {
        let mut names: Vec<_> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        names.push("OPTIONS");
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.dedup();
        HeaderValue::try_from(names.join(", ")).expect("methods are tokens")
    }

    #[inline]
    fn endpoint(&self, method: &Method) -> Option<&Endpoint> {
        let of = |wanted: &Method| self.methods.iter().find(|(known, _)| known == wanted);
        let found = of(method).or_else(|| if *method == Method::HEAD { of(&Method::GET) } else { None });
        found.map(|(_, endpoint)| endpoint).or(self.any.as_ref())
    }

    /// The response to a request of this path, without the layers.
    pub(crate) fn answer(&self, request: Request) -> BoxResponse {
        match self.endpoint(request.method()) {
            Some(endpoint) => endpoint.call(request),
            None => Box::pin(std::future::ready(self.refuse(request.method()))),
        }
    }

    /// What is said without a handler: 404 when there is none at all, 204 to OPTIONS, else 405.
    fn refuse(&self, method: &Method) -> Response {
        if self.is_empty() {
            return Response::text("not found\n").with_status(StatusCode::NOT_FOUND);
        }
        let response = if *method == Method::OPTIONS {
            Response::new(StatusCode::NO_CONTENT)
        } else {
            Response::text("method not allowed\n").with_status(StatusCode::METHOD_NOT_ALLOWED)
        };
        response.with_header(ALLOW, self.allow.clone())
    }

    pub(crate) fn max_body(&self, head: &RequestHead) -> Option<u64> {
        self.endpoint(&head.method).and_then(|endpoint| endpoint.max_body(head)).or(self.max_body)
    }
}
