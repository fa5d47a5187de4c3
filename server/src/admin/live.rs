//! The operators' contract fulfilled over the live documents of a running server.
//!
//! Reads and writes go through the documents' actors, so that sessions see what an operator does;
//! only what concerns stored bytes goes to the store directly.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use driftless_proto::admission::{GAP_CLIENTS_MAX, Limits, admit, known_of};
use driftless_proto::engine::{Access, Acks, Rights};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::{Message, Outbound};
use tokio::time::timeout;

use super::operations::{
    DocumentDetails, DocumentOperations, Imported, LiveDetails, OperationError, OperationFuture,
    Repair, Verification,
};
use crate::actors::{QueryError, Registry};
use crate::error::Refusal;
use crate::outbox::{Line, Outbox, Taken};
use crate::session::{AttachRequest, Documents, Encoding, Holder, ReceiveError, SessionHandle};
use crate::store::{DocumentSummary, Origin};

/// Replies queued for an import; it reads two of them and skips the rest.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The counter of an import's only save probe.
const PROBE: u64 = 1;

/// Who has the admin socket may write to every document, in the name of all.
pub(super) const OPERATOR: Rights = Rights::Relay;

const SAVED_TAG: u8 = b'S';
const DENIED_TAG: u8 = b'D';
const ASKED_TAG: u8 = b'A';

/// How long a write may take to be stored. A store that is away is waited for as long as peers wait.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Operations on the documents of this process. `stored` does what needs no replica.
#[derive(Debug)]
pub struct LiveOperations<S> {
    registry: Registry,
    stored: Arc<S>,
}

impl<S: DocumentOperations> LiveOperations<S> {
    /// Operations over `registry`, with `stored` for what concerns stored bytes alone.
    pub fn new(registry: Registry, stored: Arc<S>) -> Self {
        Self { registry, stored }
    }

    async fn import(
        &self,
        document: &DocumentName,
        update: Bytes,
        origin: Origin,
        rights: Rights,
    ) -> Result<Imported, OperationError> {
        let state = self.registry.export(document).await?;
        let changed = check_whole(&state, &update)?;
        if changed {
            self.write(document, update, origin, rights).await?;
        }
        let head = match self.summary(document).await {
            Ok(summary) => summary.head,
            Err(OperationError::NotFound) => 0,
            Err(error) => return Err(error),
        };
        Ok(Imported { head, changed })
    }

    /// What is stored of a document; of all names that start with this one, it is the first.
    async fn summary(&self, document: &DocumentName) -> Result<DocumentSummary, OperationError> {
        let found = self.stored.list(document.as_str(), None, 1).await?;
        let first = found.into_iter().next();
        first
            .filter(|summary| summary.name == *document)
            .ok_or(OperationError::NotFound)
    }

    /// Says `NotFound` for a name that was never written or is deleted, instead of an empty state.
    /// What peers see of a new document may still be on its way to the store: that is waited for.
    async fn exists(&self, document: &DocumentName) -> Result<(), OperationError> {
        if self.is_stored(document).await? {
            return Ok(());
        }
        if self.registry.session_count(document).is_some() {
            self.registry.export(document).await?;
        }
        match self.is_stored(document).await? {
            true => Ok(()),
            false => Err(OperationError::NotFound),
        }
    }

