//! The simplest protocol, lines back and forth, and a server of it for one test.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test that mounts this module uses a part of it"
)]

use std::net::SocketAddr;

use bytes::BytesMut;
use millstream_base::codec::{Decode, Encode};
use millstream_base::registry::Value;
use millstream_base::{Error, Result};
use millstream_peers::{RawConn, eventually};
use millstream_server::transport::{Cause, LifeTable};
use millstream_server::{Engine, Running, Server, ServerOptions, Simple, lives};

/// A line without its LF.
#[derive(Clone, Copy)]
pub struct Lines;

impl Decode for Lines {
    type Message = String;

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<String>> {
        let Some(end) = buf.iter().position(|byte| *byte == b'\n') else {
            return if buf.len() > 100 { Err(Error::protocol("line too long")) } else { Ok(None) };
        };
        let line = buf.split_to(end + 1);
        Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()))
    }
}

impl Encode<String> for Lines {
    fn encode(&mut self, line: String, out: &mut BytesMut) -> Result<()> {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\n");
        Ok(())
    }
}

/// A server of lines that runs for as long as the test.
pub struct Served {
    pub engine: Engine,
    pub running: Running,
    pub address: SocketAddr,
}

impl Served {
    pub fn start<H, Fut>(workers: usize, change: impl FnOnce(&mut ServerOptions), handler: H) -> Self
    where
        H: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String>> + 'static,
    {
        Self::serve(workers, change, Simple::new("lines", Lines, handler))
    }

    pub fn serve(
        workers: usize,
        change: impl FnOnce(&mut ServerOptions),
        protocol: impl millstream_server::Protocol,
    ) -> Self {
        let engine = Engine::builder().workers(workers).build().expect("threads can be started");
        let mut options = ServerOptions::default();
        change(&mut options);
        let anywhere = "127.0.0.1:0".parse().expect("an address");
        let server = Server::bind(&engine, &anywhere, options).expect("loopback has a free port");
        let address = server.local_addr().as_tcp().expect("it listens on TCP");
        let running = server.serve(protocol).expect("the engine runs");
        Self { engine, running, address }
    }

    /// Answers each line with itself.
    pub fn echo(workers: usize, change: impl FnOnce(&mut ServerOptions)) -> Self {
        Self::start(workers, change, async |line: String| Ok(line))
    }

    /// A connection that was answered once: the server has accepted it.
    #[track_caller]
    pub fn connect(&self) -> RawConn {
        let mut conn = RawConn::connect(self.address);
        conn.send("hello\n").expect("hello\n");
        conn
    }

    /// A connection that has said nothing yet.
    pub fn connect_quietly(&self) -> RawConn {
        RawConn::connect(self.address)
    }

    pub fn metric(&self, name: &str) -> u64 {
        let samples = self.engine.registry().collect();
        let sample = samples.iter().find(|sample| sample.name == name);
        match sample.unwrap_or_else(|| panic!("nothing is called {name}")).value {
            Value::Counter(count) => count,
            Value::Gauge(value) => value as u64,
            Value::Histogram(_) => panic!("{name} is a histogram"),
        }
    }

    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, least: u64) {
        eventually(name, || self.metric(name) >= least);
    }

    pub fn lives(&self) -> LifeTable {
        lives(&self.engine)
    }

    #[track_caller]
    pub fn wait_for_cause(&self, cause: Cause, count: u64) {
        let lives = self.lives();
        eventually(&format!("{count} ended by {cause}"), || lives.counts().ended_by_cause(cause) >= count);
    }

    /// Connections on each worker.
    pub fn loads(&self) -> Vec<usize> {
        self.engine.workers().iter().map(millstream_server::Worker::load).collect()
    }
}
