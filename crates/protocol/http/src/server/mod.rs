//! The server's side of HTTP/1.

mod answering;
mod ending;
mod exchange;
mod feed;
mod handler;
mod http_server;
mod intake;
mod options;
mod output;
mod parse;
mod plain;
mod pool;
mod request;
mod respond;
mod response;
pub(crate) mod scratch;
mod serve;
mod stats;
mod upgrade;

pub use handler::{Answer, Handler};
pub use http_server::{BoundHttpServer, HttpProtocol, HttpServer};
pub use options::{
    ALPN, DEFAULT_HEAD_TIMEOUT, DEFAULT_MAX_BODY, DEFAULT_READ_TIMEOUT, DEFAULT_WRITE_TIMEOUT, HttpOptions,
};
pub(crate) use pool::HeadBox;
pub use request::{ConnInfo, Request};
pub use response::{IntoResponse, Response};
pub use upgrade::Upgraded;
// What an HTTP server's own interface speaks of, for crates that build on this one alone.
pub use millstream_server::{
    Engine, Running, ServerOptions, Shutdown, Stage, Worker, listen_refused, lives, transport,
};
