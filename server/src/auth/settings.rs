//! Who decides and who mints, as the settings say.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::hmac;

use super::hook::{Hook, HookOptions};
use super::http::HttpClient;
use super::keyring::KeyRing;
use super::keys::{KEYS_BYTES_MAX, KeySet};
use super::source::{FILE_PACE, Place, Source, URL_PACE};
use super::time::TimeSource;
use super::verify::Rules;
use super::{Authority, Judge, Signer, SigningError, crypto};
use crate::config::{Settings, check};

/// Why nobody can decide or mint as the settings want it.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// `auth_secret` cannot be used.
    #[error("auth_secret {0}")]
    Secret(SigningError),
    /// The file of `auth_keys` cannot be used.
    #[error("the file of auth_keys, {path}, {problem}")]
    Keys {
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The file of `auth_signing_key` cannot be used.
    #[error("the file of auth_signing_key, {path}, {problem}")]
    SigningKey {
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("requests to key URLs and hooks cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The thread that fetches keys and asks the hook cannot be started.
    #[error("the thread that fetches keys and asks the hook cannot be started: {0}")]
    Thread(io::Error),
}

impl Signer {
    /// The signer that the settings name, if they name one: `auth_signing_key`, or `auth_secret`.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, AuthError> {
        if let Some(path) = &settings.auth_signing_key {
            let signer = read(path)
                .map_err(|error| format!("cannot be read: {error}"))
                .and_then(|bytes| Self::from_key(&bytes).map_err(|error| error.to_string()));
            let path = path.display().to_string();
            let failed = |problem| AuthError::SigningKey { path, problem };
            return signer.map(Some).map_err(failed);
        }
        secret_signer(settings)
    }
}

fn secret_signer(settings: &Settings) -> Result<Option<Signer>, AuthError> {
    let secret = settings.auth_secret.as_ref();
    let signer = secret.map(|secret| Signer::from_secret(secret.reveal().as_bytes()));
    signer.transpose().map_err(AuthError::Secret)
}

impl Authority {
    /// Who decides as the settings say; open when they name neither keys nor a hook. A broken file
    /// is an error; a URL that does not answer is tried again and denies meanwhile.
    pub fn from_settings(settings: &Settings, time: impl TimeSource) -> Result<Self, AuthError> {
        let time: Arc<dyn TimeSource> = Arc::new(time);
        let judge = match &settings.auth_hook_url {
            _ if !check::authenticates(settings) => Judge::Open,
            Some(_) => Judge::Hook(hook(settings, &time)?),
            None => Judge::Keys(key_ring(settings, &time)?),
        };
        Ok(Self::new(judge, time))
    }
}

fn hook(settings: &Settings, time: &Arc<dyn TimeSource>) -> Result<Hook, AuthError> {
    let url = settings.auth_hook_url.as_ref();
    if url.is_some_and(|url| !url.is_private()) {
        tracing::warn!(
            "tokens travel to the authorization hook unencrypted; use https beyond a private network"
        );
    }
    let secret = settings.auth_hook_secret.as_ref();
    let secret = secret.map_or("", |secret| secret.reveal());
    let options = HookOptions {
        url: url.map(|url| url.uri().clone()).unwrap_or_default(),
        secret: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        timeout: Duration::from_millis(settings.auth_hook_timeout_ms),
        keep_ms: settings.auth_hook_cache_ms,
    };
    Hook::start(options, HttpClient::new()?, time.clone()).map_err(AuthError::Thread)
}

fn key_ring(settings: &Settings, time: &Arc<dyn TimeSource>) -> Result<KeyRing, AuthError> {
    crypto::install();
    let mut sources = Vec::new();
    if let Some(path) = &settings.auth_keys {
        let source = Source::new(Place::File(path.clone()), FILE_PACE);
        source.read_now(time.now_ms()).map_err(|problem| {
            let path = path.display().to_string();
            AuthError::Keys { path, problem }
        })?;
        sources.push(source);
    }
    if let Some(url) = &settings.auth_jwks_url {
        let place = Place::Url(url.uri().clone(), Box::new(HttpClient::new()?));
        sources.push(Source::new(place, URL_PACE));
    }
    let rules = Rules {
        audience: settings.auth_audience.clone(),
        issuer: settings.auth_issuer.clone(),
    };
    KeyRing::start(fixed(settings)?, sources, rules, time).map_err(AuthError::Thread)
}

/// The secret, and the public half of the signing key: its own tokens are good here.
fn fixed(settings: &Settings) -> Result<KeySet, AuthError> {
    let named = Signer::from_settings(settings)?;
    let secret = secret_signer(settings)?.filter(|_| settings.auth_signing_key.is_some());
    let signers = named.iter().chain(&secret);
    Ok(KeySet::new(signers.map(Signer::verifying).collect()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(KEYS_BYTES_MAX as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
