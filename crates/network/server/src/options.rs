//! Settings of a server, and their defaults with reasons.

use std::sync::Arc;
use std::time::Duration;

use millstream_transport::tls::TlsServer;
use millstream_transport::{Conn, ListenOptions};

use crate::Context;

/// Open connections at most. Each costs a descriptor and under 2 KiB; a host that wants more says so.
pub const DEFAULT_MAX_CONNECTIONS: usize = 65_536;
/// An idle connection is kept this long: the value announced to peers, acted on one second later so that a request
/// on its way is not met by a close (the keep-alive race).
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A TLS handshake may take this long.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of a server that do not depend on its protocol.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Open connections at most. At the limit the server stops accepting and closes those that are idle longest.
    pub max_connections: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// TLS, when the server speaks it.
    pub tls: Option<TlsServer>,
    /// How the socket listens.
    pub listen: ListenOptions,
    /// Makes the value that lives as long as a connection.
    pub context: Option<MakeContext>,
}

/// Makes a connection's context when it opens.
pub type MakeContext = Arc<dyn Fn(&Conn) -> Context + Send + Sync>;

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT,
            tls: None,
            listen: ListenOptions::default(),
            context: None,
        }
    }
}

impl std::fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions")
            .field("max_connections", &self.max_connections)
            .field("idle_timeout", &self.idle_timeout)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
