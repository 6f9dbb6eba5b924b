//! The client's side of TLS.

use std::fmt;
use std::sync::Arc;

use millstream_base::{Deadline, Result};

use crate::Stream;

/// The client's side of TLS: whom to trust and how to present oneself. Clones share everything.
#[derive(Clone)]
pub struct TlsClient(Arc<Inner>);

struct Inner {
    identity: u64,
}

impl TlsClient {
    /// A client that trusts the system's roots.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Settings, to be changed.
    pub fn builder() -> TlsClientBuilder {
        TlsClientBuilder {}
    }

    /// Differs between clients that were built apart; for the keys of pools.
    pub fn identity(&self) -> u64 {
        self.0.identity
    }

    /// Speaks TLS over `stream` with the server called `name`.
    ///
    /// # Errors
    /// When the handshake fails or the deadline passes.
    pub async fn connect(&self, _stream: Stream, _name: &str, _deadline: Deadline) -> Result<Stream> {
        unimplemented!()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsClient({})", self.0.identity)
    }
}

/// Settings of a [`TlsClient`].
pub struct TlsClientBuilder {}

impl TlsClientBuilder {
    /// The client.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn build(self) -> Result<TlsClient> {
        unimplemented!()
    }
}
