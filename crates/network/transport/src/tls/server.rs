//! The server's side of TLS.

use std::fmt;
use std::sync::Arc;

use millstream_base::{Deadline, Result};

use crate::Stream;

/// The server's side of TLS: its certificates and whom it lets in. Clones share everything.
#[derive(Clone)]
pub struct TlsServer(Arc<()>);

impl TlsServer {
    /// Settings, to be filled in.
    pub fn builder() -> TlsServerBuilder {
        TlsServerBuilder {}
    }

    /// Speaks TLS over `stream` as a server.
    ///
    /// # Errors
    /// When the handshake fails or the deadline passes.
    pub async fn accept(&self, _stream: Stream, _deadline: Deadline) -> Result<Stream> {
        unimplemented!()
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

/// Settings of a [`TlsServer`].
pub struct TlsServerBuilder {}

impl TlsServerBuilder {
    /// The server.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn build(self) -> Result<TlsServer> {
        unimplemented!()
    }
}
