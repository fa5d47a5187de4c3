//! The signatures of tokens by ring, which TLS uses already; `jsonwebtoken` is told of it here.
//!
//! Exactly one algorithm per kind of key: HS256, RS256 (2,048 to 8,192 bits), ES256 and EdDSA on
//! Ed25519.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Keys are never turned into JWK here, nor are thumbprints made.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Tells `jsonwebtoken` of ring. Whoever verifies or signs calls it first; only one call counts.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Fails only if somebody else in this process was faster, which nobody is.
        let _ = PROVIDER.install_default();
    });
}

/// The algorithm of a kind of key, if keys of this kind are for this algorithm.
fn fitting(algorithm: Algorithm, family: AlgorithmFamily) -> Result<Algorithm, Error> {
    match (algorithm, family) {
        (Algorithm::HS256, AlgorithmFamily::Hmac)
        | (Algorithm::RS256, AlgorithmFamily::Rsa)
        | (Algorithm::ES256, AlgorithmFamily::Ec)
        | (Algorithm::EdDSA, AlgorithmFamily::Ed) => Ok(algorithm),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    Ok(Box::new(RingVerifier {
        algorithm: fitting(*algorithm, key.family())?,
        key: key.clone(),
    }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let wrong = |_| signature::Error::new();
        let checked = match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::verify(&key, message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der);
                key.verify(message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let key = PublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        checked.map_err(wrong)
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A private key or secret, ready to sign.
pub(super) enum PrivateKey {
    Hmac(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads the content of an encoding key: a secret, PKCS#1 of RSA, or PKCS#8.
    pub(super) fn read(key: &EncodingKey) -> Result<Self, Error> {
        let bytes = key.as_bytes();
        let unusable =
            |error: ring::error::KeyRejected| Error::from(ErrorKind::Provider(error.to_string()));
        match key.family() {
            AlgorithmFamily::Hmac => Ok(Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
            AlgorithmFamily::Rsa => {
                let pair = RsaKeyPair::from_der(bytes).map_err(unusable)?;
                Ok(Self::Rsa(Box::new(pair)))
            }
            AlgorithmFamily::Ec => {
                let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(curve, bytes, &SystemRandom::new());
                Ok(Self::Ec(pair.map_err(unusable)?))
            }
            AlgorithmFamily::Ed => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes);
                Ok(Self::Ed(pair.map_err(unusable)?))
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ec(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Ok(Box::new(RingSigner {
        algorithm: fitting(*algorithm, key.family())?,
        key: PrivateKey::read(key)?,
    }))
}

struct RingSigner {
    algorithm: Algorithm,
    key: PrivateKey,
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        self.key.sign(message).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
