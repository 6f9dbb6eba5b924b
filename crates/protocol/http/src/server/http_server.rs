//! An HTTP server: bind, options, serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use millstream_base::{Result, panic_text};
use millstream_server::{Engine, Protocol, Running, Server, ServerOptions, Session};
use millstream_transport::tls::TlsServer;
use millstream_transport::{Cause, Conn, ListenAddr};

use super::serve::Serve;
use super::stats::{Event, Stats};
use super::{Handler, HttpOptions, Response};

/// An HTTP/1 server that is about to listen.
///
/// ```no_run
/// use millstream_http::{HttpServer, Request, Response};
/// use millstream_server::Engine;
///
/// let engine = Engine::builder().build()?;
/// let server = HttpServer::new(&engine).bind("127.0.0.1:8080")?;
/// let running = server.serve(async |_: Request| Response::text("hello"))?;
/// println!("listening on {}", running.local_addr());
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpServer {
    engine: Engine,
    server: ServerOptions,
    http: HttpOptions,
}

/// An HTTP/1 server that listens and does not serve yet.
#[derive(Debug)]
pub struct BoundHttpServer {
    engine: Engine,
    server: Server,
    http: HttpOptions,
}

impl HttpServer {
    /// A server on this engine, with the defaults.
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), server: ServerOptions::default(), http: HttpOptions::default() }
    }

    /// With these settings of any server.
    #[must_use]
    pub fn with_options(mut self, options: ServerOptions) -> Self {
        self.server = options;
        self
    }

    /// With these settings of HTTP.
    #[must_use]
    pub fn with_http(mut self, options: HttpOptions) -> Self {
        self.http = options;
        self
    }

    /// Speaks TLS. [`ALPN`](super::ALPN) names the protocols to accept.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsServer) -> Self {
        self.server.tls = Some(tls);
        self
    }

    /// Changes single settings of HTTP.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut HttpOptions)) -> Self {
        change(&mut self.http);
        self
    }

    /// Open connections at most.
    #[must_use]
    pub fn with_max_connections(mut self, most: usize) -> Self {
        self.server.max_connections = most;
        self
    }

    /// How long an idle connection is kept; announced to clients, acted on one second later.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.server.idle_timeout = timeout;
        self
    }

    /// Makes a value for each connection when it opens; handlers find it with
    /// [`Request::context`](super::Request::context).
    #[must_use]
    pub fn with_context<T: Send + Sync + 'static>(
        mut self,
        make: impl Fn(&Conn) -> T + Send + Sync + 'static,
    ) -> Self {
        self.server.context = Some(Arc::new(move |conn| Arc::new(make(conn))));
        self
    }

    /// Listens on `host:port` (an address, not a name) or `unix:/path`.
    ///
    /// # Errors
    /// When the address makes no sense, or what the operating system said of it.
    pub fn bind(self, address: &str) -> Result<BoundHttpServer> {
        let address: ListenAddr = address.parse()?;
        let server = Server::bind(&self.engine, &address, self.server)?;
        Ok(BoundHttpServer { engine: self.engine, server, http: self.http })
    }
}

impl BoundHttpServer {
    /// Where it listens: the real port when 0 was asked for.
    pub fn local_addr(&self) -> &millstream_transport::Addr {
        self.server.local_addr()
    }

    /// Serves until the engine drains or the returned handle says stop.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn serve(self, handler: impl Handler) -> Result<Running> {
        let address = self.server.local_addr().to_string();
        self.server.serve(HttpProtocol::new(&self.engine, &address, self.http, handler))
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// HTTP/1 as a protocol of a [`Server`].
pub struct HttpProtocol<H>(Arc<Shared<H>>);

/// What all connections of one HTTP server share.
pub(crate) struct Shared<H> {
    /// Never used twice in a process.
    pub(crate) id: u64,
    pub(crate) handler: H,
    pub(crate) options: HttpOptions,
    pub(crate) stats: Arc<Stats>,
}

impl<H: Handler> HttpProtocol<H> {
    /// HTTP/1 with this handler; `address` names it in metrics.
    pub fn new(engine: &Engine, address: &str, options: HttpOptions, handler: H) -> Self {
        let stats = Stats::register(engine, address.to_owned());
        let id = NEXT_ID.fetch_add(1, Relaxed);
        Self(Arc::new(Shared { id, handler, options, stats }))
    }
}

impl<H: Handler> Protocol for HttpProtocol<H> {
    type Serve = Serve<H>;

    fn serve(self: &Arc<Self>, session: Session) -> Serve<H> {
        Serve::new(session, self.0.clone())
    }

    fn name(&self) -> &'static str {
        "http"
    }
}

impl<H> Shared<H> {
    /// A handler panicked: the client gets a 500 and the connection closes, since nobody knows what was half done.
    #[cold]
    pub(crate) fn on_panic(&self, session: Option<&Session>, panic: &(dyn std::any::Any + Send)) -> Response {
        tracing::error!(message = panic_text(panic).unwrap_or("no message"), "a handler panicked");
        self.stats.count(Event::Panicked);
        session.inspect(|session| session.conn.end(Cause::Panic));
        Response::new(StatusCode::INTERNAL_SERVER_ERROR).with_close()
    }
}
