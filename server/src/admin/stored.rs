//! The operations on stored bytes alone: all of them while the server is stopped, and those that need
//! no replica while it runs. An import passes the same gate and engine as a live edit.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use driftless_proto::admission::{StateVector, known_of};
use driftless_proto::engine::{
    Access, Acks, ClientIds, CloseReason, Effect, Input, LoadError, Observation, Replica,
    ReplicaOptions, Rights, SessionId, SnapshotError, StoredDocument, build_snapshot,
};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::{Message, Outbound};

use super::command::LIST_LIMIT_MAX;
use super::operations::{
    Damage, DocumentDetails, DocumentOperations, Imported, OperationError, OperationFuture, Repair,
    Verification,
};
use crate::clock::Clock;
use crate::store::{Append, CommitOutcome, DocumentSummary, LoadedDocument, Origin, Store};

/// The only peer of a replica that an import is tried on.
const IMPORTER: SessionId = SessionId(1);

/// The operations on a store that nobody else uses.
#[derive(Debug)]
pub struct StoredOperations {
    store: Arc<dyn Store>,
    options: ReplicaOptions,
    clock: Clock,
}

impl StoredOperations {
    /// Takes a store whose folder is locked, and the limits that live edits have too.
    pub fn new(store: Arc<dyn Store>, options: ReplicaOptions, clock: Clock) -> Self {
        Self {
            store,
            options,
            clock,
        }
    }

    async fn summary(&self, document: &DocumentName) -> Result<DocumentSummary, OperationError> {
        // Of all names that start with this one, it is the first.
        let found = self.store.list(document.as_str(), None, 1).await?;
        let first = found.into_iter().next();
        first
            .filter(|summary| summary.name == *document)
            .ok_or(OperationError::NotFound)
    }

    /// The readable state and what is wrong behind it.
    async fn readable(&self, document: &DocumentName) -> Result<Readable, OperationError> {
        let stored = self.store.load(document).await?;
        off_thread(move || readable(stored)).await?
    }

    async fn import(
        &self,
        document: &DocumentName,
        update: Bytes,
        origin: Origin,
    ) -> Result<Imported, OperationError> {
        let stored = self.store.load(document).await?;
        if let Some(reason) = stored.quarantine.as_ref().or(stored.damage.as_ref()) {
            return Err(OperationError::Refused(format!(
                "the document is read-only: {reason}; see `driftless doc verify`, `repair` and \
                 `release`"
            )));
        }
        let (epoch, head) = (stored.epoch, stored.head);
        let options = self.options.clone();
        let Some(admitted) = off_thread(move || admit(options, stored, update)).await?? else {
            let changed = false;
            return Ok(Imported { head, changed });
        };
        let append = Append {
            document: document.clone(),
            epoch,
            id: fastrand::u128(..).to_be_bytes(),
            origin,
            time_ms: self.clock.wall_ms(),
            update: admitted,
            after: None,
            claims: Vec::new(),
        };
        let outcomes = self.store.commit(&[append]).await?;
        match outcomes.first() {
            Some(CommitOutcome::Committed { sequence }) => Ok(Imported {
                head: *sequence,
                changed: true,
            }),
            other => Err(OperationError::Unavailable(format!(
                "the document changed meanwhile ({other:?})"
            ))),
        }
    }

    async fn delete_document(&self, document: &DocumentName) -> Result<u64, OperationError> {
        if self.summary(document).await?.deleted {
            return Err(OperationError::NotFound);
        }
        let state = self.readable(document).await?.state;
        let vector = off_thread(move || known_of(&state).map(|known| known.vector.encode()));
        let vector = vector.await?.map_err(|refusal| {
            OperationError::Damaged(format!("the state cannot be read: {refusal}"))
        })?;
        Ok(self.store.delete(document, &vector).await?)
    }

    /// What is wrong with one document.
    async fn damages(&self, document: &DocumentName) -> Result<Vec<Damage>, OperationError> {
        let mut findings = self.store.inspect(document).await?.findings;
        if findings.is_empty() {
            // Every byte is as it was written; now it has to make a document, too.
            match self.readable(document).await {
                Ok(readable) => findings.extend(readable.damage),
                Err(OperationError::Damaged(reason)) => findings.push(reason),
                Err(other) => return Err(other),
            }
        }
        let damage = |description: String| Damage {
            document: Some(document.clone()),
            description,
        };
        Ok(findings.into_iter().map(damage).collect())
    }

