//! A protocol of lines, a client of it, and what tests ask of both.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use millstream_base::codec::{Decode, Encode};
use millstream_base::registry::Value;
use millstream_base::{Error, Result};
use millstream_client::transport::{Cause, LifeTable, Opener, Side};
use millstream_client::{Call, Client, ClientOptions, Engine, Simple, Target};
use millstream_peers::RawConn;

/// A line each way.
#[derive(Clone, Debug, Default)]
pub struct Lines;

impl Decode for Lines {
    type Message = String;

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<String>> {
        let Some(end) = buf.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = buf.split_to(end + 1);
        let text =
            std::str::from_utf8(&line[..end]).map_err(|_| Error::protocol("a line that is no text"))?;
        Ok(Some(text.to_owned()))
    }
}

impl Encode<String> for Lines {
    fn encode(&mut self, line: String, out: &mut BytesMut) -> Result<()> {
        if line.contains('\n') {
            return Err(Error::invalid("a line within a line"));
        }
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\n");
        Ok(())
    }
}

pub type LineClient = Client<Simple<Lines, String>>;

/// An engine and a client on it.
pub struct World {
    pub engine: Engine,
    pub lives: LifeTable,
    pub client: LineClient,
}

impl World {
    pub fn new() -> Self {
        Self::with(1, ClientOptions::default(), Simple::new("lines", Lines))
    }

    pub fn with_options(workers: usize, options: ClientOptions) -> Self {
        Self::with(workers, options, Simple::new("lines", Lines))
    }

    pub fn with(workers: usize, options: ClientOptions, protocol: Simple<Lines, String>) -> Self {
        let engine = Engine::builder().workers(workers).build().expect("threads can be started");
        let lives = LifeTable::new(engine.id(), workers);
        let client = Client::new(&engine, lives.clone(), protocol, options);
        Self { engine, lives, client }
    }

    pub async fn call(&self, target: &Target, line: &str) -> Result<String> {
        call(&self.client, target, line).await
    }

    /// Connections ever opened because of this.
    pub fn opened(&self, opener: Opener) -> u64 {
        self.lives.counts().opened_for(Side::Client, opener)
    }

    /// Connections that ended because of this.
    pub fn ended(&self, cause: Cause) -> u64 {
        self.lives.counts().ended_by_cause(cause)
    }

    /// A counter of the engine.
    pub fn counter(&self, name: &str) -> u64 {
        let samples = self.engine.registry().collect();
        let values = samples.iter().filter(|sample| sample.name == name).map(|sample| &sample.value);
        values.map(|value| if let Value::Counter(count) = value { *count } else { 0 }).sum()
    }
}

pub async fn call(client: &LineClient, target: &Target, line: &str) -> Result<String> {
    client.call(target, line.to_owned(), Call::new()).await
}

pub fn target(address: SocketAddr) -> Target {
    Target::host(&address.ip().to_string(), address.port())
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a future on a runtime of its own, which ends with it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A script that answers each line with itself, until the client leaves, however it does.
pub fn echo(_: u64, conn: &mut RawConn) {
    while let Ok(lines) = conn.try_read_some() {
        if lines.is_empty() || conn.try_send(lines).is_err() {
            return;
        }
    }
}
