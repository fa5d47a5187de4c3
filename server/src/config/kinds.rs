//! The kinds of values a setting can have: how each is written, read and bounded.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value as Json;

use super::units;
use crate::adapters::access::OnExpiry;

/// The smallest and largest value, both allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest allowed value.
    pub min: u64,
    /// The largest allowed value.
    pub max: u64,
}

/// A kind of value.
pub trait Kind {
    /// What the server works with.
    type Value;
    /// How a value is written, for help pages and error messages.
    const SYNTAX: &'static str;
    /// True when no value may be shown, not even a refused one.
    const IS_SECRET: bool = false;
    /// Reads it from text; the error completes the sentence "expected …".
    fn parse(text: &str) -> Result<Self::Value, String>;
    /// Writes it so that [`Kind::parse`] reads it back; a secret is not written.
    fn show(value: &Self::Value) -> String;
    /// The value for scripts.
    fn json(value: &Self::Value) -> Json {
        Json::String(Self::show(value))
    }
    /// The number that the bounds of a setting apply to, if it is one.
    fn number(_value: &Self::Value) -> Option<u64> {
        None
    }
}

/// A socket address; `localhost` stands for 127.0.0.1.
#[derive(Debug)]
pub struct Address;

impl Kind for Address {
    type Value = SocketAddr;
    const SYNTAX: &'static str = "ADDRESS:PORT";

    fn parse(text: &str) -> Result<SocketAddr, String> {
        if let Some(port) = text.strip_prefix("localhost:")
            && let Ok(port) = port.parse()
        {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        let wanted = "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";
        text.parse().map_err(|_| wanted.to_owned())
    }

    fn show(value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// A path on this machine; relative ones start at the working directory.
#[derive(Debug)]
pub struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;
    const SYNTAX: &'static str = "PATH";

    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() {
            return Err("a path that is not empty".into());
        }
        Ok(PathBuf::from(text))
    }

    fn show(value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// A path that may be left out (then it is written as nothing).
#[derive(Debug)]
pub struct OptionalPath;

impl Kind for OptionalPath {
    type Value = Option<PathBuf>;
    const SYNTAX: &'static str = "PATH";

    fn parse(text: &str) -> Result<Option<PathBuf>, String> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn show(value: &Option<PathBuf>) -> String {
        value.as_ref().map_or(String::new(), FilePath::show)
    }

    fn json(value: &Option<PathBuf>) -> Json {
        value.as_ref().map_or(Json::Null, FilePath::json)
    }
}

/// Where the documents are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// The embedded SQLite database in the data folder.
    Sqlite,
    /// A PostgreSQL database that any number of nodes share.
    Postgres(SecretUrl),
}

/// How nodes hear of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusLocation {
    /// There are no others.
    Local,
    /// Over Redis or Valkey.
    Redis(SecretUrl),
}

/// A URL that may hold a password: it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL with its password, for who connects.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SecretUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&super::values::mask(&self.0))
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

/// Reads a [`StoreLocation`].
#[derive(Debug)]
pub struct StoreUrl;

impl Kind for StoreUrl {
    type Value = StoreLocation;
    const SYNTAX: &'static str = "URL";

    fn parse(text: &str) -> Result<StoreLocation, String> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match (scheme, rest) {
            ("sqlite", "") => Ok(StoreLocation::Sqlite),
            ("sqlite", _) => Err(
                "`sqlite:` without a path: the database lies in the data folder, whose lock \
                 keeps a second server away; choose the folder with --data"
                    .into(),
            ),
            ("postgres" | "postgresql", _) if rest.starts_with("//") => {
                Ok(StoreLocation::Postgres(SecretUrl(text.to_owned())))
            }
            _ => Err(format!(
                "`sqlite:`, the embedded store, or postgres://user:password@host:5432/database; \
                 this version has no store for `{}:`",
                scheme.escape_debug()
            )),
        }
    }

    fn show(value: &StoreLocation) -> String {
        match value {
            StoreLocation::Sqlite => "sqlite:".into(),
            StoreLocation::Postgres(url) => url.reveal().to_owned(),
        }
    }
}

/// Reads a [`BusLocation`].
#[derive(Debug)]
pub struct BusUrl;

impl Kind for BusUrl {
    type Value = BusLocation;
    const SYNTAX: &'static str = "URL";

    fn parse(text: &str) -> Result<BusLocation, String> {
        let is_redis = text.starts_with("redis://") || text.starts_with("rediss://");
        match text {
            "local:" => Ok(BusLocation::Local),
            _ if is_redis => Ok(BusLocation::Redis(SecretUrl(text.to_owned()))),
            _ => Err(
                "`local:` for a single node, or redis://user:password@host:6379 (rediss:// \
                      with TLS)"
                    .into(),
            ),
        }
    }

    fn show(value: &BusLocation) -> String {
        match value {
            BusLocation::Local => "local:".into(),
            BusLocation::Redis(url) => url.reveal().to_owned(),
        }
    }
}

/// A whole number.
#[derive(Debug)]
pub struct Count;

impl Kind for Count {
    type Value = u64;
    const SYNTAX: &'static str = "NUMBER";

    fn parse(text: &str) -> Result<u64, String> {
        text.parse().map_err(|_| "a whole number".to_owned())
    }

    fn show(value: &u64) -> String {
        value.to_string()
    }

    fn json(value: &u64) -> Json {
        Json::from(*value)
    }

    fn number(value: &u64) -> Option<u64> {
        Some(*value)
    }
}

/// A number of bytes.
#[derive(Debug)]
pub struct Size;

impl Kind for Size {
    type Value = u64;
    const SYNTAX: &'static str = "SIZE";

