//! New keys: PEM for key pairs, so that every tool reads them, and text for secrets.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::pem;

/// For what a key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// EdDSA: small and fast.
    Ed25519,
    /// ECDSA on P-256: for issuers that know no EdDSA.
    Es256,
    /// A secret that issuer and server share.
    Hs256,
}

/// The system gave no randomness, or refused its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct NoRandomness;

/// New keys; `Debug` shows nothing of the secret.
#[derive(PartialEq, Eq)]
pub struct NewKey {
    /// For who mints tokens: a PEM, or the text of the secret with a line end.
    pub private: String,
    /// For who verifies them; a secret has no such half.
    pub public: Option<String>,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("NewKey");
        shown.field("public", &self.public).finish_non_exhaustive()
    }
}

/// Makes a key.
pub fn generate(kind: KeyKind) -> Result<NewKey, NoRandomness> {
    let random = SystemRandom::new();
    match kind {
        KeyKind::Ed25519 => {
            let seed = random_bytes(&random)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoRandomness)?;
            let point = pair.public_key().as_ref().try_into();
            let spki = pem::ed25519_spki(point.map_err(|_| NoRandomness)?);
            Ok(pair_of(&pem::ed25519_pkcs8(&seed), &spki))
        }
        KeyKind::Es256 => {
            let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(|_| NoRandomness)?;
            let pair = EcdsaKeyPair::from_pkcs8(curve, pkcs8.as_ref(), &random);
            let pair = pair.map_err(|_| NoRandomness)?;
            let point = pair.public_key().as_ref().try_into();
            let spki = pem::p256_spki(point.map_err(|_| NoRandomness)?);
            Ok(pair_of(pkcs8.as_ref(), &spki))
        }
        KeyKind::Hs256 => {
            let secret = random_bytes(&random)?;
            Ok(NewKey {
                private: STANDARD.encode(secret) + "\n",
                public: None,
            })
        }
    }
}

/// A new id for a token: 16 random bytes in hexadecimal digits.
pub fn token_id() -> Result<String, NoRandomness> {
    let bytes: [u8; 32] = random_bytes(&SystemRandom::new())?;
    let digits = bytes[..16].iter().map(|byte| format!("{byte:02x}"));
    Ok(digits.collect())
}

fn random_bytes(random: &SystemRandom) -> Result<[u8; 32], NoRandomness> {
    let mut bytes = [0; 32];
    random.fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

fn pair_of(pkcs8: &[u8], spki: &[u8]) -> NewKey {
    NewKey {
        private: pem::armoured("PRIVATE KEY", pkcs8),
        public: Some(pem::armoured("PUBLIC KEY", spki)),
    }
}
