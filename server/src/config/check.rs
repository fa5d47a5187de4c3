//! What one setting demands of another.

use super::error::ConfigError;
use super::table::Settings;
use super::units::{show_duration_ms, show_size};

/// Refuses sizes and times that contradict each other.
pub fn consistent(settings: &Settings) -> Result<(), ConfigError> {
    if settings.frame_bytes_max < settings.document_bytes_max {
        return Err(ConfigError::Conflict(format!(
            "`frame_bytes_max` ({}) is below `document_bytes_max` ({}), but a client may send a \
             whole document in one frame; raise the one or lower the other",
            show_size(settings.frame_bytes_max),
            show_size(settings.document_bytes_max),
        )));
    }
    if settings.peer_timeout_ms <= settings.keepalive_ms {
        return Err(ConfigError::Conflict(format!(
            "`peer_timeout_ms` ({}) must be longer than `keepalive_ms` ({}), or quiet peers are given up \
             before they are sent anything; raise the one or lower the other",
            show_duration_ms(settings.peer_timeout_ms),
            show_duration_ms(settings.keepalive_ms),
        )));
    }
    if settings.commit_queue_bytes_max < settings.frame_bytes_max {
        return Err(ConfigError::Conflict(format!(
            "`commit_queue_bytes_max` ({}) is below `frame_bytes_max` ({}), so that the largest \
             allowed edit could never wait for its commit; raise the one or lower the other",
            show_size(settings.commit_queue_bytes_max),
            show_size(settings.frame_bytes_max),
        )));
    }
    Ok(())
}

/// Refuses what a server cannot do as told. Commands that open no port do not ask: an operator's shell may
/// hold the secrets of the server and nothing else of it.
pub fn servable(settings: &Settings) -> Result<(), ConfigError> {
    authenticates_one_way(settings)?;
    knows_identities_to_show(settings)?;
    encrypts_with_both(settings)
}

/// Keys and a hook are two answers to one question.
fn authenticates_one_way(settings: &Settings) -> Result<(), ConfigError> {
    let conflict = |told: &str| Err(ConfigError::Conflict(told.to_owned()));
    let has_hook = settings.auth_hook_url.is_some();
    if has_hook && has_keys(settings) {
        return conflict(
            "`auth_hook_url` is set and so are keys (`auth_secret`, `auth_keys`, `auth_jwks_url` or \
             `auth_signing_key`): either tokens decide or the application does; remove one. The \
             application gets the token and may verify it itself",
        );
    }
    if has_hook != settings.auth_hook_secret.is_some() {
        return conflict(
            "`auth_hook_url` and `auth_hook_secret` belong together: requests to the hook are \
             signed with the secret",
        );
    }
    let has_names = settings.auth_audience.is_some() || settings.auth_issuer.is_some();
    if has_names && !has_keys(settings) {
        return conflict(
            "`auth_audience` and `auth_issuer` say what tokens must hold, but no key is set to \
             verify tokens with: `auth_keys`, `auth_jwks_url`, `auth_signing_key` or `auth_secret`",
        );
    }
    Ok(())
}

/// Without authentication every session is anonymous.
fn knows_identities_to_show(settings: &Settings) -> Result<(), ConfigError> {
    if settings.presence_identity_field.is_none() || authenticates(settings) {
        return Ok(());
    }
    Err(ConfigError::Conflict(
        "`presence_identity_field` is set, but nothing is set to tell who somebody is; set `auth_keys`, \
         `auth_jwks_url`, `auth_signing_key`, `auth_secret` or `auth_hook_url`"
            .to_owned(),
    ))
}

/// A certificate and its key are one thing.
fn encrypts_with_both(settings: &Settings) -> Result<(), ConfigError> {
    let (set, missing) = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(_), None) => ("tls_certificate", "tls_key"),
        (None, Some(_)) => ("tls_key", "tls_certificate"),
        _ => return Ok(()),
    };
    Err(ConfigError::Conflict(format!(
        "`{set}` is set and `{missing}` is not, but TLS needs a certificate and its key; set both, \
         or neither to speak plain HTTP"
    )))
}

fn has_keys(settings: &Settings) -> bool {
    settings.auth_secret.is_some()
        || settings.auth_keys.is_some()
        || settings.auth_jwks_url.is_some()
        || settings.auth_signing_key.is_some()
}

/// True when peers have to show who they are.
pub fn authenticates(settings: &Settings) -> bool {
    has_keys(settings) || settings.auth_hook_url.is_some()
}

/// Refuses to serve strangers, and what [`servable`] refuses.
pub fn guarded(settings: &Settings) -> Result<(), ConfigError> {
    servable(settings)?;
    let is_loopback = settings.listen.ip().to_canonical().is_loopback();
    if is_loopback || settings.insecure_open || authenticates(settings) {
        return Ok(());
    }
    Err(ConfigError::Conflict(format!(
        "`listen` is {}, which other machines can reach, and nothing is set to authenticate anybody: \
         whoever reaches the port could read and change every document. Set --auth-keys or \
         --auth-hook-url (`driftless keys generate` makes keys), listen on 127.0.0.1, or accept the \
         risk with --insecure-open",
        settings.listen
    )))
}
