//! `driftless token`: mints a token with the key or secret of the settings.

use super::arguments::TokenArguments;
use super::{Context, EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, Failure, files};
use crate::auth::{AuthError, NewToken, Right, Signer, SigningError, generate};
use crate::clock::Clock;
use crate::config::{Settings, units};

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::new(EXIT_USAGE, error)
    }
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Self {
        Self::new(EXIT_REFUSED, error)
    }
}

/// Prints one token and a line end.
pub(super) fn perform(
    wanted: TokenArguments,
    settings: &Settings,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let signer = Signer::from_settings(settings)?.ok_or_else(|| {
        let told = "there is no key to sign with: name the private one with --auth-signing-key, or \
                    set DRIFTLESS_AUTH_SECRET (`driftless keys generate` makes either)";
        Failure::new(EXIT_USAGE, told)
    })?;
    let token = new_token(wanted, settings, Clock::start().wall_ms())?;
    let text = signer.sign(&token)? + "\n";
    files::print(text.as_bytes(), context.output)
}

fn new_token(
    wanted: TokenArguments,
    settings: &Settings,
    now_ms: u64,
) -> Result<NewToken, Failure> {
    let documents = wanted.documents.iter().map(|text| document(text));
    let not_before = wanted.not_before.as_deref();
    let not_before_ms = not_before.map(|text| from_now("--not-before", text, now_ms));
    let random_id = generate::token_id().map_err(|error| Failure::new(EXIT_FAILED, error))?;
    Ok(NewToken {
        subject: wanted.sub,
        documents: documents.collect::<Result<_, _>>()?,
        may_relay: wanted.relay,
        issued_at_ms: now_ms,
        expires_at_ms: from_now("--ttl", &wanted.ttl, now_ms)?,
        not_before_ms: not_before_ms.transpose()?,
        audience: wanted.aud.or_else(|| settings.auth_audience.clone()),
        issuer: wanted.iss.or_else(|| settings.auth_issuer.clone()),
        token_id: Some(wanted.id.unwrap_or(random_id)),
    })
}

/// `team/*=write`; the last equals sign counts, as names may hold some.
fn document(text: &str) -> Result<(String, Right), Failure> {
    let pair = text.rsplit_once('=').filter(|(name, _)| !name.is_empty());
    let right = pair.and_then(|(name, right)| Some((name.to_owned(), right.parse().ok()?)));
    right.ok_or_else(|| {
        let told = "is no PATTERN=RIGHT, such as 'team/*=write'; a right is one of none, read, \
                    comment, write and admin";
        Failure::new(EXIT_USAGE, format!("--doc {} {told}", text.escape_debug()))
    })
}

fn from_now(flag: &str, text: &str, now_ms: u64) -> Result<u64, Failure> {
    let duration_ms = units::parse_duration_ms(text).ok_or_else(|| {
        let told = "is no duration with its unit, such as 15m, 1h or 7d";
        Failure::new(EXIT_USAGE, format!("{flag} {} {told}", text.escape_debug()))
    })?;
    Ok(now_ms.saturating_add(duration_ms))
}
