//! Keys that tokens are verified with: read from a secret, PEM, JWK or JWKS, and picked by token.
//!
//! A key fixes its algorithm. A token only names one, so that it can be compared: RFC 8725
//! section 3.1.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value as Json;

use super::pem;

/// The most keys of one place; issuers publish two or three.
pub const KEYS_MAX: usize = 64;

/// The most keys of a file that have no id and are for one algorithm: each is tried on every token that
/// names none of the others.
pub const KEYS_WITHOUT_ID_MAX: usize = 16;

/// The shortest secret in bytes: as long as the hash, RFC 7518 section 3.2.
pub const SECRET_BYTES_MIN: usize = 32;

/// The largest file or answer with keys.
pub const KEYS_BYTES_MAX: usize = 256 << 10;

/// The lengths of RSA keys in bits that are long enough and not absurd.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// An uncompressed point of the curve P-256: a mark and two coordinates.
const P256_POINT_BYTES: usize = 65;

/// Why keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor JSON.
    #[error("holds neither PEM (-----BEGIN PUBLIC KEY-----) nor a JWK or JWKS in JSON")]
    NoKeys,
    /// More than [`KEYS_BYTES_MAX`].
    #[error("is larger than 256KiB; is it the right file?")]
    TooLarge,
    /// More than [`KEYS_MAX`].
    #[error("holds more than {KEYS_MAX} keys")]
    TooMany,
    /// More than [`KEYS_WITHOUT_ID_MAX`] that only trying tells apart.
    #[error(
        "holds more than {KEYS_WITHOUT_ID_MAX} keys without an id for one algorithm; write them as a \
         JWKS in which each has a kid"
    )]
    TooManyWithoutId,
    /// A private key where public ones belong.
    #[error("holds a private key; only its public half belongs there (openssl pkey -pubout)")]
    Private,
    /// A PEM block that is no public key, or one of another kind.
    #[error("holds a PEM block `{0}` that is no RSA, P-256 or Ed25519 public key")]
    Pem(String),
    /// A secret that is too short.
    #[error("holds a secret of {0} bytes; HS256 needs at least 32 (openssl rand -base64 32)")]
    ShortSecret(usize),
    /// An RSA key of a length that is not accepted.
    #[error("holds an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaLength(usize),
    /// A JWK that cannot be used.
    #[error("holds a JWK {0}")]
    Jwk(&'static str),
}

/// A key with everything that it fixes.
#[derive(Clone)]
pub struct Key {
    id: Option<Box<str>>,
    decoding: DecodingKey,
    validation: Validation,
}

impl Key {
    /// A key for one algorithm.
    pub(super) fn new(id: Option<&str>, algorithm: Algorithm, decoding: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm);
        // Times, audience and issuer are checked by us: against our clock, and strictly.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            id: id.map(Into::into),
            decoding,
            validation,
        }
    }

    /// What `jsonwebtoken` takes.
    pub(super) fn decoding(&self) -> (&DecodingKey, &Validation) {
        (&self.decoding, &self.validation)
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.validation.algorithms.contains(&algorithm)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.validation.algorithms)
            .finish_non_exhaustive()
    }
}

/// Where keys come from decides what may be among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// A file of this machine: every key must be usable, and secrets are fine.
    File,
    /// Published for everybody: what cannot be used is skipped, and a secret is none any more.
    Published,
}

/// The keys of one place.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Exactly these keys.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Reads PEM blocks, a JWK or a JWKS.
    pub(super) fn read(bytes: &[u8], trust: Trust) -> Result<Self, KeyError> {
        if bytes.len() > KEYS_BYTES_MAX {
            return Err(KeyError::TooLarge);
        }
        let keys = match serde_json::from_slice::<Json>(bytes) {
            Ok(json) => from_json(&json, trust)?,
            Err(_) if trust == Trust::Published => return Err(KeyError::NoKeys),
            Err(_) => from_pem(bytes)?,
        };
        match keys.len() {
            0 => Err(KeyError::NoKeys),
            1..=KEYS_MAX if trust == Trust::File && are_too_alike(&keys) => {
                Err(KeyError::TooManyWithoutId)
            }
            1..=KEYS_MAX => Ok(Self(keys)),
            _ => Err(KeyError::TooMany),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when a key has this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// The keys that may have signed a token with this header: those of its `kid`, and those that
    /// have no id at all, since secrets and PEM files have no place for one. With each, how likely it
    /// is, the least first.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = (u8, &Key)> {
        let rank = move |key: &Key| match (id, key.id.as_deref()) {
            (Some(wanted), Some(known)) => (wanted == known).then_some(0),
            (_, None) => Some(1),
            (None, Some(_)) => Some(2),
        };
        self.0
            .iter()
            .filter(move |key| key.is_for(algorithm))
            .filter_map(move |key| Some((rank(key)?, key)))
    }
}

/// Whether some of these keys would never be tried.
fn are_too_alike(keys: &[Key]) -> bool {
    let nameless = || keys.iter().filter(|key| key.id.is_none());
    nameless().any(|one| {
        let alike = nameless().filter(|key| key.validation.algorithms == one.validation.algorithms);
        alike.count() > KEYS_WITHOUT_ID_MAX
    })
}

