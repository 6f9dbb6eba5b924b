//! What went wrong in TLS, in one line that an operator can act on.

use std::io;

use millstream_base::{Error, Kind, Origin, Phase, Seen};
use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};

/// A failed handshake. No application has seen a byte.
pub(super) fn handshake(error: io::Error) -> Error {
    let error = match tls_cause(&error) {
        Some(tls) => sorted(tls),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::new(Kind::Tls, Origin::Peer, "peer closed in the TLS handshake")
        }
        None => Error::io(error),
    };
    error.with_phase(Phase::Tls).with_seen(Seen::No)
}

/// An error after the handshake: TLS errors come out as one readable line, others as they are.
pub(super) fn readable(error: io::Error) -> io::Error {
    match tls_cause(&error) {
        Some(tls) => sorted(tls).into(),
        None => error,
    }
}

/// Settings that rustls refuses.
pub(super) fn refused(error: &Tls) -> Error {
    Error::new(Kind::Invalid, Origin::Caller, describe(error)).with_seen(Seen::No)
}

fn tls_cause(error: &io::Error) -> Option<&Tls> {
    error.get_ref()?.downcast_ref()
}

fn sorted(error: &Tls) -> Error {
    Error::new(Kind::Tls, Origin::Peer, describe(error))
}

pub(super) fn describe(error: &Tls) -> String {
    match error {
        Tls::InvalidCertificate(bad) => certificate(bad),
        Tls::AlertReceived(alert) => refusal(*alert),
        Tls::InvalidMessage(_) => "peer does not speak TLS".to_owned(),
        Tls::NoApplicationProtocol => "no application protocol in common (ALPN)".to_owned(),
        Tls::InconsistentKeys(_) => "the private key belongs to another certificate".to_owned(),
        Tls::NoCertificatesPresented => "peer sent no certificate, but one is required".to_owned(),
        Tls::PeerIncompatible(why) => format!("no TLS version or cipher in common ({why:?})"),
        other => other.to_string(),
    }
}

fn certificate(bad: &Bad) -> String {
    match bad {
        Bad::Expired => "certificate expired".to_owned(),
        Bad::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / (24 * 3600);
            format!("certificate expired {days} days ago")
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "certificate not valid yet".to_owned(),
        Bad::UnknownIssuer => "unknown issuer: certificate is self-signed or its root not trusted".to_owned(),
        Bad::Revoked => "certificate revoked".to_owned(),
        Bad::UnknownRevocationStatus => "certificate not covered by any revocation list".to_owned(),
        Bad::ExpiredRevocationList | Bad::ExpiredRevocationListContext { .. } => {
            "revocation list expired".to_owned()
        }
        Bad::NotValidForName => "certificate not valid for this name".to_owned(),
        Bad::NotValidForNameContext { expected, presented } => {
            let shown: Vec<_> = presented.iter().take(NAMES_SHOWN).map(|name| bare(name)).collect();
            let more = if presented.len() > NAMES_SHOWN { ", ..." } else { "" };
            let expected = expected.to_str();
            format!("certificate not valid for name {expected}, only for {}{more}", shown.join(", "))
        }
        Bad::BadSignature => "certificate has a bad signature".to_owned(),
        Bad::BadEncoding => "certificate is malformed".to_owned(),
        other => format!("certificate not accepted: {other}"),
    }
}

/// `DnsName("x.org")`, as rustls shows a presented name, without the wrapping.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

fn refusal(alert: Alert) -> String {
    match alert {
        Alert::CertificateRequired => "peer requires a client certificate".to_owned(),
        Alert::UnknownCA => "peer does not trust the issuer of our certificate".to_owned(),
        Alert::CertificateExpired => "peer says our certificate expired".to_owned(),
        Alert::CertificateRevoked => "peer says our certificate is revoked".to_owned(),
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            format!("peer does not accept our certificate ({alert:?})")
        }
        Alert::NoApplicationProtocol => "no application protocol in common (ALPN)".to_owned(),
        Alert::UnrecognisedName => "peer does not serve this name".to_owned(),
        Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            format!("no TLS version or cipher in common ({alert:?})")
        }
        other => format!("peer refused the TLS handshake ({other:?})"),
    }
}

/// Names of a certificate that an error lists: one line must stay readable.
const NAMES_SHOWN: usize = 5;
