//! The admin endpoint: settings, and the thread it runs on.

use std::net::SocketAddr;
use std::time::Instant;

use millstream_base::registry::Registry;
use millstream_base::{Error, Result};
use millstream_http::HttpServer;
use millstream_http::server::transport::{Addr, LifeTable, ListenAddr};
use millstream_http::server::{Engine, Stage, Worker, lives};

use crate::hosts::Hosts;
use crate::routes;

/// Settings of the admin endpoint of an engine.
///
/// ```
/// use millstream_admin::Admin;
/// use millstream_http::server::Engine;
///
/// let engine = Engine::builder().workers(1).build()?;
/// let admin = Admin::new(&engine).bind("127.0.0.1:0")?;
/// println!("curl http://{}/health", admin.local_addr());
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Debug)]
pub struct Admin {
    watched: Watched,
    is_remote: bool,
    names: Vec<String>,
}

/// What is looked at. It holds no handle of the engine, so that watching does not keep it alive.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) worker: Worker,
    pub(crate) workers: usize,
    pub(crate) registry: Registry,
    pub(crate) lives: LifeTable,
    pub(crate) since: Instant,
    pub(crate) version: String,
}

impl Watched {
    pub(crate) fn stage(&self) -> Stage {
        self.worker.engine().map_or(Stage::Stopped, |engine| engine.stage())
    }
}

impl Admin {
    /// The endpoint of this engine. Uptime is counted from here.
    pub fn new(engine: &Engine) -> Self {
        let watched = Watched {
            worker: engine.workers()[0].clone(),
            workers: engine.workers().len(),
            registry: engine.registry().clone(),
            lives: lives(engine),
            since: Instant::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Self { watched, is_remote: false, names: Vec::new() }
    }

    /// The version that `/health` tells; by default this crate's.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.watched.version = version.into();
        self
    }

    /// Lets it listen on addresses that other hosts reach. Whoever reaches it sees the addresses of all peers: put
    /// something in front that asks who it is.
    #[must_use]
    pub fn allow_remote(mut self) -> Self {
        self.is_remote = true;
        self
    }

    /// Also answers requests whose Host is this name. IP addresses and `localhost` need not be named; other names are
    /// refused, so that a web page can't reach it through a name of its own (DNS rebinding).
    #[must_use]
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Listens on `IP:PORT` or `unix:/path` and answers from now on.
    ///
    /// # Errors
    /// When the address is not loopback and [`allow_remote`](Self::allow_remote) was not called, or can't be listened on.
    pub fn bind(self, address: &str) -> Result<RunningAdmin> {
        let address: ListenAddr = address.parse()?;
        if let ListenAddr::Tcp(address) = &address
            && !self.is_remote
            && !is_loopback(address)
        {
            return Err(Error::invalid(format!(
                "admin address {address} is not loopback: allow remote access if that is meant"
            )));
        }
        let engine = Engine::builder().workers(1).name("millstream-admin").build()?;
        let server = HttpServer::new(&engine)
            .with_max_connections(MOST_CONNECTIONS)
            .configure(|options| options.max_body = 0)
            .bind(&address.to_string())?;
        let hosts = Hosts::new(server.local_addr(), self.names);
        let running = server.serve(routes::handler(self.watched, hosts, engine.workers()[0].clone()))?;
        Ok(RunningAdmin { address: running.local_addr().clone(), _engine: engine })
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A person, two scrapers, and room for those who forgot to close.
const MOST_CONNECTIONS: usize = 64;

/// An admin endpoint that answers. Dropping it ends it at once.
#[derive(Debug)]
pub struct RunningAdmin {
    address: Addr,
    _engine: Engine,
}

impl RunningAdmin {
    /// Where it listens: the real port when 0 was asked for.
    pub fn local_addr(&self) -> &Addr {
        &self.address
    }
}
