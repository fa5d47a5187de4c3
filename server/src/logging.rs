//! Log lines and the start banner, both on standard error.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;

use tracing_subscriber::EnvFilter;

use crate::config::units::{show_duration_ms, show_size};
use crate::config::{BusLocation, LogFormat, RelayMode, Settings, StoreLocation, check};

/// Why log lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter does not parse; the settings check refuses such a one earlier.
    #[error("the log filter cannot be used: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process writes log lines already.
    #[error("logging was started twice: {0}")]
    Started(String),
}

/// What anybody can have written to the log as an error, by a request that is none: it is answered.
const QUIET: &str = "actix_http=off";

/// Starts logging for this process.
pub fn start(settings: &Settings) -> Result<(), LoggingError> {
    // What comes later counts.
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.log))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match settings.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| LoggingError::Started(error.to_string()))
}

/// Says what is served and where: lines for people, or one log line when those are JSON.
/// `listen` is the address that was really bound.
pub fn announce(settings: &Settings, listen: SocketAddr, admin: &Path) {
    match settings.log_format {
        // Nothing is lost when nobody reads standard error.
        LogFormat::Text => {
            let _ = io::stderr().write_all(banner(settings, listen, admin).as_bytes());
        }
        LogFormat::Json => tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            %listen,
            data = %settings.data.display(),
            admin = %admin.display(),
            relay = relay(settings),
            insecure_open = settings.insecure_open,
            tls = has_tls(settings),
            access = access(settings),
            "serving"
        ),
    }
}

/// A few lines: what is served, where, and the limits that matter first.
fn banner(settings: &Settings, listen: SocketAddr, admin: &Path) -> String {
    let mut text = format!("Driftless {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<9}{value}\n"));
    let secure = if has_tls(settings) { "s" } else { "" };
    for (name, value) in clients(settings, listen) {
        line(name, value);
    }
    line(
        "status",
        format!("http{secure}://{listen}/healthz  /readyz  /metrics"),
    );
    line("data", settings.data.display().to_string());
    line("store", store(settings));
    line("bus", bus(settings));
    line(
        "admin",
        format!("{}  (driftless doc --help)", admin.display()),
    );
    line("access", access(settings));
    line("relay", relay(settings).into());
    line(
        "history",
        format!(
            "{}, at most {} a document",
            show_duration_ms(settings.history_ms),
            show_size(settings.history_bytes_max)
        ),
    );
    line(
        "limits",
        format!(
            "{} a document, {} in memory, {} connections",
            show_size(settings.document_bytes_max),
            show_size(settings.documents_resident_bytes_max),
            settings.connections_max
        ),
    );
    let mut origins = vec!["own host".to_owned(), "localhost".into()];
    origins.extend(settings.allow_origins.iter().cloned());
    line("origins", origins.join(", "));
    if !check::authenticates(settings) && !listen.ip().to_canonical().is_loopback() {
        line(
            "warning",
            "open to everyone who reaches this port (insecure_open)".into(),
        );
    }
    text
}

