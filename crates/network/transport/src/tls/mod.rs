//! TLS over any stream, by rustls with aws-lc-rs: verified against the system's roots unless told otherwise.

mod client;
mod error;
mod info;
mod server;
mod stream;

pub use client::{TlsClient, TlsClientBuilder};
pub use info::TlsInfo;
pub use server::{TlsServer, TlsServerBuilder};
pub use stream::TlsStream;
