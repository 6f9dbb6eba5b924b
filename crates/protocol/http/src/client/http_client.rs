//! An HTTP client: URLs to replies.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use http::Method;
use millstream_base::{Error, Result};
use millstream_client::{Call, Client, Engine, PoolStats, Target};
use millstream_transport::tls::TlsClient;

use super::origin::Scheme;
use super::request::ClientRequest;
use super::wire::{Http1, WireRequest};
use super::{HttpClientOptions, RequestBuilder, Response, Url};

/// An HTTP/1.1 client. Clones share connections; dropping the last one closes the idle ones.
///
/// ```no_run
/// use millstream_http::HttpClient;
/// use millstream_server::Engine;
///
/// let engine = Engine::builder().build()?;
/// let text = engine.run(async |engine| {
///     HttpClient::new(&engine).get("http://127.0.0.1:8080/").send().await?.text().await
/// })??;
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    client: Client<Http1>,
    options: HttpClientOptions,
    /// TLS as the options say, made when it is first needed: reading the system's roots takes milliseconds.
    tls: OnceLock<TlsClient>,
    /// Targets by origin, so that a call makes none anew.
    targets: RwLock<HashMap<Box<str>, Target>>,
}

/// Origins remembered at most; beyond that the table starts anew.
const MOST_TARGETS: usize = 10_000;

impl HttpClient {
    /// A client on this engine, with the defaults. It does not keep the engine alive.
    pub fn new(engine: &Engine) -> Self {
        Self::with_options(engine, HttpClientOptions::default())
    }

    /// A client with these settings.
    pub fn with_options(engine: &Engine, options: HttpClientOptions) -> Self {
        let lives = millstream_server::lives(engine);
        let client = Client::new(engine, lives, options.http.clone(), options.client.clone());
        Self(Arc::new(Inner { client, options, tls: OnceLock::new(), targets: RwLock::default() }))
    }

    /// The settings.
    pub fn options(&self) -> &HttpClientOptions {
        &self.0.options
    }

    /// The pool's numbers, over all targets.
    pub fn pool_stats(&self) -> PoolStats {
        self.0.client.pool_stats()
    }

    /// Closes all idle connections now; those in use as they come back.
    pub fn close_idle(&self) {
        self.0.client.close_idle();
    }

    /// A request with this method.
    pub fn request<U>(&self, method: Method, url: U) -> RequestBuilder
    where
        U: TryInto<Url, Error = Error>,
    {
        RequestBuilder::new(self.clone(), method, url.try_into())
    }

    /// A GET request.
    pub fn get<U: TryInto<Url, Error = Error>>(&self, url: U) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head<U: TryInto<Url, Error = Error>>(&self, url: U) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post<U: TryInto<Url, Error = Error>>(&self, url: U) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put<U: TryInto<Url, Error = Error>>(&self, url: U) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch<U: TryInto<Url, Error = Error>>(&self, url: U) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete<U: TryInto<Url, Error = Error>>(&self, url: U) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Sends a request and gives its reply.
    pub(crate) async fn execute(&self, request: ClientRequest) -> Result<Response> {
        let ClientRequest { method, url, headers, body, timeout, is_idempotent } = request;
        let target = self.target(&url)?;
        let mut wire = WireRequest::new(method, url.target(), url.origin().host_field().clone());
        (wire.headers, wire.body, wire.is_idempotent) = (headers, body, is_idempotent);
        let mut call = Call::new();
        call.timeout = timeout;
        let reply = self.0.client.call(&target, wire, call).await?;
        Ok(Response::new(reply, url, self.0.options.max_body))
    }

    /// Where a URL's connections go.
    fn target(&self, url: &Url) -> Result<Target> {
        let key = url.origin().key();
        let known = self.0.targets.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(target) = known {
            return Ok(target);
        }
        let mut target = Target::host(url.host(), url.port());
        if url.origin().scheme() == Scheme::Https {
            target = target.with_tls(self.tls()?, url.host());
        }
        let mut targets = self.0.targets.write().unwrap_or_else(PoisonError::into_inner);
        if targets.len() >= MOST_TARGETS {
            targets.clear();
        }
        targets.insert(key.into(), target.clone());
        Ok(target)
    }

    fn tls(&self) -> Result<TlsClient> {
        if let Some(tls) = &self.0.options.tls {
            return Ok(tls.clone());
        }
        if let Some(tls) = self.0.tls.get() {
            return Ok(tls.clone());
        }
        let made = TlsClient::builder().with_alpn(["http/1.1"]).build()?;
        Ok(self.0.tls.get_or_init(|| made).clone())
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}
