//! The client's side of TLS.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use millstream_base::{Deadline, Error, Result};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ServerCertVerifierBuilder, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::pem::{Identity, Pem};
use super::trust::{Revocation, TrustAnybody, add_roots, system_roots};
use super::{TlsStream, alpn, error, provider, within};
use crate::Stream;

/// The client's side of TLS: whom to trust and how to present oneself. Clones share everything, resumable sessions too.
#[derive(Clone)]
pub struct TlsClient(Arc<Inner>);

struct Inner {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    identity: u64,
}

impl TlsClient {
    /// A client that trusts the system's roots and says nothing of protocols.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Settings, to be changed.
    ///
    /// ```
    /// use millstream_transport::tls::{Pem, TlsClient};
    /// let client = TlsClient::builder()
    ///     .with_alpn(["http/1.1"])
    ///     .with_roots(Pem::file("/no/such/company-root.pem"))
    ///     .build();
    /// assert!(client.unwrap_err().to_string().starts_with("can't read certificate file /no/such/company-root.pem"));
    /// ```
    pub fn builder() -> TlsClientBuilder {
        TlsClientBuilder::default()
    }

    /// Differs between clients that were built apart, since their settings may differ; for the keys of pools.
    pub fn identity(&self) -> u64 {
        self.0.identity
    }

    /// Speaks TLS over `stream` with the server called `name`: a DNS name or an IP address.
    ///
    /// Dropping the future closes the stream in the middle of the handshake; no application has seen a byte.
    ///
    /// # Errors
    /// When the handshake fails, the certificate is not good for `name`, or the deadline passes.
    pub async fn connect(&self, stream: Stream, name: &str, deadline: Deadline) -> Result<Stream> {
        let name = match &self.0.name {
            Some(name) => name.clone(),
            None => server_name(name)?,
        };
        let handshake = Box::pin(TlsConnector::from(self.0.config.clone()).connect(name, stream));
        let tls = within(deadline, handshake).await?;
        Ok(Stream::Tls(Box::new(TlsStream::client(tls))))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let bare = bare.strip_suffix('.').unwrap_or(bare); // a name in SNI has no final dot (RFC 6066 §3)
    let parsed =
        ServerName::try_from(bare).map_err(|_| Error::invalid(format!("{name:?} is no server name")))?;
    Ok(parsed.to_owned())
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsClient({})", self.0.identity)
    }
}

/// Settings of a [`TlsClient`]. Files are read by [`build`](Self::build).
#[derive(Clone, Debug, Default)]
pub struct TlsClientBuilder {
    roots: Vec<Pem>,
    trust: Trust,
    certificate: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    name: Option<String>,
    without_sni: bool,
    revocation: Revocation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    SystemAndRoots,
    RootsOnly,
    Anybody,
}

impl TlsClientBuilder {
    /// Trusts these roots too.
    #[must_use]
    pub fn with_roots(mut self, roots: Pem) -> Self {
        self.roots.push(roots);
        self
    }

    /// Trusts only the roots given here, not the system's.
    #[must_use]
    pub fn without_system_roots(mut self) -> Self {
        self.trust = Trust::RootsOnly;
        self
    }

    /// Shows this certificate, with its chain, to servers that ask for one.
    #[must_use]
    pub fn with_certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.certificate = Some(Identity { chain, key });
        self
    }

    /// Offers these protocols, the preferred one first.
    #[must_use]
    pub fn with_alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = alpn(protocols);
        self
    }

    /// Asks for this name, and expects a certificate for it, whatever name [`TlsClient::connect`] is called with.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Does not tell the server which name is asked for.
    #[must_use]
    pub fn without_sni(mut self) -> Self {
        self.without_sni = true;
        self
    }

    /// Refuses certificates that these lists revoke. Each certificate of a chain but the root must be covered by a list
    /// that has not expired; see [`allow_unknown_revocation`](Self::allow_unknown_revocation).
    #[must_use]
    pub fn with_revocation_lists(mut self, lists: Pem) -> Self {
        self.revocation.lists.push(lists);
        self
    }

    /// Accepts certificates that no revocation list covers.
    #[must_use]
    pub fn allow_unknown_revocation(mut self) -> Self {
        self.revocation.allow_unknown = true;
        self
    }

    /// Accepts any certificate, for any name, from anybody: whoever stands between can read and change all.
    #[must_use]
    pub fn danger_accept_invalid_certificates(mut self) -> Self {
        self.trust = Trust::Anybody;
        self
    }

    /// The client. Reads files, among them the system's roots: call it where blocking for milliseconds is fine.
    ///
    /// # Errors
    /// When a file can't be read or holds no such thing, key and certificate differ, or there is nobody to trust.
    pub fn build(self) -> Result<TlsClient> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error::refused(&error))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier()?);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let shown = SingleCertAndKey::from(identity.certified("client certificate")?);
                builder.with_client_cert_resolver(Arc::new(shown))
            }
        };
        config.alpn_protocols = self.alpn;
        config.enable_sni = !self.without_sni;
        let name = self.name.as_deref().map(server_name).transpose()?;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let identity = NEXT.fetch_add(1, Relaxed);
        Ok(TlsClient(Arc::new(Inner { config: Arc::new(config), name, identity })))
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>> {
        if self.trust == Trust::Anybody {
            return Ok(Arc::new(TrustAnybody(provider())));
        }
        let mut roots = RootCertStore::empty();
        if self.trust == Trust::SystemAndRoots {
            match system_roots() {
                Ok(system) => roots.clone_from(system),
                Err(_) if !self.roots.is_empty() => {} // the given ones are somebody to trust
                Err(error) => return Err(error),
            }
        }
        add_roots(&mut roots, &self.roots)?;
        let builder = self.revocation.apply(
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()),
            |builder, lists| builder.with_crls(lists).enforce_revocation_expiration(),
            ServerCertVerifierBuilder::allow_unknown_revocation_status,
        )?;
        match builder.build() {
            Ok(verifier) => Ok(verifier),
            Err(error) => Err(Error::invalid(format!("nobody to trust: {error}"))),
        }
    }
}
