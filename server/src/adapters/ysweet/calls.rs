//! y-sweet's calls over HTTP: new documents, client tokens, states as updates.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::web::{Bytes, Data, Path, Payload, ServiceConfig, get, post};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use driftless_proto::name::{DocumentName, NameError};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::{NAME, document};
use crate::adapters::access::rights;
use crate::adapters::address::address;
use crate::adapters::http::{Body, BodyError, BodyLimits, NoRoom, RETRY_AFTER_SECONDS, plain};
use crate::adapters::origin::ForeignPage;
use crate::adapters::{Edge, credentials};
use crate::admin::operations::{DocumentOperations, OperationError};
use crate::auth::{Denial, Grant, NewToken, Question, Right, Signer, SigningError};
use crate::error::Refusal;
use crate::metrics;
use crate::store::Origin;

/// The bytes of a call that is no update: an id and a few numbers.
const BODY_BYTES_MAX: usize = 16 << 10;
/// How long a client token is good for when nobody says, in seconds; as y-sweet has it.
const VALID_SECONDS: u64 = 3_600;
/// The longest that a client token can be good for, in seconds.
const VALID_SECONDS_MAX: u64 = 366 * 24 * 3_600;
/// Random bytes of an id that is made up here.
const NEW_ID_BYTES: usize = 16;
/// A state without anything in it, as a Yjs v1 update.
const EMPTY_STATE: &[u8] = &[0, 0];

/// What the calls work with.
#[derive(Clone)]
pub(in crate::adapters) struct Calls {
    pub(in crate::adapters) edge: Arc<Edge>,
    /// This server speaks TLS itself.
    pub(in crate::adapters) is_encrypted: bool,
    pub(in crate::adapters) signer: Option<Signer>,
    pub(in crate::adapters) operations: Arc<dyn DocumentOperations>,
}

