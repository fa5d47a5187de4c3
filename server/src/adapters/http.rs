//! Plain HTTP: health, readiness, metrics, and answers that help whoever came to the wrong place.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE};
use actix_web::web::{Data, ServiceConfig, get};
use actix_web::{HttpRequest, HttpResponse};
use driftless_proto::name::DocumentName;
use metrics_exporter_prometheus::PrometheusHandle;

use super::{Matches, ywebsocket};

mod admission;
mod body;
mod room;
mod stream;

pub(super) use self::admission::admit;
pub(super) use self::body::{Body, BodyError, BodyLimits};
pub(super) use self::room::{HTTP_CONNECTIONS_MAX, HttpRoom, NoRoom};
pub(super) use self::stream::HttpStream;

/// Seconds after which a client that was turned away for want of room may try again.
pub(super) const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The text format of Prometheus.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessReport {
    /// True when clients should be sent here.
    pub is_ready: bool,
    /// What was looked at and how it is, for people and scripts.
    pub details: serde_json::Value,
}

/// Knows whether this server can do its work; asked on every `/readyz`, so it must be cheap.
pub trait Readiness: Send + Sync + 'static {
    /// Looks now.
    fn report(&self) -> ReadinessReport;
}

/// What is to be known of a WebSocket door by who came to it without a WebSocket, or went by.
#[derive(Debug, Clone, Copy)]
pub(super) struct DoorSign {
    /// What is left of a path that is the door's.
    pub(super) matches: Matches,
    /// Its place, as people write it.
    pub(super) place: &'static str,
    /// What is spoken there.
    pub(super) dialect: &'static str,
    /// How a client is made that speaks it.
    pub(super) client: &'static str,
}

/// The signs of all doors.
#[derive(Debug, Clone)]
pub(super) struct DoorSigns(pub(super) Vec<DoorSign>);

/// Registers everything that is answered by plain HTTP.
pub(super) fn configure(
    config: &mut ServiceConfig,
    readiness: Arc<dyn Readiness>,
    metrics: Option<PrometheusHandle>,
    signs: DoorSigns,
) {
    config
        .app_data(Data::from(readiness))
        .app_data(Data::new(metrics))
        .app_data(Data::new(signs))
        .route("/healthz", get().to(healthz))
        .route("/readyz", get().to(readyz))
        .route("/metrics", get().to(prometheus))
        .default_service(actix_web::web::to(elsewhere));
}

/// Marks a body as text for people.
pub(super) fn set_plain_text(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, PLAIN_TEXT);
}

pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, PLAIN_TEXT))
        .body(text.into())
}

/// The process runs and answers.
async fn healthz() -> HttpResponse {
    plain(StatusCode::OK, "ok\n")
}

async fn readyz(readiness: Data<dyn Readiness>) -> HttpResponse {
    let report = readiness.report();
    let status = if report.is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).json(report.details)
}

async fn prometheus(metrics: Data<Option<PrometheusHandle>>) -> HttpResponse {
    match metrics.as_ref() {
        Some(metrics) => HttpResponse::Ok()
            .content_type(PROMETHEUS_TEXT)
            .body(metrics.render()),
        None => plain(
            StatusCode::NOT_FOUND,
            "metrics are not recorded by this server\n",
        ),
    }
}

/// A WebSocket door without an upgrade, or nothing at all.
async fn elsewhere(request: HttpRequest, signs: Data<DoorSigns>) -> HttpResponse {
    // Untouched by the router: names are decoded once, by their own rule.
    let path = request.uri().path();
    if let Some(raw_name) = (ywebsocket::SIGN.matches)(path)
        && let Err(error) = DocumentName::from_raw_path(raw_name)
    {
        return plain(StatusCode::BAD_REQUEST, format!("{error}\n"));
    }
    let mut signs_here = signs.0.iter();
    if let Some(sign) = signs_here.find(|sign| (sign.matches)(path).is_some()) {
        let text = format!(
            "here documents are spoken about over a WebSocket ({}); connect with a client such as \
             `{}`\n",
            sign.dialect, sign.client
        );
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, text);
        let websocket = HeaderValue::from_static("websocket");
        response.headers_mut().insert(UPGRADE, websocket);
        return response;
    }
    plain(StatusCode::NOT_FOUND, nothing_here(&signs))
}

/// Names every place there is.
pub(super) fn nothing_here(signs: &DoorSigns) -> String {
    let mut text = "there is nothing at this path; this server has\n".to_owned();
    for DoorSign { place, dialect, .. } in &signs.0 {
        text.push_str(&format!("  {place}  WebSocket, {dialect}\n"));
    }
    text.push_str("  /doc/new  /doc/{document}/auth  /d/{document}/as-update  /d/{document}/update  HTTP, y-sweet\n");
    text.push_str("  /healthz  /readyz  /metrics\n");
    text
}
