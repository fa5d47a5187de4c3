//! Certificates for tests, and a folder that the server reads them from.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

/// A certificate that signs itself, and its key.
pub(crate) struct Pair {
    pub(crate) certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    pub(crate) fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().der().clone(),
            key: key.serialize_der(),
        }
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A folder with `certificate.pem` and `key.pem`.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn holding(pair: &Pair) -> Self {
        let folder = Self::new();
        folder.write(pair);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.path().join("certificate.pem")
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.path().join("key.pem")
    }

    pub(crate) fn write(&self, pair: &Pair) {
        self.write_certificate(pair);
        self.write_key(pair);
    }

    pub(crate) fn write_certificate(&self, pair: &Pair) {
        let text = pem("CERTIFICATE", &pair.certificate);
        fs::write(self.certificate_path(), text).unwrap();
    }

    pub(crate) fn write_key(&self, pair: &Pair) {
        fs::write(self.key_path(), pem("PRIVATE KEY", &pair.key)).unwrap();
    }
}