fn secret_key(id: Option<&str>, secret: &[u8]) -> Result<Key, KeyError> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(KeyError::ShortSecret(secret.len()));
    }
    let decoding = DecodingKey::from_secret(secret);
    Ok(Key::new(id, Algorithm::HS256, decoding))
}

fn from_pem(bytes: &[u8]) -> Result<Vec<Key>, KeyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyError::NoKeys)?;
    let blocks = pem::blocks(text);
    blocks.iter().map(pem_key).collect()
}

fn pem_key(block: &pem::Block<'_>) -> Result<Key, KeyError> {
    let (label, bytes) = (block.label, block.text.as_bytes());
    if label.ends_with("PRIVATE KEY") {
        return Err(KeyError::Private);
    }
    let unusable = || KeyError::Pem(label.escape_debug().take(40).collect());
    if !matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY") {
        return Err(unusable());
    }
    if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        let is_point = key.try_get_as_bytes().is_ok_and(|point| point.len() == 32);
        let key = Key::new(None, Algorithm::EdDSA, key);
        return is_point.then_some(key).ok_or_else(unusable);
    }
    if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        let is_point = key.try_get_as_bytes().is_ok_and(is_p256_point);
        let key = Key::new(None, Algorithm::ES256, key);
        return is_point.then_some(key).ok_or_else(unusable);
    }
    let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| unusable())?;
    let der = key.try_get_as_bytes().map_err(|_| unusable())?;
    let modulus = pem::rsa_modulus(der).ok_or_else(unusable)?;
    check_rsa(modulus)?;
    Ok(Key::new(None, Algorithm::RS256, key))
}

fn is_p256_point(bytes: &[u8]) -> bool {
    bytes.len() == P256_POINT_BYTES && bytes.first() == Some(&4)
}

fn check_rsa(modulus: &[u8]) -> Result<(), KeyError> {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let significant = &modulus[zeros..];
    let leading = significant.first().map_or(0, |byte| byte.leading_zeros());
    let bits = (significant.len() * 8).saturating_sub(leading as usize);
    match RSA_BITS.contains(&bits) {
        true => Ok(()),
        false => Err(KeyError::RsaLength(bits)),
    }
}

fn from_json(json: &Json, trust: Trust) -> Result<Vec<Key>, KeyError> {
    let one = std::slice::from_ref(json);
    let all = json.get("keys").and_then(Json::as_array);
    let all = all.map_or(one, Vec::as_slice);
    if all.len() > KEYS_MAX {
        return Err(KeyError::TooMany);
    }
    let keys = all.iter().map(|jwk| jwk_key(jwk, trust));
    match trust {
        Trust::File => keys.collect(),
        // RFC 7517 section 5: what is not understood is ignored.
        Trust::Published => Ok(keys.filter_map(Result::ok).collect()),
    }
}

fn jwk_key(json: &Json, trust: Trust) -> Result<Key, KeyError> {
    if json.get("d").is_some() {
        return Err(KeyError::Private);
    }
    let jwk: Jwk =
        serde_json::from_value(json.clone()).map_err(|_| KeyError::Jwk("that cannot be read"))?;
    let usage = json.get("use").and_then(Json::as_str);
    let operations = json.get("key_ops").and_then(Json::as_array);
    let verifies = operations.is_none_or(|all| all.iter().any(|it| it == "verify"));
    if usage.is_some_and(|usage| usage != "sig") || !verifies {
        return Err(KeyError::Jwk("that is not meant for signatures"));
    }
    let id = jwk.common.key_id.as_deref();
    let (wanted, key) = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) if trust == Trust::Published => {
            return Err(KeyError::Jwk("with a secret, which everybody knows now"));
        }
        AlgorithmParameters::OctetKey(key) => {
            (KeyAlgorithm::HS256, secret_key(id, &decoded(&key.value)?)?)
        }
        AlgorithmParameters::RSA(key) => {
            let modulus = decoded(&key.n)?;
            check_rsa(&modulus)?;
            let key = DecodingKey::from_rsa_raw_components(&modulus, &decoded(&key.e)?);
            (KeyAlgorithm::RS256, Key::new(id, Algorithm::RS256, key))
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            let point = [&[4], &*decoded(&key.x)?, &*decoded(&key.y)?].concat();
            if !is_p256_point(&point) {
                return Err(KeyError::Jwk("whose point is not on P-256"));
            }
            let key = DecodingKey::from_ec_der(&point);
            (KeyAlgorithm::ES256, Key::new(id, Algorithm::ES256, key))
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            let point = decoded(&key.x)?;
            if point.len() != 32 {
                return Err(KeyError::Jwk("whose point is not on Ed25519"));
            }
            let key = DecodingKey::from_ed_der(&point);
            (KeyAlgorithm::EdDSA, Key::new(id, Algorithm::EdDSA, key))
        }
        _ => return Err(KeyError::Jwk("that is none of oct, RSA, P-256 and Ed25519")),
    };
    match jwk.common.key_algorithm {
        Some(other) if other != wanted => Err(KeyError::Jwk(
            "for another algorithm than HS256, RS256, ES256 and EdDSA",
        )),
        _ => Ok(key),
    }
}

/// A member of a JWK: base64url without padding.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, KeyError> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| KeyError::Jwk("with a member that is not base64url"))
}
