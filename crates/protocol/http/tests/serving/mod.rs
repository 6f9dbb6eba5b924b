//! A server for one test: an engine of its own on a free port of loopback, and what to ask it.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test that mounts this module uses a part of it"
)]

use std::net::SocketAddr;
use std::time::Duration;

use millstream_base::registry::Value;
use millstream_http::server::{HttpOptions, HttpServer};
use millstream_http::{Handler, Request};
use millstream_peers::{Gate, PATIENCE, RawConn, eventually};
use millstream_server::transport::{Cause, LifeTable};
use millstream_server::{Engine, Running, lives};

/// A server that runs for as long as the test.
pub struct Served {
    pub engine: Engine,
    pub running: Running,
    pub address: SocketAddr,
}

impl Served {
    /// On one worker, with the defaults.
    pub fn start(handler: impl Handler) -> Self {
        Self::with(1, |server| server, handler)
    }

    /// On one worker, with these settings of HTTP.
    pub fn configured(change: impl FnOnce(&mut HttpOptions), handler: impl Handler) -> Self {
        Self::with(1, |server| server.configure(change), handler)
    }

    /// On so many workers, with a server set up as the test likes.
    pub fn with(
        workers: usize,
        change: impl FnOnce(HttpServer) -> HttpServer,
        handler: impl Handler,
    ) -> Self {
        let engine = Engine::builder().workers(workers).build().expect("threads can be started");
        let server = change(HttpServer::new(&engine)).bind("127.0.0.1:0").expect("loopback has a free port");
        let address = server.local_addr().as_tcp().expect("it listens on TCP");
        let running = server.serve(handler).expect("the engine runs");
        Self { engine, running, address }
    }

    pub fn connect(&self) -> RawConn {
        RawConn::connect(self.address)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The sum of all samples of this name: a counter or a gauge.
    pub fn metric(&self, name: &str) -> u64 {
        let samples = self.engine.registry().collect();
        let known = samples.iter().filter(|sample| sample.name == name);
        let values = known.map(|sample| match sample.value {
            Value::Counter(count) => count,
            Value::Gauge(value) => value as u64,
            Value::Histogram(_) => panic!("{name} is a histogram"),
        });
        values.reduce(|sum, value| sum + value).unwrap_or_else(|| panic!("nothing is called {name}"))
    }

    /// Waits until the counter is this high.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, least: u64) {
        eventually(name, || self.metric(name) >= least);
    }

    pub fn lives(&self) -> LifeTable {
        lives(&self.engine)
    }

    /// Waits until this many connections have ended for this cause.
    #[track_caller]
    pub fn wait_for_cause(&self, cause: Cause, count: u64) {
        let lives = self.lives();
        eventually(&format!("{count} ended by {cause}, not {:?}", self.causes()), || {
            lives.counts().ended_by_cause(cause) >= count
        });
    }

    /// Why connections have ended so far.
    pub fn causes(&self) -> Vec<(Cause, u64)> {
        let counts = self.lives().counts();
        let causes = Cause::ALL.iter().map(|cause| (*cause, counts.ended_by_cause(*cause)));
        causes.filter(|(_, count)| *count > 0).collect()
    }
}

/// Runs a future in this thread, for at most ten seconds.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime for the test");
    let output = runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
    output.unwrap_or_else(|_| panic!("no end after {PATIENCE:?}"))
}

/// A handler's body: as it came.
pub async fn echo(mut request: Request) -> millstream_base::Result<Vec<u8>> {
    Ok(request.bytes().await?.to_vec())
}

/// A plain GET of this path.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A POST of this body with its length.
pub fn post(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    request
}

/// A timeout that passes soon, where the test waits for what happens then.
pub const SOON: Duration = Duration::from_millis(50);

/// A gate and the handler's view of it: the handler says that it is at work, then waits.
#[derive(Clone, Default)]
pub struct Held {
    pub entered: Gate,
    pub leaves: Gate,
    pub dropped: Gate,
}

impl Held {
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits in a handler until the test opens `leaves`; `dropped` opens when the handler is dropped, or ends.
    pub async fn hold(&self) {
        let _dropped = self.dropped.on_drop();
        self.entered.open();
        self.leaves.passed().await;
    }
}