    async fn verify_all(&self) -> Result<Verification, OperationError> {
        let mut verification = Verification::default();
        for description in self.store.verify_structure().await? {
            let document = None;
            verification.damages.push(Damage {
                document,
                description,
            });
        }
        let mut after = None;
        loop {
            let page = self.store.list("", after.as_ref(), LIST_LIMIT_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            for summary in &page {
                verification.documents += 1;
                verification.appends += summary.appends;
                let damages = self.damages(&summary.name).await?;
                verification.damages.extend(damages);
            }
        }
        Ok(verification)
    }

    async fn verify_one(&self, document: &DocumentName) -> Result<Verification, OperationError> {
        let summary = self.summary(document).await?;
        Ok(Verification {
            documents: 1,
            appends: summary.appends,
            damages: self.damages(document).await?,
        })
    }

    /// Cuts what the checksums disprove, and then what is intact and yet makes no document.
    async fn repair_document(&self, document: &DocumentName) -> Result<Repair, OperationError> {
        let cut = self.store.repair(document, None).await?;
        let mut repair = Repair {
            head_before: cut.head_before,
            head: cut.head,
            dropped_appends: cut.appends_cut,
            dropped_snapshots: cut.snapshots_cut,
        };
        if let Some(good_until) = self.readable(document).await?.good_until {
            let cut = self.store.repair(document, Some(good_until)).await?;
            repair.head = cut.head;
            repair.dropped_appends += cut.appends_cut;
            repair.dropped_snapshots += cut.snapshots_cut;
        }
        Ok(repair)
    }

    async fn release_document(&self, document: &DocumentName) -> Result<(), OperationError> {
        self.summary(document).await?;
        if let Some(damage) = self.damages(document).await?.into_iter().next() {
            return Err(OperationError::Refused(format!(
                "the document is still damaged: {}; run `driftless doc repair` first",
                damage.description
            )));
        }
        Ok(self.store.set_quarantine(document, None).await?)
    }
}

impl DocumentOperations for StoredOperations {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> OperationFuture<'a, Vec<DocumentSummary>> {
        Box::pin(async move { Ok(self.store.list(prefix, after, limit).await?) })
    }

    fn show<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, DocumentDetails> {
        Box::pin(async move {
            let summary = self.summary(document).await?;
            let readable = self.readable(document).await?;
            let owners = match self.options.client_ids {
                ClientIds::Free => None,
                ClientIds::Bound => Some(self.store.client_owners(document, 0).await?),
            };
            Ok(DocumentDetails {
                summary,
                state_bytes: readable.state.len() as u64,
                snapshot_sequence: readable.snapshot_sequence,
                damage: readable.damage,
                owners,
                live: None,
            })
        })
    }

    fn export_state<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Bytes> {
        Box::pin(async move {
            if self.summary(document).await?.deleted {
                return Err(OperationError::NotFound);
            }
            Ok(self.readable(document).await?.state)
        })
    }

    fn import_update<'a>(
        &'a self,
        document: &'a DocumentName,
        update: Bytes,
        origin: Origin,
        _rights: Rights,
    ) -> OperationFuture<'a, Imported> {
        Box::pin(self.import(document, update, origin))
    }

    fn delete<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, u64> {
        Box::pin(self.delete_document(document))
    }

    fn verify<'a>(
        &'a self,
        document: Option<&'a DocumentName>,
    ) -> OperationFuture<'a, Verification> {
        Box::pin(async move {
            match document {
                Some(document) => self.verify_one(document).await,
                None => self.verify_all().await,
            }
        })
    }

    fn repair<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Repair> {
        Box::pin(async move {
            self.summary(document).await?;
            self.repair_document(document).await
        })
    }

    fn release<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, ()> {
        Box::pin(self.release_document(document))
    }

    fn backup<'a>(&'a self, file: &'a Path) -> OperationFuture<'a, u64> {
        Box::pin(async move {
            self.store.backup(file).await?;
            let written = std::fs::metadata(file);
            let written = written.map_err(|error| {
                OperationError::Unavailable(format!("the backup cannot be found: {error}"))
            })?;
            Ok(written.len())
        })
    }
}

/// What can be read of a document.
#[derive(Debug)]
struct Readable {
    /// Up to the last good append, as one Yjs v1 update.
    state: Bytes,
    /// The newest snapshot's place, 0 without one.
    snapshot_sequence: u64,
    /// What is wrong behind.
    damage: Option<String>,
    /// The last append before an intact one that does not apply.
    good_until: Option<u64>,
}

