//! Certificates, keys and revocation lists in PEM form.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use millstream_base::{Error, Kind, Origin, Result, Seen};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// Something in PEM form: the name of a file, read when a client or server is built, or the text itself.
///
/// ```
/// use millstream_transport::tls::Pem;
/// let from_file = Pem::file("/etc/ssl/site.pem");
/// let from_text = Pem::text("-----BEGIN CERTIFICATE-----\n...");
/// assert_eq!(format!("{from_text:?}"), "Pem(31 bytes)"); // never the text: it may hold a key
/// # let _ = from_file;
/// ```
#[derive(Clone)]
pub struct Pem(From);

#[derive(Clone)]
enum From {
    File(PathBuf),
    Text(Vec<u8>),
}

/// A certificate with its chain, and its key.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) chain: Pem,
    pub(super) key: Pem,
}

impl Identity {
    /// The two together, called so in errors.
    ///
    /// # Errors
    /// When one can't be read, or they don't belong together.
    pub(super) fn certified(&self, what: &'static str) -> Result<CertifiedKey> {
        CertifiedKey::from_der(self.chain.certificates()?, self.key.key()?, &super::provider())
            .map_err(|error| self.chain.bad(what, super::error::describe(&error)))
    }
}

impl Pem {
    /// What this file holds.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(From::File(path.into()))
    }

    /// This text.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self(From::Text(text.into()))
    }

    /// All certificates, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let text = self.read("certificate")?;
        self.all("certificate", CertificateDer::pem_slice_iter(&text))
    }

    /// All revocation lists, at least one.
    pub(super) fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>> {
        let text = self.read("revocation list")?;
        self.all("revocation list", CertificateRevocationListDer::pem_slice_iter(&text))
    }

    /// The first private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>> {
        let text = self.read("private key")?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            if text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
                return self.bad("private key", "it is encrypted, which is not supported");
            }
            self.bad("private key", pem_error(&error))
        })
    }

    fn all<T>(
        &self,
        what: &str,
        items: impl Iterator<Item = Result<T, rustls_pki_types::pem::Error>>,
    ) -> Result<Vec<T>> {
        let items: Vec<T> =
            items.collect::<Result<_, _>>().map_err(|error| self.bad(what, pem_error(&error)))?;
        if items.is_empty() {
            return Err(self.bad(what, "it holds none"));
        }
        Ok(items)
    }

    fn read(&self, what: &str) -> Result<Cow<'_, [u8]>> {
        match &self.0 {
            From::Text(text) => Ok(Cow::Borrowed(text)),
            From::File(path) => std::fs::read(path).map(Cow::Owned).map_err(|error| {
                let message = format!("can't read {what} file {}", path.display());
                Error::new(Kind::Invalid, Origin::Caller, message).with_seen(Seen::No).with_source(error)
            }),
        }
    }

    /// The error that says what is wrong with it.
    pub(super) fn bad(&self, what: &str, why: impl fmt::Display) -> Error {
        match &self.0 {
            From::File(path) => Error::invalid(format!("bad {what} file {}: {why}", path.display())),
            From::Text(_) => Error::invalid(format!("bad {what}: {why}")),
        }
    }
}

fn pem_error(error: &rustls_pki_types::pem::Error) -> String {
    match error {
        rustls_pki_types::pem::Error::NoItemsFound => "it holds none".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            From::File(path) => write!(f, "Pem({})", path.display()),
            From::Text(text) => write!(f, "Pem({} bytes)", text.len()),
        }
    }
}

/// Begins an encrypted PKCS #8 key.
const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_what_is_missing() {
        let error = Pem::file("/no/such/file.pem").certificates().unwrap_err().to_string();
        assert!(error.starts_with("can't read certificate file /no/such/file.pem: No such file"), "{error}");
        assert_eq!(Pem::text("").key().unwrap_err().to_string(), "bad private key: it holds none");
        assert_eq!(Pem::text("x").certificates().unwrap_err().to_string(), "bad certificate: it holds none");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let error = Pem::text(encrypted).key().unwrap_err().to_string();
        assert_eq!(error, "bad private key: it is encrypted, which is not supported");
    }
}