    fn parse(text: &str) -> Result<u64, String> {
        units::parse_size(text)
            .ok_or_else(|| "a size such as 32MiB, 1GB or a plain number of bytes".to_owned())
    }

    fn show(value: &u64) -> String {
        units::show_size(*value)
    }

    fn json(value: &u64) -> Json {
        Json::from(*value)
    }

    fn number(value: &u64) -> Option<u64> {
        Some(*value)
    }
}

/// A duration whose name ends in `_ms`; a bare number counts milliseconds.
#[derive(Debug)]
pub struct Milliseconds;

impl Kind for Milliseconds {
    type Value = u64;
    const SYNTAX: &'static str = "DURATION";

    fn parse(text: &str) -> Result<u64, String> {
        text.parse()
            .ok()
            .or_else(|| units::parse_duration_ms(text))
            .ok_or_else(|| "a duration such as 1500ms, 30s or 5m, or milliseconds".to_owned())
    }

    fn show(value: &u64) -> String {
        units::show_duration_ms(*value)
    }

    fn json(value: &u64) -> Json {
        Json::from(*value)
    }

    fn number(value: &u64) -> Option<u64> {
        Some(*value)
    }
}

/// A duration that must carry its unit, since days and milliseconds would look alike without.
#[derive(Debug)]
pub struct Period;

impl Kind for Period {
    type Value = u64;
    const SYNTAX: &'static str = "DURATION";

    fn parse(text: &str) -> Result<u64, String> {
        units::parse_duration_ms(text)
            .ok_or_else(|| "a duration with its unit, such as 7d, 12h or 30m".to_owned())
    }

    fn show(value: &u64) -> String {
        units::show_duration_ms(*value)
    }

    fn json(value: &u64) -> Json {
        Json::from(*value)
    }

    fn number(value: &u64) -> Option<u64> {
        Some(*value)
    }
}

/// Yes or no.
#[derive(Debug)]
pub struct Switch;

impl Kind for Switch {
    type Value = bool;
    const SYNTAX: &'static str = "true|false";

    fn parse(text: &str) -> Result<bool, String> {
        match text {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("`true` or `false`".into()),
        }
    }

    fn show(value: &bool) -> String {
        value.to_string()
    }

    fn json(value: &bool) -> Json {
        Json::Bool(*value)
    }
}

/// When peers see a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayMode {
    /// At once, while it is being committed.
    Immediate,
    /// Once it is committed.
    Durable,
}

/// Reads a [`RelayMode`].
#[derive(Debug)]
pub struct Relay;

impl Kind for Relay {
    type Value = RelayMode;
    const SYNTAX: &'static str = "immediate|durable";

    fn parse(text: &str) -> Result<RelayMode, String> {
        match text {
            "immediate" => Ok(RelayMode::Immediate),
            "durable" => Ok(RelayMode::Durable),
            _ => Err("`immediate` or `durable`".into()),
        }
    }

    fn show(value: &RelayMode) -> String {
        match value {
            RelayMode::Immediate => "immediate".into(),
            RelayMode::Durable => "durable".into(),
        }
    }
}

/// What becomes of a session whose access has expired.
#[derive(Debug)]
pub struct Expiry;

impl Kind for Expiry {
    type Value = OnExpiry;
    const SYNTAX: &'static str = "end|read";

    fn parse(text: &str) -> Result<OnExpiry, String> {
        match text {
            "end" => Ok(OnExpiry::End),
            "read" => Ok(OnExpiry::Read),
            _ => Err("`end` or `read`".into()),
        }
    }

    fn show(value: &OnExpiry) -> String {
        match value {
            OnExpiry::End => "end".into(),
            OnExpiry::Read => "read".into(),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads a [`LogFormat`].
#[derive(Debug)]
pub struct LogStyle;

impl Kind for LogStyle {
    type Value = LogFormat;
    const SYNTAX: &'static str = "text|json";

    fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("`text` or `json`".into()),
        }
    }

    fn show(value: &LogFormat) -> String {
        match value {
            LogFormat::Text => "text".into(),
            LogFormat::Json => "json".into(),
        }
    }
}

/// A filter for log lines in the syntax of `tracing-subscriber`.
#[derive(Debug)]
pub struct LogFilter;

impl Kind for LogFilter {
    type Value = String;
    const SYNTAX: &'static str = "FILTER";

    fn parse(text: &str) -> Result<String, String> {
        tracing_subscriber::EnvFilter::try_new(text)
            .map(|_| text.to_owned())
            .map_err(|error| {
                format!("a log filter such as `info` or `info,driftless=debug` ({error})")
            })
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

/// Web origins, separated by commas.
#[derive(Debug)]
pub struct Origins;

impl Kind for Origins {
    type Value = Vec<String>;
    const SYNTAX: &'static str = "ORIGIN";

    fn parse(text: &str) -> Result<Vec<String>, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts.map(parse_origin).collect()
    }

    fn show(value: &Vec<String>) -> String {
        value.join(",")
    }

    fn json(value: &Vec<String>) -> Json {
        Json::from(value.clone())
    }
}

/// `scheme://host[:port]` as browsers send it: lower case, nothing behind the port.
fn parse_origin(text: &str) -> Result<String, String> {
    let wanted = || {
        "origins as browsers send them, such as https://app.example.com or http://localhost:5173, \
         without a path"
            .to_owned()
    };
    let (scheme, host) = text.split_once("://").ok_or_else(wanted)?;
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_host =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']' | '_');
    let holds =
        |part: &str, allowed: fn(char) -> bool| !part.is_empty() && part.chars().all(allowed);
    if holds(scheme, is_scheme) && holds(host, is_host) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(wanted())
    }
}
