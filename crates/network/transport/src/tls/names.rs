//! Which of a server's certificates answers to a name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

/// Certificates by the names they hold. One name may have several, for RSA and ECDSA clients.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In the order they were given; the first is for clients that ask for no name or for an unknown one.
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// `*.example.org` as `example.org`; the star stands for one label (RFC 6125 §6.4.3).
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

impl Names {
    pub(super) fn add(&mut self, certified: CertifiedKey) -> Result<(), webpki::Error> {
        let certified = Arc::new(certified);
        if let Some(leaf) = certified.cert.first() {
            for name in dns_names(leaf)? {
                match name.strip_prefix("*.") {
                    Some(parent) => self.wildcard.entry(parent.into()).or_default().push(certified.clone()),
                    None => self.exact.entry(name.into()).or_default().push(certified.clone()),
                }
            }
        }
        self.all.push(certified);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| self.named(&name.to_ascii_lowercase()));
        let candidates = named.unwrap_or(&self.all);
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        candidates.iter().find(fits).or_else(|| candidates.first()).cloned()
    }

    fn named(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let by_star = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(by_star).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name(), hello.signature_schemes())
    }
}

fn dns_names(leaf: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let parsed = webpki::EndEntityCert::try_from(leaf)?;
    Ok(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}
