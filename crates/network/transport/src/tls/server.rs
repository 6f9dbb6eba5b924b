//! The server's side of TLS.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use millstream_base::{Deadline, Error, Result};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::names::Names;
use super::pem::{Identity, Pem};
use super::trust::{Revocation, add_roots};
use super::{TlsStream, alpn, error, provider, within};
use crate::Stream;

/// The server's side of TLS: its certificates and whom it lets in. Clones share everything.
#[derive(Clone)]
pub struct TlsServer(Arc<RwLock<Arc<ServerConfig>>>);

impl TlsServer {
    /// Settings, to be filled in.
    ///
    /// ```
    /// use millstream_transport::tls::{Pem, TlsServer};
    /// let server = TlsServer::builder()
    ///     .with_certificate(Pem::file("/no/such/site.pem"), Pem::file("/no/such/site.key"))
    ///     .with_alpn(["http/1.1"])
    ///     .build();
    /// assert!(server.unwrap_err().to_string().starts_with("can't read certificate file /no/such/site.pem"));
    /// ```
    pub fn builder() -> TlsServerBuilder {
        TlsServerBuilder::default()
    }

    /// Speaks TLS over `stream` as a server.
    ///
    /// Dropping the future closes the stream in the middle of the handshake.
    ///
    /// # Errors
    /// When the handshake fails or the deadline passes.
    pub async fn accept(&self, stream: Stream, deadline: Deadline) -> Result<Stream> {
        let handshake = Box::pin(TlsAcceptor::from(self.config()).accept(stream));
        let tls = within(deadline, handshake).await?;
        Ok(Stream::Tls(Box::new(TlsStream::server(tls))))
    }

    /// Takes over the settings of `other`, here and in all clones, for connections accepted from now on: certificates
    /// are renewed without a restart.
    pub fn replace(&self, other: &Self) {
        let config = other.config(); // before the lock: `other` may be a clone of us
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

/// Settings of a [`TlsServer`]. Files are read by [`build`](Self::build).
#[derive(Clone, Debug, Default)]
pub struct TlsServerBuilder {
    certificates: Vec<Identity>,
    alpn: Vec<Vec<u8>>,
    clients: Clients,
    client_roots: Vec<Pem>,
    revocation: Revocation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Clients {
    #[default]
    Unasked,
    Asked,
    Required,
}

impl TlsServerBuilder {
    /// Serves the names of this certificate, exact ones and wildcards. The first certificate added also serves clients
    /// that ask for no name or an unknown one; of several for one name, the first that a client can verify is used.
    #[must_use]
    pub fn with_certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.certificates.push(Identity { chain, key });
        self
    }

    /// Accepts these protocols, the preferred one first. A client that offers others only is refused.
    #[must_use]
    pub fn with_alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = alpn(protocols);
        self
    }

    /// Lets in only clients with a certificate that one of these roots issued.
    #[must_use]
    pub fn require_clients(mut self, roots: Pem) -> Self {
        self.clients = Clients::Required;
        self.client_roots.push(roots);
        self
    }

    /// Asks clients for a certificate; lets in those without one, and those whose certificate one of these roots issued.
    #[must_use]
    pub fn ask_clients(mut self, roots: Pem) -> Self {
        self.clients = Clients::Asked;
        self.client_roots.push(roots);
        self
    }

    /// Refuses client certificates that these lists revoke, or that no list covers.
    #[must_use]
    pub fn with_revocation_lists(mut self, lists: Pem) -> Self {
        self.revocation.lists.push(lists);
        self
    }

    /// Accepts client certificates that no revocation list covers.
    #[must_use]
    pub fn allow_unknown_revocation(mut self) -> Self {
        self.revocation.allow_unknown = true;
        self
    }

    /// The server.
    ///
    /// # Errors
    /// When there is no certificate, a file can't be read or holds no such thing, or key and certificate differ.
    pub fn build(self) -> Result<TlsServer> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error::refused(&error))?
            .with_client_cert_verifier(self.verifier()?);
        let mut config = builder.with_cert_resolver(Arc::new(self.names()?));
        // Sessions are resumed by tickets: the client keeps the state, so that a million clients cost nothing here.
        config.ticketer = Ticketer::new().map_err(|error| error::refused(&error))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = self.alpn;
        Ok(TlsServer(Arc::new(RwLock::new(Arc::new(config)))))
    }

    fn names(&self) -> Result<Names> {
        let mut names = Names::default();
        for identity in &self.certificates {
            let certified = identity.certified("certificate")?;
            names.add(certified).map_err(|error| identity.chain.bad("certificate", error))?;
        }
        if names.is_empty() {
            return Err(Error::invalid("a TLS server needs a certificate"));
        }
        Ok(names)
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>> {
        if self.clients == Clients::Unasked {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let mut roots = RootCertStore::empty();
        add_roots(&mut roots, &self.client_roots)?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if self.clients == Clients::Asked {
            builder = builder.allow_unauthenticated();
        }
        builder = self.revocation.apply(
            builder,
            |builder, lists| builder.with_crls(lists).enforce_revocation_expiration(),
            ClientCertVerifierBuilder::allow_unknown_revocation_status,
        )?;
        builder.build().map_err(|error| Error::invalid(format!("no client to trust: {error}")))
    }
}
