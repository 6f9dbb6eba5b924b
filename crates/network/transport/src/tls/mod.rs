//! TLS over any stream, by rustls with aws-lc-rs: verified against the system's roots unless told otherwise.
//!
//! TLS 1.2 and 1.3, sessions are resumed, no early data. The provider is named in every configuration: with two in the
//! build, rustls would panic when it had to choose.

mod client;
mod error;
mod info;
mod names;
mod pem;
mod server;
mod stream;
mod trust;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use millstream_base::{Deadline, Error, Phase, Result, Seen};
use rustls::crypto::CryptoProvider;

pub use client::{TlsClient, TlsClientBuilder};
pub use info::TlsInfo;
pub use pem::Pem;
pub use server::{TlsServer, TlsServerBuilder};
pub use stream::TlsStream;

/// The one provider of cryptography. It holds no state: sharing it across engines shares nothing.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

/// Names of protocols (ALPN) as rustls takes them.
fn alpn<P: AsRef<[u8]>>(protocols: impl IntoIterator<Item = P>) -> Vec<Vec<u8>> {
    protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect()
}

/// Runs a handshake until `deadline`. It comes in a box: a handshake is more than a KiB large, and the task that waits
/// for it would keep that room for as long as the connection lives.
async fn within<T>(
    deadline: Deadline,
    handshake: Pin<Box<impl Future<Output = std::io::Result<T>>>>,
) -> Result<T> {
    let limit = deadline.remaining(tokio::time::Instant::now().into_std());
    match tokio::time::timeout_at(deadline.moment().into(), handshake).await {
        Ok(result) => result.map_err(error::handshake),
        Err(_elapsed) => Err(Error::timeout(Phase::Tls, limit).with_seen(Seen::No)),
    }
}
