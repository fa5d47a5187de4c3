//! TLS at the doors: the certificate, its exchange while the server runs, and the encrypted streams.
//!
//! ```text
//!  Entrance ─▶ admit ─▶ TlsStream ─▶ HTTP and WebSockets, as over a plain stream
//!  (PROXY)      │ handshake, with a deadline
//!               ▼
//!  files ─▶ reload.rs ─▶ Tls (the configuration of the next handshake)
//! ```
//!
//! A handshake is a part of its connection's task, so it counts among the connections a thread may
//! have (`ServerBuilder::max_concurrent_connections`), holds at most some KiB of unverified bytes
//! and ends by the deadline for a request head. Plain streams have nothing of this in between.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_server::GracefulShutdownSignal;
use rustls::ServerConfig;
use tokio::net::TcpStream;

mod certificate;
mod plain_http;
mod reload;
mod stream;
#[cfg(test)]
#[path = "../../../tests/websocket/certificates.rs"]
pub(crate) mod tests;
mod validity;

pub use self::certificate::{Certificate, CertificateError, CertificateFiles};
pub(super) use self::reload::watch;
pub(super) use self::stream::TlsStream;
pub use self::validity::Validity;
use crate::metrics;

/// The certificate that the doors show, and where the next one comes from. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: CertificateFiles,
    /// As it was when the server started.
    loaded: Certificate,
    /// Of the next handshake.
    config: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Tls")
            .field(&self.0.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Blocks on the disk.
    pub fn load(files: CertificateFiles) -> Result<Self, CertificateError> {
        let loaded = files.load()?;
        metrics::tls_certificate(loaded.validity);
        let config = RwLock::new(loaded.config.clone());
        Ok(Self(Arc::new(Shared {
            files,
            loaded,
            config,
        })))
    }

    /// Between which times the certificate that was loaded first is valid.
    pub fn validity(&self) -> Validity {
        self.0.loaded.validity
    }

    fn files(&self) -> &CertificateFiles {
        &self.0.files
    }

    fn loaded_fingerprint(&self) -> u64 {
        self.0.loaded.fingerprint
    }

    fn config(&self) -> Arc<ServerConfig> {
        let config = self.0.config.read();
        config.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever connects from now on gets this one; who is connected goes on as before.
    fn exchange(&self, certificate: Certificate) {
        metrics::tls_certificate(certificate.validity);
        let not_after = certificate.validity.not_after;
        tracing::info!(not_after, "a new TLS certificate is served from now on");
        let config = self.0.config.write();
        *config.unwrap_or_else(PoisonError::into_inner) = certificate.config;
    }

    /// Shakes hands with whoever connected; an error closes the connection.
    pub(super) async fn admit(
        &self,
        socket: TcpStream,
        peer: Option<SocketAddr>,
        deadline: Duration,
        stopping: &GracefulShutdownSignal,
    ) -> Result<TlsStream, DispatchError> {
        let handshake = tokio::time::timeout(deadline, TlsStream::accept(socket, self.config()));
        let shaken = tokio::select! {
            shaken = handshake => shaken.unwrap_or(Err(Refused::Late)),
            () = stopping.notified() => Err(Refused::ShuttingDown),
        };
        shaken.map_err(|refused| {
            metrics::tls_handshake_failed(refused.reason());
            tracing::debug!(?peer, %refused, "a TLS handshake failed");
            DispatchError::Io(io::Error::other(refused))
        })
    }
}

/// Why a connection is closed before anything was said.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the TLS handshake failed: {0}")]
    Tls(rustls::Error),
    #[error("the client speaks plain HTTP to a port of TLS; it needs https:// or wss://")]
    PlainHttp,
    #[error("the TLS handshake is longer than any client needs")]
    TooLong,
    #[error("the TLS handshake did not end in time (setting handshake_timeout_ms)")]
    Late,
    #[error("the connection ended before its TLS handshake")]
    Ended,
    #[error("the connection broke in its TLS handshake: {0}")]
    Lost(io::Error),
    #[error("the server is stopping; connect again in a moment")]
    ShuttingDown,
}

impl Refused {
    /// The label of the metric.
    fn reason(&self) -> &'static str {
        match self {
            Self::Tls(_) => "tls",
            Self::PlainHttp => "plain_http",
            Self::TooLong => "too_long",
            Self::Late => "timeout",
            Self::Ended => "ended",
            Self::Lost(_) => "lost",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
