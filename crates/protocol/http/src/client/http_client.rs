//! An HTTP client: URLs to replies.

use std::sync::Arc;

use http::Method;
use http::header::{ACCEPT_ENCODING, COOKIE, RANGE};
use millstream_base::{Deadline, Error, Result};
use millstream_client::upstream::Resolve;
use millstream_client::{Call, Client, Engine, PoolStats, Worker, now};

use super::request::ClientRequest;
use super::route::{Route, Routes};
use super::wire::{Http1, Sent, WireReply, WireRequest};
use super::{HttpClientBuilder, HttpClientOptions, RequestBuilder, Response, Url, decode, redirect};

/// An HTTP/1.1 client. Clones share connections; dropping the last one closes the idle ones.
///
/// It follows redirects, undoes compression, and uses the proxies of the environment, unless told otherwise. Its futures
/// are `Send` and work from any tokio runtime.
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
    routes: Routes,
    worker: Worker,
}

impl HttpClient {
    /// A client on this engine, with the defaults. It does not keep the engine alive.
    pub fn new(engine: &Engine) -> Self {
        Self::with_options(engine, HttpClientOptions::default())
    }

    /// Settings, to be changed.
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder::default()
    }

    /// A client with these settings.
    pub fn with_options(engine: &Engine, options: HttpClientOptions) -> Self {
        let lives = millstream_server::lives(engine);
        let client = Client::new(engine, lives, options.http.clone(), options.client.clone());
        Self::over(engine, client, options)
    }

    /// A client with these settings and another resolver of names.
    pub fn with_resolver(engine: &Engine, options: HttpClientOptions, resolver: Arc<dyn Resolve>) -> Self {
        let lives = millstream_server::lives(engine);
        let (http, general) = (options.http.clone(), options.client.clone());
        let client = Client::with_resolver(engine, lives, http, general, resolver);
        Self::over(engine, client, options)
    }

    fn over(engine: &Engine, client: Client<Http1>, options: HttpClientOptions) -> Self {
        let routes = Routes::new(&options);
        let worker = engine.workers()[0].clone();
        Self(Arc::new(Inner { client, options, routes, worker }))
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

    /// Opens connections to the server of this URL ahead of need, until there are `count`, and gives how many it opened: TLS and
    /// proxies included, no request is sent. See [`Client::prewarm`] for where it stops.
    ///
    /// # Errors
    /// When the URL is no good, or a connection can't be opened; those before it stay.
    pub async fn prewarm<U: TryInto<Url, Error: Into<Error>>>(&self, url: U, count: usize) -> Result<usize> {
        let route = self.0.routes.find(&url.try_into().map_err(Into::into)?)?;
        self.0.client.prewarm(&route.target, count).await
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.0.worker
    }

    /// A request with this method.
    #[track_caller]
    pub fn request<U>(&self, method: Method, url: U) -> RequestBuilder
    where
        U: TryInto<Url, Error: Into<Error>>,
    {
        RequestBuilder::new(self.clone(), method, url.try_into().map_err(Into::into))
    }

    /// A GET request.
    #[track_caller]
    pub fn get<U: TryInto<Url, Error: Into<Error>>>(&self, url: U) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    #[track_caller]
    pub fn head<U: TryInto<Url, Error: Into<Error>>>(&self, url: U) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    #[track_caller]
    pub fn post<U: TryInto<Url, Error: Into<Error>>>(&self, url: U) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    #[track_caller]
    pub fn put<U: TryInto<Url, Error: Into<Error>>>(&self, url: U) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    #[track_caller]
    pub fn patch<U: TryInto<Url, Error: Into<Error>>>(&self, url: U) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    #[track_caller]
    pub fn delete<U: TryInto<Url, Error: Into<Error>>>(&self, url: U) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Sends a request, follows where it leads, and gives the reply.
    pub(crate) async fn execute(&self, request: ClientRequest) -> Result<Response> {
        let options = &self.0.options;
        let ClientRequest { mut url, mut wire, timeout, total_timeout } = request;
        let mut call = Call::new();
        call.timeout = timeout;
        wire.whole_by = total_timeout.map(|span| Deadline::after(now(), span));
        call.deadline = wire.whole_by;
        wire.accepts_coding = options.decompresses
            && !wire.headers.contains(&ACCEPT_ENCODING)
            && !wire.headers.contains(&RANGE);
        let decodes = wire.accepts_coding;
        let mut method = wire.method.clone();
        let mut reply = self.exchange(&url, wire, call).await?;
        if let Some(sent) = reply.sent.take()
            && options.max_redirects > 0
        {
            (reply, method, url) = Box::pin(self.follow(sent, reply, url)).await?;
        }
        if decodes {
            reply.body = decode::decode(&mut reply.head, reply.body, options.max_decompression_ratio);
        }
        Ok(Response::new(reply, method, url, options.max_body))
    }

    /// One request, one reply.
    #[inline]
    async fn exchange(&self, url: &Url, mut wire: Box<WireRequest>, call: Call) -> Result<WireReply> {
        let Inner { client, options, routes, .. } = &*self.0;
        let method = wire.method.clone();
        let route: Route = routes.find(url).map_err(|error| error.for_target(url.called(&method)))?;
        let named = |error: Error| error.for_target(route.called(&method, url));
        route.address(&mut wire, url);
        let Some(jar) = &options.cookies else {
            return client.call(&route.target, wire, call).await.map_err(named);
        };
        // A Cookie field of the caller's own is the whole truth.
        if !wire.headers.contains(&COOKIE)
            && let Some(cookies) = jar.header(url)
        {
            wire.own.append(COOKIE, cookies);
        }
        let reply = client.call(&route.target, wire, call).await.map_err(named)?;
        jar.learn(url, &reply.head.fields);
        Ok(reply)
    }

    /// Goes where a redirect leads, and on, within the first call's deadline.
    async fn follow(
        &self,
        mut sent: Sent,
        mut reply: WireReply,
        mut url: Url,
    ) -> Result<(WireReply, Method, Url)> {
        let most = self.0.options.max_redirects;
        let (mut hops, mut method) = (0, sent.request.method.clone());
        while let Some(location) = redirect::location(reply.head.status, &reply.head.fields) {
            hops += 1;
            if hops > most {
                return Err(redirect::too_many(&method, &url, most));
            }
            url = redirect::turn(&mut sent, &url, reply.head.status, location)?;
            method = sent.request.method.clone();
            redirect::drain(reply.body, &self.0.worker, sent.deadline).await;
            let (mut request, deadline) = (sent.request, sent.deadline);
            request.own = crate::Headers::new();
            reply = self.exchange(&url, request, Call::new().with_deadline(deadline)).await?;
            match reply.sent.take() {
                Some(next) => sent = next,
                None => break,
            }
        }
        Ok((reply, method, url))
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}
