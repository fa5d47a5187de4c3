//! From the text of a token to its claims: signature first, then times, audience and issuer.

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{decode, decode_header};

use super::claims::Claims;
use super::keys::{KEYS_WITHOUT_ID_MAX, Key, KeySet};
use super::{Denial, Grant, Right};

/// How far the clocks of issuer and server may be apart for `nbf`: a token is often used in the
/// second it was made. `exp` has no leeway: whoever sets it knows when it is over.
pub const NOT_BEFORE_LEEWAY_MS: u64 = 5_000;

/// The most keys that are tried on one token, so that a token without `kid` costs little: those that it
/// names, the secret and the signing key, and all of a file that have no id.
pub const KEYS_TRIED_MAX: usize = KEYS_WITHOUT_ID_MAX + 4;

/// What tokens must say beyond what every token must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// `aud` must hold it.
    pub(super) audience: Option<String>,
    /// `iss` must be it.
    pub(super) issuer: Option<String>,
}

/// Why no claims came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// More keys would not help.
    Final(Denial),
    /// The key that the token names is not among these; newer keys may have it.
    KeyMissing(Denial),
}

/// The claims of a token that one of these keys signed; times and names are not looked at yet.
pub(super) fn authentic(token: &str, sets: &[Arc<KeySet>]) -> Result<Claims, Failure> {
    let header = decode_header(token).map_err(|_| Failure::Final(Denial::Malformed))?;
    // RFC 7515 section 4.1.11: extensions that must be understood, and none is.
    if header.crit.is_some() {
        return Err(Failure::Final(Denial::Malformed));
    }
    let id = header.kid.as_deref();
    let candidates = sets.iter().flat_map(|set| set.candidates(header.alg, id));
    let mut candidates: Vec<_> = candidates.collect();
    // Wherever it comes from, the key that is named is tried before those that can only be tried.
    candidates.sort_by_key(|(rank, _)| *rank);
    let mut tried = 0;
    for (_, key) in candidates.into_iter().take(KEYS_TRIED_MAX) {
        tried += 1;
        if let Some(claims) = signed_by(token, key)? {
            return Ok(claims);
        }
    }
    let denial = match tried {
        0 => Denial::UnknownKey,
        _ => Denial::BadSignature,
    };
    match id {
        Some(id) if sets.iter().any(|set| set.has(id)) => Err(Failure::Final(denial)),
        _ => Err(Failure::KeyMissing(denial)),
    }
}

/// Nothing when another key may have signed it.
fn signed_by(token: &str, key: &Key) -> Result<Option<Claims>, Failure> {
    let (decoding, validation) = key.decoding();
    match decode::<Claims>(token, decoding, validation) {
        Ok(token) => Ok(Some(token.claims)),
        Err(error) => match error.kind() {
            ErrorKind::InvalidSignature => Ok(None),
            _ => Err(Failure::Final(Denial::Malformed)),
        },
    }
}

/// Whether the claims hold here and now (`now_ms` since 1970).
pub(super) fn in_force(claims: &Claims, rules: &Rules, now_ms: u64) -> Result<(), Denial> {
    if claims.expires_at_ms <= now_ms {
        return Err(Denial::Expired);
    }
    let not_before_ms = claims.not_before_ms.unwrap_or(0);
    if not_before_ms > now_ms.saturating_add(NOT_BEFORE_LEEWAY_MS) {
        return Err(Denial::NotYetValid);
    }
    if let Some(wanted) = &rules.audience
        && !claims.audiences.contains(wanted)
    {
        return Err(Denial::WrongAudience);
    }
    if rules.issuer.is_some() && claims.issuer != rules.issuer {
        return Err(Denial::WrongIssuer);
    }
    Ok(())
}

/// What the claims grant on the document of this name.
pub(super) fn grant(claims: Claims, document: &str) -> Result<Grant, Denial> {
    let right = claims.documents.right_for(document);
    if right == Right::None {
        return Err(Denial::NoRight);
    }
    Ok(Grant {
        subject: claims.subject.map(Into::into),
        token_id: claims.token_id.map(Into::into),
        issued_at_ms: claims.issued_at_ms,
        right,
        may_relay: claims.may_relay,
        expires_at_ms: Some(claims.expires_at_ms),
    })
}
