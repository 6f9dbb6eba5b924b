//! What a TLS handshake agreed on.

use rustls::CommonState;
use rustls_pki_types::CertificateDer;

/// What a TLS handshake agreed on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol chosen by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// The name the client asked for; known on the server only.
    pub sni: Option<String>,
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher: &'static str,
    /// The peer's certificates, its own first; empty when it sent none.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// Was an earlier session resumed?
    pub is_resumed: bool,
}

impl TlsInfo {
    pub(super) fn new(session: &CommonState, sni: Option<&str>) -> Self {
        let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
        let version = session.protocol_version();
        Self {
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            sni: sni.map(str::to_owned),
            version: version.and_then(|version| version.as_str()).unwrap_or("unknown"),
            cipher: suite.and_then(|suite| suite.as_str()).unwrap_or("unknown"),
            peer_certificates: session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
            is_resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}