/// Folds what was stored into one state, up to the first append that does not apply.
fn readable(stored: LoadedDocument) -> Result<Readable, OperationError> {
    let (snapshot_sequence, base) = match stored.snapshot {
        Some(snapshot) => (snapshot.sequence, Some(snapshot.state)),
        None => (0, None),
    };
    let (sequences, updates): (Vec<_>, Vec<_>) = stored
        .appends
        .into_iter()
        .map(|append| (append.sequence, append.update))
        .unzip();
    let mut damage = stored.damage;
    let mut good_until = None;
    let state = match build_snapshot(base.as_ref(), &updates) {
        Err(SnapshotError::Load(error @ LoadError::Append { index })) => {
            damage.get_or_insert_with(|| error.to_string());
            let last_good = index.checked_sub(1).and_then(|at| sequences.get(at));
            good_until = Some(last_good.copied().unwrap_or(snapshot_sequence));
            build_snapshot(base.as_ref(), updates.get(..index).unwrap_or_default())
        }
        built => built,
    };
    let state = state.map_err(|error| {
        OperationError::Damaged(damage.take().unwrap_or_else(|| error.to_string()))
    })?;
    Ok(Readable {
        state,
        snapshot_sequence,
        damage,
        good_until,
    })
}

/// Gives the update to a replica as a peer would, and takes what it would log: the new part of the
/// update, `None` when there is none. All of it or nothing: a gap is refused.
fn admit(
    options: ReplicaOptions,
    stored: LoadedDocument,
    update: Bytes,
) -> Result<Option<Bytes>, OperationError> {
    let tombstone = stored.tombstone.as_deref().map(StateVector::decode);
    let tombstone = tombstone.transpose().map_err(|refusal| {
        OperationError::Damaged(format!("the tombstone cannot be read: {refusal}"))
    })?;
    let appends = stored.appends.into_iter();
    let document = StoredDocument {
        snapshot: stored.snapshot.map(|snapshot| snapshot.state),
        appends: appends.map(|append| append.update).collect(),
        tombstone,
        ..StoredDocument::default()
    };
    let mut replica = Replica::load(options, &document)
        .map_err(|error| OperationError::Damaged(error.to_string()))?;
    let session = IMPORTER;
    let message = Message::Update { update };
    let mut effects = Vec::new();
    replica.handle(
        0,
        Input::Attach {
            session,
            access: Access {
                rights: super::live::OPERATOR,
                acks: Acks::Probes,
            },
            identity: None,
        },
        &mut effects,
    );
    replica.handle(0, Input::Receive { session, message }, &mut effects);
    replica.flush(0, &mut effects);
    if let Some(reason) = effects.iter().filter_map(refusal).min() {
        return Err(OperationError::Refused(reason.told()));
    }
    if replica.encode_state().is_none() {
        return Err(OperationError::Refused(Unwelcome::Harmful.told()));
    }
    Ok(effects.into_iter().find_map(|effect| match effect {
        Effect::Append { update, .. } => Some(update),
        _ => None,
    }))
}

/// Why an update is not taken; the more specific reason comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Unwelcome {
    Deleted,
    TooLarge,
    Denied(String),
    Gap,
    Harmful,
    Refused(&'static str),
    Closed(&'static str),
}

impl Unwelcome {
    fn told(self) -> String {
        match self {
            Self::Deleted => "the update holds edits from before the document was deleted, and a \
                 deleted document does not come back; import it under another name"
                .into(),
            Self::TooLarge => "the update is larger than frame_bytes_max".into(),
            Self::Denied(reason) => reason,
            Self::Gap => "the update needs edits that the document does not have; import the \
                 whole state (`Y.encodeStateAsUpdate(doc)` without a state vector)"
                .into(),
            Self::Harmful => {
                "the update would make the document unreadable; it is not taken".into()
            }
            Self::Refused(reason) => format!("the bytes are no update that can be taken: {reason}"),
            Self::Closed(reason) => format!("the update is not taken: {reason}"),
        }
    }
}

/// What an effect says against the update, if anything.
fn refusal(effect: &Effect) -> Option<Unwelcome> {
    match effect {
        Effect::Observed(Observation::Gap) => Some(Unwelcome::Gap),
        Effect::Observed(Observation::Refused(reason)) => Some(Unwelcome::Refused(reason)),
        Effect::Close { reason, .. } => Some(match reason {
            CloseReason::Deleted => Unwelcome::Deleted,
            CloseReason::TooLarge => Unwelcome::TooLarge,
            other => Unwelcome::Closed(other.label()),
        }),
        Effect::Send {
            message: Outbound::Denied { reason },
            ..
        } => Some(Unwelcome::Denied(reason.clone())),
        Effect::Poisoned { .. } => Some(Unwelcome::Harmful),
        _ => None,
    }
}

/// Runs heavy work where it holds up no socket; a panic in it becomes an error.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OperationError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| OperationError::Damaged("the document makes the CRDT library panic".into()))
}
