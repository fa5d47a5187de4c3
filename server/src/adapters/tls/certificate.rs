//! The certificate and its key: from two PEM files to what rustls serves with.

use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

use super::Validity;

/// A chain of certificates takes a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// HTTP/2 would be chosen by browsers if it were offered, and its WebSockets are others.
const APPLICATION_PROTOCOL: &[u8] = b"http/1.1";

/// Where a certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM: the server's own certificate first, then who signed it.
    pub certificate: PathBuf,
    /// The key in PEM, not encrypted (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}

/// Why a certificate cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("the TLS file {} cannot be read: {error} (settings tls_certificate, tls_key)", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is far too large.
    #[error("the TLS file {} is larger than 1MiB; is it the right file?", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file is broken PEM.
    #[error("the TLS file {} is no valid PEM: {problem}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong, without anything of its content.
        problem: &'static str,
    },
    /// There is no certificate.
    #[error(
        "{} holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`); tls_certificate names \
         the chain, the server's own certificate first", path.display()
    )]
    NoCertificate {
        /// Where.
        path: PathBuf,
    },
    /// There is no key.
    #[error(
        "{} holds no key that can be read (`-----BEGIN PRIVATE KEY-----`); an encrypted key has \
         to be decrypted first: `openssl pkey -in FILE -out KEY`", path.display()
    )]
    NoKey {
        /// Where.
        path: PathBuf,
    },
    /// They are of two different pairs.
    #[error(
        "the key in {} is not the one of the first certificate in {}; name the pair that \
         belongs together, and put the server's own certificate first",
        files.key.display(), files.certificate.display()
    )]
    Mismatch {
        /// Which.
        files: CertificateFiles,
    },
    /// rustls does not take them.
    #[error("the TLS certificate in {} cannot be used: {problem}", path.display())]
    Unusable {
        /// The file of the certificate.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// What is in the files, not looked at yet.
pub(super) struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate that can be served with.
#[derive(Clone)]
pub struct Certificate {
    pub(super) config: Arc<ServerConfig>,
    /// When clients take it.
    pub validity: Validity,
    /// Of the files' content.
    pub(super) fingerprint: u64,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// Reads both and makes sure that they fit each other. Blocks on the disk.
    pub fn load(&self) -> Result<Certificate, CertificateError> {
        self.certificate(&self.read()?)
    }

    pub(super) fn read(&self) -> Result<Pem, CertificateError> {
        Ok(Pem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    pub(super) fn certificate(&self, pem: &Pem) -> Result<Certificate, CertificateError> {
        let chain = self.chain(&pem.certificate)?;
        let key = self.key(&pem.key)?;
        let first = chain.first().ok_or_else(|| self.no_certificate())?;
        let validity = Validity::of(first).ok_or_else(|| self.unusable("it has no dates"))?;
        let config = self.config(chain, key)?;
        Ok(Certificate {
            config: Arc::new(config),
            validity,
            fingerprint: pem.fingerprint(),
        })
    }

    fn chain(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match chain {
            Ok(chain) if chain.is_empty() => Err(self.no_certificate()),
            Ok(chain) => Ok(chain),
            Err(error) => Err(malformed(&self.certificate, &error)),
        }
    }

    fn key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            PemError::NoItemsFound => CertificateError::NoKey {
                path: self.key.clone(),
            },
            other => malformed(&self.key, &other),
        })
    }

    /// TLS 1.2 and 1.3. Tickets are sealed by keys of this configuration: who comes back after the
    /// certificate was exchanged sees the new one.
    fn config(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerConfig, CertificateError> {
        let provider: Arc<CryptoProvider> = Arc::new(default_provider());
        let unusable = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::Mismatch {
                    files: self.clone(),
                }
            }
            other => self.unusable(&other.to_string()),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
        config.ticketer = Ticketer::new().map_err(unusable)?;
        Ok(config)
    }

    fn no_certificate(&self) -> CertificateError {
        CertificateError::NoCertificate {
            path: self.certificate.clone(),
        }
    }

    fn unusable(&self, problem: &str) -> CertificateError {
        CertificateError::Unusable {
            path: self.certificate.clone(),
            problem: problem.to_owned(),
        }
    }
}

impl Pem {
    /// Tells contents apart without keeping them.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.certificate, &self.key).hash(&mut hasher);
        hasher.finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |error| CertificateError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(content)
}

/// The error of the parser may show a line of the file, which may be a part of the key.
fn malformed(path: &Path, error: &PemError) -> CertificateError {
    let problem = match error {
        PemError::MissingSectionEnd { .. } => "a section has no end",
        PemError::IllegalSectionStart { .. } => "a section begins in a way that cannot be read",
        PemError::Base64Decode(_) => "a section is no base64",
        _ => "it cannot be read",
    };
    CertificateError::Malformed {
        path: path.to_owned(),
        problem,
    }
}