/// What each kind of client is told to connect to.
fn clients(settings: &Settings, listen: SocketAddr) -> [(&'static str, String); 3] {
    let secure = if has_tls(settings) { "s" } else { "" };
    let place = match settings.hocuspocus_at_root {
        true => "",
        false => "/hocuspocus",
    };
    [
        (
            "clients",
            format!("ws{secure}://{listen}/ws/<document>  (y-websocket)"),
        ),
        ("", format!("ws{secure}://{listen}{place}  (Hocuspocus)")),
        ("", format!("ys{secure}://{listen}  (y-sweet)")),
    ]
}

fn has_tls(settings: &Settings) -> bool {
    settings.tls_certificate.is_some()
}

fn store(settings: &Settings) -> String {
    match &settings.store {
        StoreLocation::Sqlite => "SQLite, in the data folder".to_owned(),
        StoreLocation::Postgres(url) => format!("{url}  ({} lanes)", settings.commit_lanes),
    }
}

fn bus(settings: &Settings) -> String {
    match (&settings.bus, &settings.store) {
        (BusLocation::Redis(url), _) => url.to_string(),
        (BusLocation::Local, StoreLocation::Sqlite) => "none: this is the only node".to_owned(),
        (BusLocation::Local, StoreLocation::Postgres(_)) => {
            "none: changes of other nodes arrive by looking at the store".to_owned()
        }
    }
}

/// Who may use documents.
fn access(settings: &Settings) -> String {
    if let Some(url) = &settings.auth_hook_url {
        return format!("whom the application lets in ({url})");
    }
    let keys = [
        ("auth_secret", settings.auth_secret.is_some()),
        ("auth_signing_key", settings.auth_signing_key.is_some()),
        ("auth_keys", settings.auth_keys.is_some()),
        ("auth_jwks_url", settings.auth_jwks_url.is_some()),
    ];
    let named = keys.into_iter().filter(|(_, is_set)| *is_set);
    let named: Vec<_> = named.map(|(name, _)| name).collect();
    match named.is_empty() {
        true => "everybody (docs/authentication.md)".into(),
        false => format!("who shows a token ({})", named.join(", ")),
    }
}

fn relay(settings: &Settings) -> &'static str {
    match settings.relay {
        RelayMode::Immediate => "immediate (peers see changes at once, acks wait for the disk)",
        RelayMode::Durable => "durable (peers see changes once they are on disk)",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Flags, load};

    fn told(flags: &[(&str, &str)], listen: &str) -> String {
        let none: Vec<(&str, &str)> = Vec::new();
        let settings = load(&Flags::given(flags), &none, 2).unwrap().settings;
        banner(
            &settings,
            listen.parse().unwrap(),
            Path::new("d/admin.sock"),
        )
    }

    #[test]
    fn the_banner_says_what_is_served_and_where() {
        let text = told(&[("relay", "durable"), ("history", "2d")], "127.0.0.1:4242");
        for wanted in [
            "ws://127.0.0.1:4242/ws/<document>",
            "ws://127.0.0.1:4242/hocuspocus  (",
            "ys://127.0.0.1:4242  (",
            "http://127.0.0.1:4242/healthz",
            "./driftless-data",
            "d/admin.sock",
            "durable (",
            "2d, at most 256MiB",
            "32MiB a document, 1GiB in memory, 100000 connections",
            "own host, localhost\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        assert!(!text.contains("warning"));
    }

    #[test]
    fn the_addresses_of_a_port_with_tls_say_so() {
        let flags = [("tls_certificate", "c.pem"), ("tls_key", "k.pem")];
        let text = told(&flags, "127.0.0.1:4242");
        assert!(
            text.contains(" wss://127.0.0.1:4242/ws/<document>"),
            "{text}"
        );
        assert!(text.contains(" https://127.0.0.1:4242/healthz"), "{text}");
        assert!(text.contains(" yss://127.0.0.1:4242  ("), "{text}");
    }

    #[test]
    fn providers_at_the_root_are_told_so() {
        let text = told(&[("hocuspocus_at_root", "true")], "127.0.0.1:4242");
        assert!(text.contains(" ws://127.0.0.1:4242  (Hoc"), "{text}");
    }

    #[test]
    fn an_open_port_is_warned_of() {
        let text = told(&[("insecure_open", "true")], "0.0.0.0:1");
        assert!(text.contains("warning  open to everyone"), "{text}");
        assert!(text.contains("access   everybody"), "{text}");
        let keys = [("auth_keys", "k"), ("auth_jwks_url", "https://id.example/")];
        let text = told(&keys, "0.0.0.0:1");
        assert!(
            text.contains("a token (auth_keys, auth_jwks_url)"),
            "{text}"
        );
        assert!(!text.contains("warning"), "{text}");
        let secret = "x".repeat(32);
        let hook = [
            ("auth_hook_url", "https://app.example/ask?key=hunter2"),
            ("auth_hook_secret", &secret),
        ];
        let text = told(&hook, "0.0.0.0:1");
        assert!(text.contains("https://app.example/ask?key=***"), "{text}");
    }
}
