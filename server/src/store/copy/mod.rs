//! Copying all documents with their kept history from one store to another.
//!
//! ```text
//!  source ─▶ pages of names ─▶ batches ─▶ stamps differ? ─▶ export ─▶ judge ─▶ import ─▶ read back
//! ```
//!
//! A batch is one transaction in the target, so that a document is there whole or not at all; a copy
//! that was stopped goes on where it was by skipping what is equal.

use bytes::Bytes;
use driftless_proto::name::DocumentName;

use super::{
    AppendId, Snapshot, SnapshotKind, Store, StoreError, StoreFuture, StoredAppend, StoredClaim,
};

mod judge;
mod progress;
mod run;

pub use progress::{Failure, FailureKind, Progress, Summary};
pub use run::copy;

/// Everything that is kept of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentCopy {
    /// Its name.
    pub name: DocumentName,
    /// The current generation of history, and the newest sequence number of the one before it.
    pub epoch: u64,
    /// See `epoch`.
    pub epoch_start: u64,
    /// The newest sequence number.
    pub head: u64,
    /// The horizon of history: appends at or below it are in the base.
    pub floor: u64,
    /// Wall-clock time of the newest append, milliseconds since 1970.
    pub changed_ms: u64,
    /// The reason of its quarantine, if it is quarantined.
    pub quarantine: Option<String>,
    /// State vectors of deleted epochs, merged.
    pub tombstone: Option<Bytes>,
    /// The state at the horizon.
    pub base: Option<Snapshot>,
    /// The newest state.
    pub latest: Option<Snapshot>,
    /// All appends above the horizon.
    pub appends: Vec<StoredAppend>,
    /// The owners of client ids, by client.
    pub owners: Vec<StoredClaim>,
}

/// The numbers of a document that follow from its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes of the appends.
    pub(super) log_bytes: u64,
    /// What the newest snapshot covers.
    pub(super) covered_sequence: u64,
    /// Bytes of the appends that it covers.
    pub(super) covered_bytes: u64,
    /// Time of the oldest append.
    pub(super) oldest_ms: Option<u64>,
}

impl DocumentCopy {
    pub(super) fn sizes(&self) -> Sizes {
        let latest = self.latest.as_ref().map_or(0, |latest| latest.sequence);
        let covered_sequence = latest.max(self.floor);
        let bytes = |upto: u64| {
            let covered = self.appends.iter().filter(|append| append.sequence <= upto);
            covered.map(|append| append.update.len() as u64).sum()
        };
        Sizes {
            log_bytes: bytes(u64::MAX),
            covered_sequence,
            covered_bytes: bytes(covered_sequence),
            oldest_ms: self.appends.first().map(|append| append.time_ms),
        }
    }

    /// Its snapshots with their kinds.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = (SnapshotKind, &Snapshot)> {
        let base = self.base.iter().map(|it| (SnapshotKind::Base, it));
        base.chain(self.latest.iter().map(|it| (SnapshotKind::Latest, it)))
    }

    /// Takes snapshots that were read; says what is missing for the history to be whole.
    pub(super) fn take_snapshots(
        &mut self,
        snapshots: Vec<(SnapshotKind, Snapshot)>,
    ) -> Result<(), String> {
        for (kind, snapshot) in snapshots {
            match kind {
                SnapshotKind::Base => self.base = Some(snapshot),
                SnapshotKind::Latest => self.latest = Some(snapshot),
            }
        }
        let mut states = self.snapshots();
        if self.floor == self.epoch_start || states.any(|(_, it)| it.sequence == self.floor) {
            return Ok(());
        }
        let first = self.floor + 1;
        Err(format!("the history from {first} on has no base snapshot"))
    }
}

/// What tells quickly whether two stores hold the same of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The current generation of history.
    pub epoch: u64,
    /// The newest sequence number of the generation before.
    pub epoch_start: u64,
    /// The newest sequence number.
    pub head: u64,
    /// The horizon of history.
    pub floor: u64,
    /// Time of the newest append.
    pub changed_ms: u64,
    /// The reason of its quarantine.
    pub quarantine: Option<String>,
    /// State vectors of deleted epochs.
    pub tombstone: Option<Bytes>,
    /// The random id of the newest append.
    pub newest: Option<AppendId>,
    /// Checksums of the base and of the latest snapshot, which are the same in every store.
    pub snapshots: [Option<u32>; 2],
}

/// Documents that were read.
#[derive(Debug, Default)]
pub struct Exported {
    /// Those that are as they were written.
    pub copies: Vec<DocumentCopy>,
    /// Those that are damaged, with what is wrong.
    pub damaged: Vec<(DocumentName, String)>,
}

impl Exported {
    /// Adds what reading one document gave; one that is not there is left out.
    pub(super) fn add(
        &mut self,
        name: &DocumentName,
        read: Result<Option<Result<DocumentCopy, String>>, StoreError>,
    ) -> Result<(), StoreError> {
        match read {
            Ok(None) => {}
            Ok(Some(Ok(copy))) => self.copies.push(copy),
            Ok(Some(Err(finding))) | Err(StoreError::Damaged(finding)) => {
                self.damaged.push((name.clone(), finding));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A document to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// What to store.
    pub copy: DocumentCopy,
    /// Epoch and head of what is there and may go; nothing for a document that is new.
    pub replaces: Option<(u64, u64)>,
}

/// A store that documents can be copied from and to.
pub trait CopyEnd: Store {
    /// Brings the store into the order in which the calls below see everything.
    fn prepare(&self) -> StoreFuture<'_, ()>;

    /// The stamps of those documents that are there.
    fn stamps<'a>(
        &'a self,
        names: &'a [DocumentName],
    ) -> StoreFuture<'a, Vec<(DocumentName, Stamp)>>;

    /// Reads everything of some documents, each in one database snapshot, and checks it.
    fn export_documents<'a>(&'a self, names: &'a [DocumentName]) -> StoreFuture<'a, Exported>;

    /// Stores documents in one transaction, with new checksums. Those that are not there as was
    /// expected are left alone; returns their names.
    fn import_documents<'a>(
        &'a self,
        documents: &'a [Import],
    ) -> StoreFuture<'a, Vec<DocumentName>>;
}

#[cfg(test)]
pub(crate) mod tests;
