//! Requests to the key URL and to the hook: bounded in time and bytes, never redirected.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

/// How long an idle connection is kept: less than the 5 s after which common servers close it, so
/// that a request rarely meets a connection that just ended.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle connections to one host; more than this at a time is a rush.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// The head of an answer: far more than anybody sends.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// It took too long.
    #[error("no complete answer within {0} ms")]
    TimedOut(u128),
    /// The connection failed.
    #[error("{0}")]
    Failed(String),
    /// The answer was too large.
    #[error("the answer of status {status} is larger than {bytes_max} bytes")]
    TooLarge {
        /// What its head said.
        status: StatusCode,
        /// How large it may be.
        bytes_max: usize,
    },
    /// The answer ended early.
    #[error("the answer ended early")]
    Short,
}

impl HttpError {
    /// A short word for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "timeout",
            Self::Failed(_) => "connection",
            Self::TooLarge { .. } | Self::Short => "answer",
        }
    }
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A pool of connections.
#[derive(Debug, Clone)]
pub(super) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HttpClient {
    /// Trusts the certificates that this system trusts, and those of Mozilla where it has none.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        Self::trusting(roots())
    }

    /// Trusts what these certificates signed.
    pub(super) fn trusting(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut sockets = HttpConnector::new();
        sockets.enforce_http(false);
        sockets.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(sockets);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Answer, HttpError> {
        let exchange = async {
            let failed = |error: hyper_util::client::legacy::Error| HttpError::Failed(told(&error));
            let answer = self.0.request(request).await.map_err(failed)?;
            let (head, body) = answer.into_parts();
            let status = head.status;
            let body = Limited::new(body, bytes_max).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => HttpError::TooLarge { status, bytes_max },
                false => HttpError::Short,
            })?;
            Ok(Answer {
                status,
                body: body.to_bytes(),
            })
        };
        let in_time = tokio::time::timeout(timeout, exchange).await;
        in_time.unwrap_or(Err(HttpError::TimedOut(timeout.as_millis())))
    }
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// An error with its causes: the outermost alone says "client error (Connect)".
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
