//! Certificates for tests, made when a test runs: a root, an intermediate below it, and leaves below that, good and bad.
//!
//! Everything is PEM text. A test that needs files writes them with [`Identity::write_to`].

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

/// A root with an intermediate that issues leaves. Each `Authority` is a stranger to every other.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its chain, and its private key, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, then its issuers up to but without the root.
    pub chain: String,
    /// The private key in PKCS #8.
    pub key: String,
    serial: u64,
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Validity {
    Now,
    Past,
    Future,
}

impl Authority {
    /// A new root and intermediate with keys of their own.
    pub fn new() -> Self {
        let root = CertifiedIssuer::self_signed(issuer_params("Test Root", ROOT), new_key()).expect(SIGNS);
        let params = issuer_params("Test Intermediate", INTERMEDIATE);
        let intermediate = CertifiedIssuer::signed_by(params, new_key(), &root).expect(SIGNS);
        Self { root, intermediate }
    }

    /// The root's certificate, which makes everything below it trusted.
    pub fn root(&self) -> String {
        self.root.pem()
    }

    /// A good certificate for these names: DNS names, wildcards or IP addresses.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.leaf(names, Validity::Now, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate that ended in 2021.
    pub fn expired(&self, names: &[&str]) -> Identity {
        self.leaf(names, Validity::Past, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate that begins in 3000.
    pub fn not_yet_valid(&self, names: &[&str]) -> Identity {
        self.leaf(names, Validity::Future, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A good certificate for a client.
    pub fn client(&self, name: &str) -> Identity {
        self.leaf(&[name], Validity::Now, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A client's certificate that ended in 2021.
    pub fn expired_client(&self, name: &str) -> Identity {
        self.leaf(&[name], Validity::Past, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn leaf(&self, names: &[&str], validity: Validity, usage: ExtendedKeyUsagePurpose) -> Identity {
        let serial = next_serial();
        let (params, key) = (leaf_params(names, validity, usage, serial), new_key());
        let certificate = params.signed_by(&key, &self.intermediate).expect(SIGNS);
        let chain = format!("{}{}", certificate.pem(), self.intermediate.pem());
        Identity { chain, key: key.serialize_pem(), serial }
    }

    /// The lists of root and intermediate, revoking nothing.
    pub fn clean_lists(&self) -> String {
        format!("{}{}", list(&self.root, None), list(&self.intermediate, None))
    }

    /// The lists of root and intermediate, revoking this leaf.
    pub fn lists_revoking(&self, leaf: &Identity) -> String {
        format!("{}{}", list(&self.root, None), list(&self.intermediate, Some(leaf.serial)))
    }

    /// The lists of root and intermediate, revoking the intermediate: every leaf's issuer.
    pub fn lists_revoking_issuer(&self) -> String {
        format!("{}{}", list(&self.root, Some(INTERMEDIATE)), list(&self.intermediate, None))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate that nobody issued but itself.
pub fn self_signed(names: &[&str]) -> Identity {
    let serial = next_serial();
    let key = new_key();
    let params = leaf_params(names, Validity::Now, ExtendedKeyUsagePurpose::ServerAuth, serial);
    let chain = params.self_signed(&key).expect(SIGNS).pem();
    Identity { chain, key: key.serialize_pem(), serial }
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key` into `folder` and gives their paths.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write_to(&self, folder: &Path, name: &str) -> io::Result<(PathBuf, PathBuf)> {
        let (chain, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&chain, &self.chain)?;
        std::fs::write(&key, &self.key)?;
        Ok((chain, key))
    }
}

fn issuer_params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Roots of different tests must not share a name: verifiers find issuers by it.
    params.distinguished_name.push(DnType::CommonName, format!("{name} {}", next_serial()));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    params
}

fn leaf_params(
    names: &[&str],
    validity: Validity,
    usage: ExtendedKeyUsagePurpose,
    serial: u64,
) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("tests give names that fit a certificate");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = match validity {
        Validity::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2999, 1, 1)),
        Validity::Past => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
        Validity::Future => (date_time_ymd(3000, 1, 1), date_time_ymd(3001, 1, 1)),
    };
    params
}

fn list(issuer: &Issuer<'static, KeyPair>, revoked: Option<u64>) -> String {
    let revoked = revoked.map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2999, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.into_iter().collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).and_then(|list| list.pem()).expect(SIGNS)
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the provider makes P-256 keys")
}

fn next_serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(100);
    NEXT.fetch_add(1, Relaxed)
}

const ROOT: u64 = 1;
const INTERMEDIATE: u64 = 2;
const SIGNS: &str = "the parameters above are complete";
