//! Mints tokens: for `driftless token`, and for doors that hand them out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header};
use ring::signature::KeyPair;
use serde::Serialize;
use serde_json::Value as Json;

use super::claims::{IDENTITY_BYTES_MAX, SECONDS_MAX};
use super::crypto::{self, PrivateKey};
use super::keys::{Key, KeyError, SECRET_BYTES_MIN, decoded};
use super::pattern::PATTERNS_MAX;
use super::{Right, TOKEN_BYTES_MAX, pem};

/// Why a token cannot be minted, or a signing key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// Not a private key that is understood.
    #[error(
        "holds no private key: a PKCS#8 PEM (-----BEGIN PRIVATE KEY-----) of RSA, P-256 or \
         Ed25519, or a private JWK; `driftless keys generate` makes one"
    )]
    NoKey,
    /// A PEM form that has to be converted.
    #[error(
        "holds an EC key in its old form; convert it: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW"
    )]
    OldForm,
    /// The key itself is refused.
    #[error("holds a private key that cannot be used ({0})")]
    Unusable(String),
    /// A symmetric key or a JWK that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The token would be refused.
    #[error("the token would be refused: {0}")]
    Token(&'static str),
}

/// What a new token says. Times count from 1970 and are written in whole seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewToken {
    /// Who it is for.
    pub subject: Option<String>,
    /// Patterns of documents, each with a right.
    pub documents: Vec<(String, Right)>,
    /// Whether it may resend edits of others.
    pub may_relay: bool,
    /// Now.
    pub issued_at_ms: u64,
    /// When it ends.
    pub expires_at_ms: u64,
    /// When it begins, if not at once.
    pub not_before_ms: Option<u64>,
    /// Whom it is meant for.
    pub audience: Option<String>,
    /// Who issues it.
    pub issuer: Option<String>,
    /// Its own id.
    pub token_id: Option<String>,
}

/// The claims as they are written.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(rename = "driftless.docs")]
    documents: BTreeMap<&'a str, &'static str>,
    #[serde(rename = "driftless.relay", skip_serializing_if = "std::ops::Not::not")]
    relay: bool,
}

/// Holds the private key or the secret. Cheap to clone; shows nothing of it.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    header: Header,
    encoding: EncodingKey,
    /// What verifies its tokens.
    verifying: Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("algorithm", &self.0.header.alg)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Signs with a shared secret (HS256).
    pub fn from_secret(secret: &[u8]) -> Result<Self, SigningError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret(secret.len()).into());
        }
        Self::new(EncodingKey::from_secret(secret), None)
    }

    /// Signs with the key of a file: a private PEM or JWK.
    pub fn from_key(bytes: &[u8]) -> Result<Self, SigningError> {
        if let Ok(json) = serde_json::from_slice::<Json>(bytes) {
            return from_jwk(&json);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SigningError::NoKey)?;
        let blocks = pem::blocks(text);
        let Some(block) = blocks.iter().find(|it| it.label.ends_with("PRIVATE KEY")) else {
            return Err(SigningError::NoKey);
        };
        if block.label == "EC PRIVATE KEY" {
            return Err(SigningError::OldForm);
        }
        let bytes = block.text.as_bytes();
        let key = EncodingKey::from_ed_pem(bytes)
            .or_else(|_| EncodingKey::from_ec_pem(bytes))
            .or_else(|_| EncodingKey::from_rsa_pem(bytes));
        Self::new(key.map_err(|_| SigningError::NoKey)?, None)
    }

    fn new(encoding: EncodingKey, id: Option<&str>) -> Result<Self, SigningError> {
        crypto::install();
        let unusable =
            |error: jsonwebtoken::errors::Error| SigningError::Unusable(error.to_string());
        let private = PrivateKey::read(&encoding).map_err(unusable)?;
        let (algorithm, public) = match &private {
            PrivateKey::Hmac(_) => {
                let key = DecodingKey::from_secret(encoding.as_bytes());
                (Algorithm::HS256, key)
            }
            PrivateKey::Rsa(pair) => {
                let key = DecodingKey::from_rsa_der(pair.public_key().as_ref());
                (Algorithm::RS256, key)
            }
            PrivateKey::Ec(pair) => {
                let key = DecodingKey::from_ec_der(pair.public_key().as_ref());
                (Algorithm::ES256, key)
            }
            PrivateKey::Ed(pair) => {
                let key = DecodingKey::from_ed_der(pair.public_key().as_ref());
                (Algorithm::EdDSA, key)
            }
        };
        let mut header = Header::new(algorithm);
        header.kid = id.map(Into::into);
        Ok(Self(Arc::new(Inner {
            header,
            encoding,
            verifying: Key::new(id, algorithm, public),
        })))
    }

    /// What verifies its tokens.
    pub(super) fn verifying(&self) -> Key {
        self.0.verifying.clone()
    }

    /// True when whoever verifies its tokens could mint some, too.
    pub fn is_shared_secret(&self) -> bool {
        self.0.encoding.family() == AlgorithmFamily::Hmac
    }

    /// Mints a token. Refuses what no server would accept.
    pub fn sign(&self, token: &NewToken) -> Result<String, SigningError> {
        check(token)?;
        let documents = token.documents.iter();
        let claims = Written {
            sub: token.subject.as_deref(),
            iat: token.issued_at_ms / 1_000,
            exp: token.expires_at_ms / 1_000,
            nbf: token.not_before_ms.map(|ms| ms.div_ceil(1_000)),
            aud: token.audience.as_deref(),
            iss: token.issuer.as_deref(),
            jti: token.token_id.as_deref(),
            documents: documents
                .map(|(pattern, right)| (pattern.as_str(), right.as_str()))
                .collect(),
            relay: token.may_relay,
        };
        let inner = &*self.0;
        let text = jsonwebtoken::encode(&inner.header, &claims, &inner.encoding)
            .map_err(|error| SigningError::Unusable(error.to_string()))?;
        match text.len() {
            ..=TOKEN_BYTES_MAX => Ok(text),
            _ => Err(SigningError::Token("it has more than 16 KiB")),
        }
    }
}

