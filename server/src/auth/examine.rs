//! Whether the authentication settings lead anywhere: keys that can be read, URLs that answer. For
//! `driftless doctor`; nobody is judged and the hook is asked about nobody.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;

use super::http::HttpClient;
use super::keys::KeySet;
use super::source::{Place, read_place};
use super::{AuthError, Signer};
use crate::config::{ServiceUrl, Settings, check};
use crate::finding::{Finding, Grade};

/// The most of an answer to a HEAD request, which has no body.
const NO_BODY_BYTES_MAX: usize = 1_024;

/// A line for everything that the settings name.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    if !check::authenticates(settings) {
        return vec![open(settings)];
    }
    let mut findings = Vec::new();
    if settings.auth_secret.is_some() {
        findings.push(secret(settings));
    }
    if settings.auth_signing_key.is_some() {
        findings.push(signing_key(settings));
    }
    if let Some(path) = &settings.auth_keys {
        findings.push(key_file(path).await);
    }
    if let Some(url) = &settings.auth_jwks_url {
        findings.push(key_url(url).await);
    }
    if let Some(url) = &settings.auth_hook_url {
        let timeout = Duration::from_millis(settings.auth_hook_timeout_ms);
        findings.push(hook(url, timeout).await);
    }
    if settings.auth_jwks_url.is_some() && settings.auth_audience.is_none() {
        findings.push(Finding::warning(
            "audience",
            "any: if the issuer at auth_jwks_url mints tokens for other services as well, theirs open \
             documents here; set --auth-audience",
        ));
    }
    findings
}

fn open(settings: &Settings) -> Finding {
    let subject = "authentication";
    match check::guarded(settings) {
        Ok(()) if settings.insecure_open => Finding::warning(
            subject,
            "none, and insecure_open is set: whoever reaches the port reads and changes every document; \
             set --auth-keys or --auth-hook-url",
        ),
        Ok(()) => Finding::ok(
            subject,
            "none: everybody on this machine reads and changes every document, and no other machine \
             reaches the port",
        ),
        Err(error) => Finding::refused(subject, error.to_string()),
    }
}

fn secret(settings: &Settings) -> Finding {
    let subject = "auth secret";
    let only = Settings {
        auth_signing_key: None,
        ..settings.clone()
    };
    match Signer::from_settings(&only) {
        Ok(_) => Finding::ok(subject, "long enough for HS256"),
        Err(error) => Finding::refused(subject, error.to_string()),
    }
}

fn signing_key(settings: &Settings) -> Finding {
    let subject = "signing key";
    match Signer::from_settings(settings) {
        Ok(_) => Finding::ok(subject, "can be read, and signs"),
        Err(error) => Finding::refused(subject, error.to_string()),
    }
}

async fn key_file(path: &Path) -> Finding {
    let subject = "auth keys";
    let shown = path.display().to_string();
    match read_place(&Place::File(path.to_path_buf())).await {
        Ok(keys) => Finding::ok(subject, format!("{shown} holds {}", counted(&keys))),
        Err(problem) => {
            let path = shown;
            let error = AuthError::Keys { path, problem };
            Finding::refused(subject, error.to_string())
        }
    }
}

async fn key_url(url: &ServiceUrl) -> Finding {
    let subject = "auth jwks url";
    let client = match HttpClient::new() {
        Ok(client) => client,
        Err(error) => return Finding::refused(subject, AuthError::from(error).to_string()),
    };
    match read_place(&Place::Url(url.uri().clone(), Box::new(client))).await {
        Ok(keys) => Finding::ok(subject, format!("{url} answers with {}", counted(&keys))),
        Err(problem) => {
            let text = format!(
                "{url}: {problem}; tokens of its keys are denied until it answers with a JWKS: check \
                 --auth-jwks-url, and that this machine may go there"
            );
            Finding::new(subject, Grade::Unavailable, text)
        }
    }
}

fn counted(keys: &KeySet) -> String {
    match keys.len() {
        1 => "1 key that can be used".to_owned(),
        many => format!("{many} keys that can be used"),
    }
}

/// Asks for the head of the hook's page, which no application takes for a question about a peer.
async fn hook(url: &ServiceUrl, timeout: Duration) -> Finding {
    let subject = "auth hook";
    let request = Request::builder()
        .method(Method::HEAD)
        .uri(url.uri().clone())
        .header(header::USER_AGENT, super::USER_AGENT)
        .body(Full::new(Bytes::new()));
    let (client, request) = match (HttpClient::new(), request) {
        (Ok(client), Ok(request)) => (client, request),
        (Err(error), _) => return Finding::refused(subject, AuthError::from(error).to_string()),
        (_, Err(error)) => return Finding::refused(subject, error.to_string()),
    };
    match client.send(request, timeout, NO_BODY_BYTES_MAX).await {
        Err(error) => {
            let text = format!(
                "{url}: {error}; nobody is let in until it answers: check --auth-hook-url, and that the \
                 application runs"
            );
            Finding::new(subject, Grade::Unavailable, text)
        }
        Ok(answer) if answer.status.is_server_error() => {
            let text = format!(
                "{url} answers HEAD with {}: look at the application's log; while it answers POST so, \
                 nobody is let in",
                answer.status
            );
            Finding::warning(subject, text)
        }
        Ok(answer) => {
            let text = format!(
                "{url} can be reached and answers HEAD with {}; whether it answers questions and has the \
                 same secret was not asked",
                answer.status.as_u16()
            );
            match url.is_private() {
                true => Finding::ok(subject, text),
                false => Finding::warning(
                    subject,
                    format!(
                        "{text}; tokens travel there unencrypted, use https beyond a private network"
                    ),
                ),
            }
        }
    }
}
