//! Certificates for servers with TLS, made anew for each test. An authority is its own root.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    folder: tempfile::TempDir,
}

impl Authority {
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let name = "an authority of the tests";
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("authority.pem"), &pem).expect("the folder is ours");
        Authority {
            issuer: Issuer::new(params, key),
            pem,
            folder,
        }
    }

    /// Its certificate, as a PEM file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Writes a certificate for these names with its key, and the authority's own: `server.pem`,
    /// `server.key` and `authority.pem`.
    pub fn certify(&self, names: &[&str], folder: &Path) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("proper names");
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        for (file, pem) in [
            ("server.pem", certificate.pem()),
            ("server.key", key.serialize_pem()),
            ("authority.pem", self.pem.clone()),
        ] {
            std::fs::write(folder.join(file), pem).expect("the folder is ours");
        }
    }
}
