//! Kinds of settings that hold secrets, or say where secrets are sent.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use serde_json::Value as Json;

use super::kinds::Kind;
use super::values::mask;

/// The shortest secret in bytes: as long as the hash it is used with.
const SECRET_BYTES_MIN: usize = 32;

/// What stands for a secret wherever settings are shown.
pub(super) const HIDDEN: &str = "***";

/// A secret text. Neither `Debug` nor `driftless config` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The secret, for who signs with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

/// Reads a secret; nothing when it is left out.
#[derive(Debug)]
pub struct Secret;

impl Kind for Secret {
    type Value = Option<SecretText>;
    const SYNTAX: &'static str = "SECRET";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Option<SecretText>, String> {
        match text.len() {
            0 => Ok(None),
            SECRET_BYTES_MIN.. => Ok(Some(SecretText(text.to_owned()))),
            length => Err(format!(
                "at least {SECRET_BYTES_MIN} bytes instead of {length}; `driftless keys generate \
                 --algorithm hs256` makes a good one"
            )),
        }
    }

    fn show(value: &Option<SecretText>) -> String {
        value.as_ref().map_or(String::new(), |_| HIDDEN.to_owned())
    }

    fn json(value: &Option<SecretText>) -> Json {
        value.as_ref().map_or(Json::Null, |_| HIDDEN.into())
    }
}

/// The URL of a service that this server asks. What looks like a secret in its query is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(Uri);

impl ServiceUrl {
    /// The URL, for who connects.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// True when nobody between here and there can read along.
    pub fn is_private(&self) -> bool {
        self.0.scheme_str() == Some("https") || is_loopback(&self.0)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&mask(&self.0.to_string()))
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or("");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn parse_url(text: &str) -> Option<ServiceUrl> {
    let url: Uri = text.parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    let authority = url.authority()?.as_str();
    // A fragment is dropped by the parser, and credentials would not be sent.
    let is_plain = !authority.contains('@') && !text.contains('#');
    let has_host = !url.host().unwrap_or("").is_empty();
    (is_http && is_plain && has_host).then_some(ServiceUrl(url))
}

/// An https URL, or http on this machine.
#[derive(Debug)]
pub struct PrivateUrl;

impl Kind for PrivateUrl {
    type Value = Option<ServiceUrl>;
    const SYNTAX: &'static str = "URL";

    fn parse(text: &str) -> Result<Option<ServiceUrl>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let url = parse_url(text).filter(ServiceUrl::is_private);
        let wanted = "https://host/path without user name and fragment; http only for 127.0.0.1, \
                      [::1] and localhost";
        url.map(Some).ok_or_else(|| wanted.to_owned())
    }

    fn show(value: &Option<ServiceUrl>) -> String {
        show_url(value)
    }

    fn json(value: &Option<ServiceUrl>) -> Json {
        json_url(value)
    }
}

/// An https or http URL.
#[derive(Debug)]
pub struct AnyUrl;

impl Kind for AnyUrl {
    type Value = Option<ServiceUrl>;
    const SYNTAX: &'static str = "URL";

    fn parse(text: &str) -> Result<Option<ServiceUrl>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let wanted = "https://host/path, or http within a private network, without user name and \
                      fragment";
        parse_url(text).map(Some).ok_or_else(|| wanted.to_owned())
    }

    fn show(value: &Option<ServiceUrl>) -> String {
        show_url(value)
    }

    fn json(value: &Option<ServiceUrl>) -> Json {
        json_url(value)
    }
}

fn show_url(value: &Option<ServiceUrl>) -> String {
    value
        .as_ref()
        .map_or(String::new(), |url| url.0.to_string())
}

fn json_url(value: &Option<ServiceUrl>) -> Json {
    value
        .as_ref()
        .map_or(Json::Null, |url| url.0.to_string().into())
}

/// A text that may be left out.
#[derive(Debug)]
pub struct OptionalText;

impl Kind for OptionalText {
    type Value = Option<String>;
    const SYNTAX: &'static str = "TEXT";

    fn parse(text: &str) -> Result<Option<String>, String> {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(value: &Option<String>) -> String {
        value.clone().unwrap_or_default()
    }

    fn json(value: &Option<String>) -> Json {
        value.clone().map_or(Json::Null, Json::String)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_private_when_nobody_can_read_along() {
        let table = [
            ("https://id.example.com/keys", true, true),
            ("https://id.example.com:8443/a/b?c=d", true, true),
            ("http://127.0.0.1:9/keys", true, true),
            ("http://127.9.9.9/keys", true, true),
            ("http://[::1]:9/keys", true, true),
            ("http://localhost/keys", true, true),
            ("http://app:3000/hook", true, false),
            ("http://127.0.0.1.example.com/", true, false),
            ("http://localhost.example.com/", true, false),
            ("https://user:hunter2@example.com/", false, false),
            ("http://user@127.0.0.1/", false, false),
            ("https://example.com/#a", false, false),
            ("https:///keys", false, false),
            ("https://", false, false),
            ("ftp://example.com/", false, false),
            ("example.com/keys", false, false),
            ("/keys", false, false),
            ("https://exa mple.com/", false, false),
        ];
        for (text, is_url, is_private) in table {
            assert_eq!(AnyUrl::parse(text).is_ok(), is_url, "{text}");
            assert_eq!(PrivateUrl::parse(text).is_ok(), is_private, "{text}");
        }
        let url = AnyUrl::parse("https://a.example/?key=hunter2")
            .unwrap()
            .unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://a.example/?key=*** https://a.example/?key=***"
        );
        assert_eq!(PrivateUrl::parse(""), Ok(None));
    }

    #[test]
    fn secrets_are_long_enough_and_never_shown() {
        let text = "x".repeat(32);
        let secret = Secret::parse(&text).unwrap();
        assert_eq!(secret.as_ref().unwrap().reveal(), text);
        assert_eq!(Secret::show(&secret), "***");
        assert_eq!(Secret::json(&secret), "***");
        assert_eq!(format!("{secret:?}"), "Some(***)");
        assert_eq!(Secret::parse(""), Ok(None));
        let told = Secret::parse(&text[1..]).unwrap_err();
        assert!(told.contains("instead of 31") && !told.contains("xx"));
    }
}