/// Why a call is not done.
#[derive(Debug, thiserror::Error)]
enum CallError {
    /// The id names no document.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A web page calls that may not.
    #[error(transparent)]
    Page(#[from] ForeignPage),
    /// The caller may not.
    #[error("{0}")]
    Denied(Denial),
    /// Too many calls came from the caller's address; a call costs what joining a document does.
    #[error("{}", .0.text)]
    TooMany(Refusal),
    /// The document or the store refused.
    #[error(transparent)]
    Failed(#[from] OperationError),
    /// The body is no JSON, or not what is expected.
    #[error("the body is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// The body is larger or slower than allowed, or no body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Others are at work.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The token would be refused.
    #[error(transparent)]
    Token(#[from] SigningError),
    /// There is nothing to sign with.
    #[error(
        "this server has no key to sign tokens with (settings auth_signing_key, auth_secret); \
         have your application make the client token"
    )]
    NoKey,
}

impl ResponseError for CallError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::Json(_) | Self::Token(_) => StatusCode::BAD_REQUEST,
            Self::Body(BodyError::Broken(_)) => StatusCode::BAD_REQUEST,
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Late) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::NoRoom(no_room)) | Self::NoRoom(no_room) => no_room.status(),
            Self::Page(_) => StatusCode::FORBIDDEN,
            Self::NoKey => StatusCode::NOT_IMPLEMENTED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(denial) => StatusCode::from_u16(Refusal::from(*denial).http_status)
                .unwrap_or(StatusCode::FORBIDDEN),
            Self::Failed(OperationError::NotFound | OperationError::NoRestriction) => {
                StatusCode::NOT_FOUND
            }
            Self::Failed(OperationError::Refused(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Failed(OperationError::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(OperationError::Damaged(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Page(_) => metrics::connection_refused(ForeignPage::REASON),
            Self::Body(BodyError::Late) => metrics::refused("frame_timeout"),
            Self::Body(BodyError::NoRoom(no_room)) | Self::NoRoom(no_room) => {
                metrics::refused(no_room.reason());
            }
            _ => {}
        }
        let status = self.status_code();
        let mut response = plain(status, format!("{self}\n"));
        let may_come_back = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if may_come_back.contains(&status) {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}

/// Registers the calls.
pub(in crate::adapters) fn configure(config: &mut ServiceConfig, calls: Calls) {
    config
        .app_data(Data::new(calls))
        .route("/ready", get().to(ready))
        .route("/check_store", get().to(ready))
        .route("/check_store", post().to(ready))
        .route("/doc/new", post().to(create))
        .route("/doc/{id}/auth", post().to(hand_out));
    for prefix in ["/d", "/doc"] {
        config
            .route(&format!("{prefix}/{{id}}/as-update"), get().to(read))
            .route(&format!("{prefix}/{{id}}/update"), post().to(write));
    }
}

/// The server answers and may be asked for the rest.
async fn ready() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "ok": true }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewDocument {
    doc_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    doc_id: String,
}

/// Names a new document. There is nothing to make: a document is there once it is written to.
async fn create(
    call: HttpRequest,
    calls: Data<Calls>,
    body: Payload,
) -> Result<HttpResponse, CallError> {
    // Which document it is stands in the body, so whose page it is comes before.
    calls.edge.own_pages().admit_call(call.head())?;
    let asked: NewDocument = calls.asked(&call, body).await?;
    let id = match asked.doc_id {
        Some(id) => id,
        None => new_id()?,
    };
    let name = document(&id)?;
    calls.require(&call, &name, Right::Admin).await?;
    Ok(HttpResponse::Ok().json(Created { doc_id: id }))
}

#[derive(Debug, Default, Deserialize, Serialize, Clone, Copy)]
enum Authorization {
    #[default]
    #[serde(rename = "full")]
    Full,
    #[serde(rename = "read-only")]
    ReadOnly,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TokenRequest {
    authorization: Authorization,
    user_id: Option<String>,
    valid_for_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientToken {
    url: String,
    base_url: String,
    doc_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    authorization: Authorization,
}

/// Hands out a token for one document, for a client to connect with.
async fn hand_out(
    call: HttpRequest,
    calls: Data<Calls>,
    id: Path<String>,
    body: Payload,
) -> Result<HttpResponse, CallError> {
    let name = document(&id)?;
    calls.require(&call, &name, Right::Admin).await?;
    let asked: TokenRequest = calls.asked(&call, body).await?;
    let connection = call.connection_info();
    let host = connection.host();
    let scheme = match calls.is_encrypted {
        true => "https",
        // What a proxy in front says that it was asked by.
        false => connection.scheme(),
    };
    let websocket = if scheme == "https" { "wss" } else { "ws" };
    let token = match calls.edge.authority.is_open() {
        true => None,
        false => Some(calls.mint(&name, &asked)?),
    };
    Ok(HttpResponse::Ok().json(ClientToken {
        url: format!("{websocket}://{host}/d/{id}/ws"),
        base_url: format!("{scheme}://{host}/d/{id}"),
        doc_id: id.to_string(),
        token,
        authorization: asked.authorization,
    }))
}

/// The whole state of a document, once all of it is durable.
async fn read(
    call: HttpRequest,
    calls: Data<Calls>,
    id: Path<String>,
) -> Result<HttpResponse, CallError> {
    let name = document(&id)?;
    calls.require(&call, &name, Right::Read).await?;
    let export = async move |documents: Arc<dyn DocumentOperations>| match documents
        .export_state(&name)
        .await
    {
        Err(OperationError::NotFound) => Ok(Bytes::from_static(EMPTY_STATE)),
        exported => exported,
    };
    let state = calls.work(export).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .body(Body::of(state, &calls.edge.room)?))
}

/// Writes an update to a document; answered once it is durable.
async fn write(
    call: HttpRequest,
    calls: Data<Calls>,
    id: Path<String>,
    body: Payload,
) -> Result<HttpResponse, CallError> {
    let name = document(&id)?;
    let grant = calls.require(&call, &name, Right::Write).await?;
    let rights = rights(&grant, calls.edge.right_max(&name, &grant));
    let peer = call
        .peer_addr()
        .map_or(String::new(), |peer| peer.to_string());
    let origin = Origin {
        identity: grant.subject.as_deref().map(str::to_owned),
        door: format!("{NAME} {peer}"),
    };
    let bytes_max = calls.edge.options.frame_bytes_max;
    let (update, held) = calls.body(&call, body, bytes_max).await?.into_parts();
    let import = async move |documents: Arc<dyn DocumentOperations>| {
        let imported = documents.import_update(&name, update, origin, rights).await;
        drop(held);
        imported
    };
    calls.work(import).await?;
    Ok(HttpResponse::Ok().finish())
}

impl Calls {
    /// Lets a call go on only with this right; who is open to all asks for nothing. It counts as a join,
    /// since it asks and loads as one does.
    async fn require(
        &self,
        call: &HttpRequest,
        document: &DocumentName,
        wanted: Right,
    ) -> Result<Grant, CallError> {
        self.edge.own_pages().admit_call(call.head())?;
        let address = address(call.peer_addr());
        if !self.edge.may_join(address) {
            return Err(CallError::TooMany(Refusal::too_many_joins()));
        }
        let token = credentials::token(call.head()).map_err(|denial| {
            metrics::auth_decided(denial.label(), NAME);
            CallError::Denied(denial)
        })?;
        let question = Question {
            document: document.clone(),
            token,
            address,
            door: NAME,
        };
        let grant = self
            .edge
            .authority
            .decide(&question)
            .await
            .map_err(CallError::Denied)?;
        let is_granted = self.edge.authority.is_open() || grant.right.allows(wanted);
        match is_granted {
            false => {
                metrics::auth_decided(Denial::NoRight.label(), NAME);
                Err(CallError::Denied(Denial::NoRight))
            }
            true if !self.edge.right_max(document, &grant).allows(wanted) => {
                metrics::auth_decided(Denial::Withdrawn.label(), NAME);
                Err(CallError::Denied(Denial::Withdrawn))
            }
            true => Ok(grant),
        }
    }

    /// Reads a body to its end, within the time that a message has.
    async fn body(
        &self,
        call: &HttpRequest,
        body: Payload,
        bytes_max: usize,
    ) -> Result<Body, BodyError> {
        let limits = BodyLimits {
            bytes_max,
            timeout_ms: self.edge.options.limits.frame_timeout_ms,
        };
        Body::read(call.headers(), body, limits, &self.edge.room).await
    }

    /// Reads a small body; none counts as an empty object.
    async fn asked<T: Default + for<'a> Deserialize<'a>>(
        &self,
        call: &HttpRequest,
        body: Payload,
    ) -> Result<T, CallError> {
        let body = self.body(call, body, BODY_BYTES_MAX).await?;
        match body.bytes.is_empty() {
            true => Ok(T::default()),
            false => Ok(serde_json::from_slice(&body.bytes)?),
        }
    }

    /// Works on documents when there is a turn. It is taken until the work is done, on this thread's
    /// runtime, even if the caller leaves before: a document does what it was once asked.
    async fn work<T: 'static>(
        &self,
        work: impl AsyncFnOnce(Arc<dyn DocumentOperations>) -> Result<T, OperationError> + 'static,
    ) -> Result<T, CallError> {
        let turn = self.edge.room.turn().await?;
        let documents = self.operations.clone();
        let working = actix_rt::spawn(async move {
            let done = work(documents).await;
            drop(turn);
            done
        });
        let done = working.await.unwrap_or_else(|_| {
            let stopping = "the server is stopping".to_owned();
            Err(OperationError::Unavailable(stopping))
        });
        Ok(done?)
    }

    fn mint(&self, document: &DocumentName, asked: &TokenRequest) -> Result<String, CallError> {
        let signer = self.signer.as_ref().ok_or(CallError::NoKey)?;
        let now_ms = self.edge.clock.wall_ms();
        let seconds = asked.valid_for_seconds.unwrap_or(VALID_SECONDS);
        let right = match asked.authorization {
            Authorization::Full => Right::Write,
            Authorization::ReadOnly => Right::Comment,
        };
        let signed = signer.sign(&NewToken {
            subject: asked.user_id.clone(),
            documents: vec![(document.as_str().to_owned(), right)],
            issued_at_ms: now_ms,
            expires_at_ms: now_ms + 1_000 * seconds.min(VALID_SECONDS_MAX),
            audience: self.edge.options.auth_audience.clone(),
            issuer: self.edge.options.auth_issuer.clone(),
            ..NewToken::default()
        });
        Ok(signed?)
    }
}

/// An id that nobody can guess.
fn new_id() -> Result<String, CallError> {
    let mut bytes = [0; NEW_ID_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| OperationError::Unavailable("the system gives no random bytes".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
