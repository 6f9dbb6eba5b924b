//! An engine with a client, and replies as text.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_client::Engine;
use millstream_client::transport::{Cause, LifeTable, Opener, Side};
use millstream_http::HttpClient;
use millstream_http::client::{HttpClientOptions, RequestBuilder};
use millstream_peers::RawConn;
use tokio::sync::Semaphore;

/// An engine and a client on it.
pub struct World {
    pub engine: Engine,
    pub client: HttpClient,
    pub lives: LifeTable,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With changed settings.
    pub fn with(change: impl FnOnce(&mut HttpClientOptions)) -> Self {
        let engine = Engine::builder().workers(2).build().expect("threads can be started");
        let mut options = HttpClientOptions::default();
        change(&mut options);
        let client = HttpClient::with_options(&engine, options);
        let lives = millstream_server::lives(&engine);
        Self { engine, client, lives }
    }

    /// Connections ever opened.
    pub fn opened(&self) -> u64 {
        self.lives.counts().opened()
    }

    /// Connections ever opened to try a call again.
    pub fn retried(&self) -> u64 {
        self.lives.counts().opened_for(Side::Client, Opener::Retry)
    }

    /// Connections that ended because of this.
    pub fn ended(&self, cause: Cause) -> u64 {
        self.lives.counts().ended_by_cause(cause)
    }
}

/// So many GETs from so many callers, each with pauses of its own between them, answered with "hello"; what failed.
pub async fn fetch(
    client: &HttpClient,
    url: &str,
    requests: usize,
    callers: usize,
    change: impl Fn(RequestBuilder) -> RequestBuilder + Copy + Send + Sync + 'static,
) -> Vec<String> {
    let left = Arc::new(Semaphore::new(requests));
    let calls = (0..callers).map(|caller| {
        let (client, url, left) = (client.clone(), url.to_owned(), left.clone());
        tokio::spawn(async move {
            let (mut failed, mut dice) = (Vec::new(), caller * 7 + 1);
            while let Ok(permit) = left.try_acquire() {
                permit.forget();
                let text = async { change(client.get(url.as_str())).send().await?.text().await };
                match text.await {
                    Ok(text) => assert_eq!(text, "hello"),
                    Err(error) => failed.push(error.to_string()),
                }
                dice = dice * 1_103_515_245 % 2_147_483_647;
                for _ in 0..dice % 8 {
                    tokio::task::yield_now().await;
                }
            }
            failed
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut failed = Vec::new();
    for call in calls {
        failed.extend(call.await.expect("no panic"));
    }
    failed
}

/// A URL of this server.
pub fn url(address: SocketAddr, target: &str) -> String {
    format!("http://{address}{target}")
}

/// A reply of 200 with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers each request with what `reply` makes of it, until the client leaves.
pub fn serve(conn: &mut RawConn, reply: impl Fn(&millstream_peers::message::RawRequest) -> String) {
    while conn.has_more() {
        let request = conn.read_request();
        if conn.try_send(reply(&request)).is_err() {
            return;
        }
    }
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a future on a runtime of its own, which ends with it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// The same with a clock that the test advances.
pub fn block_on_paused<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(future)
}