fn check(token: &NewToken) -> Result<(), SigningError> {
    let refused = |told| Err(SigningError::Token(told));
    let identities = [&token.subject, &token.token_id];
    let fits = |text: &String| (1..=IDENTITY_BYTES_MAX).contains(&text.len());
    if !identities.into_iter().flatten().all(fits) {
        return refused("subject and id have 1 to 256 bytes");
    }
    if token.documents.is_empty() {
        return refused("it names no document");
    }
    let distinct: BTreeMap<_, _> = token.documents.iter().cloned().collect();
    if distinct.len() < token.documents.len() {
        return refused("a pattern comes twice");
    }
    if distinct.len() > PATTERNS_MAX {
        return refused("it has more than 1000 patterns");
    }
    let begins_ms = token.not_before_ms.unwrap_or(token.issued_at_ms);
    if token.expires_at_ms / 1_000 <= begins_ms / 1_000 {
        return refused("it ends before it begins");
    }
    if token.expires_at_ms / 1_000 > SECONDS_MAX {
        return refused("it lasts beyond the year 9999");
    }
    Ok(())
}

fn from_jwk(json: &Json) -> Result<Signer, SigningError> {
    let text = |name: &str| json.get(name).and_then(Json::as_str);
    let member = |name: &str| -> Result<Vec<u8>, SigningError> {
        let text = text(name).ok_or(SigningError::NoKey)?;
        Ok(decoded(text)?)
    };
    let array = |name: &str| -> Result<[u8; 32], SigningError> {
        let bytes = member(name)?;
        bytes.try_into().map_err(|_| SigningError::NoKey)
    };
    let id = text("kid");
    let (algorithm, key) = match (text("kty"), text("crv")) {
        (Some("oct"), _) => {
            let secret = member("k")?;
            if secret.len() < SECRET_BYTES_MIN {
                return Err(KeyError::ShortSecret(secret.len()).into());
            }
            ("HS256", EncodingKey::from_secret(&secret))
        }
        (Some("OKP"), Some("Ed25519")) => {
            let der = pem::ed25519_pkcs8(&array("d")?);
            ("EdDSA", EncodingKey::from_ed_der(&der))
        }
        (Some("EC"), Some("P-256")) => {
            let mut point = [4; 65];
            point[1..33].copy_from_slice(&array("x")?);
            point[33..].copy_from_slice(&array("y")?);
            let der = pem::p256_pkcs8(&array("d")?, &point);
            ("ES256", EncodingKey::from_ec_der(&der))
        }
        (Some("RSA"), _) => {
            let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
            let numbers: Vec<_> = names.into_iter().map(member).collect::<Result<_, _>>()?;
            let numbers = std::array::from_fn(|index| numbers[index].as_slice());
            ("RS256", EncodingKey::from_rsa_der(&pem::rsa_pkcs1(numbers)))
        }
        _ => return Err(SigningError::NoKey),
    };
    if text("alg").is_some_and(|wanted| wanted != algorithm) {
        return Err(
            KeyError::Jwk("for another algorithm than HS256, RS256, ES256 and EdDSA").into(),
        );
    }
    Signer::new(key, id)
}