    async fn is_stored(&self, document: &DocumentName) -> Result<bool, OperationError> {
        match self.summary(document).await {
            Ok(summary) => Ok(!summary.deleted),
            Err(OperationError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Attaches like any peer, sends the update and waits until it is durable.
    async fn write(
        &self,
        document: &DocumentName,
        update: Bytes,
        origin: Origin,
        rights: Rights,
    ) -> Result<(), OperationError> {
        let outbox = Outbox::new(REPLY_BYTES_MAX);
        let request = AttachRequest {
            document: document.clone(),
            encoding: Encoding {
                write: encode_reply,
                address: Bytes::new(),
            },
            line: Line {
                outbox: outbox.clone(),
                id: 0,
            },
            greeting: Bytes::new(),
            origin,
            holder: Holder::default(),
            access: Access {
                rights,
                acks: Acks::Probes,
            },
        };
        let mut session = self
            .registry
            .attach(request)
            .map_err(|error| OperationError::Unavailable(error.to_string()))?;
        let written = timeout(WRITE_TIMEOUT, converse(&mut *session, &outbox, &update)).await;
        session.detach(true);
        written.unwrap_or_else(|_| {
            Err(OperationError::Unavailable(
                "the change was not stored in time; it may be yet, and can be sent again"
                    .to_owned(),
            ))
        })
    }
}

/// Refuses an update that could be taken in only in part; says whether it brings anything.
fn check_whole(state: &Bytes, update: &Bytes) -> Result<bool, OperationError> {
    let refused = |refusal: driftless_proto::admission::Refusal| {
        OperationError::Refused(format!("the update was refused: {refusal}"))
    };
    let mut known = known_of(state).map_err(refused)?;
    let limits = Limits {
        update_bytes_max: usize::MAX,
        nesting_max: 64,
        gap_clients_max: GAP_CLIENTS_MAX,
    };
    let admission = admit(update, &mut known, None, &limits).map_err(refused)?;
    if admission.gap.is_some() {
        return Err(OperationError::Refused(
            "the update builds on changes that this document does not have; import a whole state"
                .to_owned(),
        ));
    }
    Ok(admission.admitted.is_some())
}

/// Says what is to be written whenever it is asked, until it is told what became of it. Every session is
/// asked when it comes; an actor that replaces another asks for what the one before may have lost.
async fn converse(
    session: &mut dyn SessionHandle,
    outbox: &Outbox,
    update: &Bytes,
) -> Result<(), OperationError> {
    let mut frames = VecDeque::new();
    while read_outcome(outbox, &mut frames).await? == Outcome::Asked {
        let update = update.clone();
        send(session, Message::SyncStep2 { update }).await?;
        send(session, Message::SaveProbe { version: PROBE }).await?;
    }
    Ok(())
}

/// What a document says to what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Stored,
    /// It wants to be told.
    Asked,
}

async fn send(session: &mut dyn SessionHandle, message: Message) -> Result<(), OperationError> {
    let mut message = message;
    loop {
        match session.try_receive(message) {
            Ok(()) => return Ok(()),
            Err(ReceiveError::Full(back)) => message = back,
            Err(ReceiveError::Ended) => break,
        }
        if poll_fn(|context| session.poll_room(context)).await.is_err() {
            break;
        }
    }
    Err(OperationError::Unavailable(
        "the document was closed meanwhile".to_owned(),
    ))
}

/// Reads until something is said that matters; what is behind it stays in `frames`.
async fn read_outcome(
    outbox: &Outbox,
    frames: &mut VecDeque<Bytes>,
) -> Result<Outcome, OperationError> {
    loop {
        while let Some(frame) = frames.pop_front() {
            if let Some(outcome) = read_reply(frame)? {
                return Ok(outcome);
            }
        }
        match poll_fn(|context| outbox.poll_take(context, frames)).await {
            Taken::Frames | Taken::Drained(_) => {}
            Taken::Ended(_, reason) | Taken::Close(reason) => {
                let refusal = Refusal::from(reason);
                let text = refusal.text.clone().into_owned();
                return Err(match refusal.is_final() {
                    true => OperationError::Refused(text),
                    false => OperationError::Unavailable(text),
                });
            }
        }
    }
}

fn read_reply(mut frame: Bytes) -> Result<Option<Outcome>, OperationError> {
    match frame.try_get_u8() {
        Ok(SAVED_TAG) if frame.try_get_u64() == Ok(PROBE) => Ok(Some(Outcome::Stored)),
        Ok(ASKED_TAG) => Ok(Some(Outcome::Asked)),
        Ok(DENIED_TAG) => {
            let reason = String::from_utf8_lossy(&frame).into_owned();
            Err(OperationError::Refused(reason))
        }
        _ => Ok(None),
    }
}

/// The dialect of an import: it hears acks and denials, all else is an empty frame.
fn encode_reply(_: &[u8], message: &Outbound, into: &mut BytesMut) {
    match message {
        Outbound::Saved { version } => {
            into.put_u8(SAVED_TAG);
            into.put_u64(*version);
        }
        Outbound::Denied { reason } => {
            into.put_u8(DENIED_TAG);
            into.put_slice(reason.as_bytes());
        }
        Outbound::SyncStep1 { .. } => into.put_u8(ASKED_TAG),
        _ => {}
    }
}

impl From<QueryError> for OperationError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Unavailable => Self::Unavailable(error.to_string()),
            QueryError::Store(error) => error.into(),
        }
    }
}

impl<S: DocumentOperations> DocumentOperations for LiveOperations<S> {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> OperationFuture<'a, Vec<DocumentSummary>> {
        self.stored.list(prefix, after, limit)
    }

    fn show<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, DocumentDetails> {
        Box::pin(async move {
            let mut details = match self.stored.show(document).await {
                Err(OperationError::NotFound) => {
                    self.exists(document).await?;
                    self.stored.show(document).await?
                }
                shown => shown?,
            };
            let sessions = self.registry.session_count(document);
            details.live = Some(LiveDetails {
                resident: sessions.is_some(),
                sessions: sessions.unwrap_or(0) as u64,
            });
            Ok(details)
        })
    }

    fn export_state<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Bytes> {
        Box::pin(async move {
            self.exists(document).await?;
            Ok(self.registry.export(document).await?)
        })
    }

    fn import_update<'a>(
        &'a self,
        document: &'a DocumentName,
        update: Bytes,
        origin: Origin,
        rights: Rights,
    ) -> OperationFuture<'a, Imported> {
        Box::pin(self.import(document, update, origin, rights))
    }

    fn delete<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, u64> {
        Box::pin(async move {
            self.exists(document).await?;
            Ok(self.registry.delete(document).await?)
        })
    }

    fn verify<'a>(
        &'a self,
        document: Option<&'a DocumentName>,
    ) -> OperationFuture<'a, Verification> {
        self.stored.verify(document)
    }

    fn repair<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Repair> {
        Box::pin(async move {
            let repair = self.stored.repair(document).await?;
            self.registry.reload(document).await?;
            Ok(repair)
        })
    }

    fn release<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, ()> {
        Box::pin(async move {
            self.stored.release(document).await?;
            Ok(self.registry.reload(document).await?)
        })
    }

    fn backup<'a>(&'a self, file: &'a Path) -> OperationFuture<'a, u64> {
        self.stored.backup(file)
    }

    #[cfg(feature = "fault-injection")]
    fn harm<'a>(
        &'a self,
        document: &'a DocumentName,
        stall_ms: Option<u64>,
    ) -> OperationFuture<'a, ()> {
        use crate::actors::Fault;
        let fault = stall_ms.map_or(Fault::Panic, |for_ms| Fault::Stall { for_ms });
        self.registry.harm(document, fault);
        Box::pin(std::future::ready(Ok(())))
    }
}
