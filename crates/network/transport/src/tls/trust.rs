//! Whom to trust: roots, revocation lists, and trusting anybody.

use std::sync::{Arc, OnceLock};

use millstream_base::{Error, Kind, Origin, Result, Seen};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};

use super::pem::Pem;

/// Revocation lists, and what they mean for certificates they say nothing of.
#[derive(Clone, Debug, Default)]
pub(super) struct Revocation {
    pub(super) lists: Vec<Pem>,
    pub(super) allow_unknown: bool,
}

/// Revocation lists as they were read.
type Lists = Vec<CertificateRevocationListDer<'static>>;

impl Revocation {
    /// Tells a verifier in the making of either side: `refuse` takes the lists, `allow` is called where what they say nothing of
    /// is accepted.
    pub(super) fn apply<B>(
        &self,
        mut builder: B,
        refuse: impl FnOnce(B, Lists) -> B,
        allow: impl FnOnce(B) -> B,
    ) -> Result<B> {
        let mut lists = Lists::new();
        for list in &self.lists {
            lists.extend(list.revocation_lists()?);
        }
        if !lists.is_empty() {
            builder = refuse(builder, lists);
        }
        Ok(if self.allow_unknown { allow(builder) } else { builder })
    }
}

/// The system's roots, read once a process: they are files of the host, the same for every engine.
///
/// # Errors
/// When the system has none.
pub(super) fn system_roots() -> Result<&'static RootCertStore> {
    static ROOTS: OnceLock<Result<RootCertStore, String>> = OnceLock::new();
    let loaded = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        match found.errors.first() {
            _ if !roots.is_empty() => Ok(roots),
            Some(error) => Err(error.to_string()),
            None => Err("install ca-certificates".to_owned()),
        }
    });
    loaded.as_ref().map_err(|why| {
        let message = format!("the system has no trusted roots: {why}");
        Error::new(Kind::Tls, Origin::Local, message).with_seen(Seen::No)
    })
}

/// Adds all certificates of `pems` to `roots`.
pub(super) fn add_roots(roots: &mut RootCertStore, pems: &[Pem]) -> Result<()> {
    for pem in pems {
        for certificate in pem.certificates()? {
            roots.add(certificate).map_err(|error| pem.bad("root certificate", error))?;
        }
    }
    Ok(())
}

/// Trusts any certificate. The signatures of the handshake are checked still: the peer holds the key of whatever it sent.
#[derive(Debug)]
pub(super) struct TrustAnybody(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
