//! The contract between the command line and whoever holds the documents.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use driftless_proto::engine::Rights;
use driftless_proto::name::DocumentName;

use crate::store::{Claim, DocumentSummary, Origin, StoreError};

/// A boxed future, so that the command line need not know who fulfils an operation.
pub type OperationFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, OperationError>> + Send + 'a>>;

/// What an operator can do with documents, on a running server and on the folder of a stopped one.
///
/// Every call answers only after what it did is durable.
pub trait DocumentOperations: Send + Sync + 'static {
    /// Lists up to `limit` documents whose names start with `prefix`, after `after`, by name.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> OperationFuture<'a, Vec<DocumentSummary>>;

    /// Describes one document; [`OperationError::NotFound`] when nothing was ever written to it.
    fn show<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, DocumentDetails>;

    /// Reads the current full state as one Yjs v1 update, up to the last good append.
    fn export_state<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Bytes>;

    /// Admits a Yjs v1 update whole or refuses it whole, and commits it as one append. `rights`: of
    /// who brings it.
    fn import_update<'a>(
        &'a self,
        document: &'a DocumentName,
        update: Bytes,
        origin: Origin,
        rights: Rights,
    ) -> OperationFuture<'a, Imported>;

    /// Deletes a document, leaving a tombstone, and returns the new epoch.
    fn delete<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, u64>;

    /// Reads a document (or, without a name, all of them and the database itself) and reports what
    /// is damaged. Finding damage is a report, not an error.
    fn verify<'a>(
        &'a self,
        document: Option<&'a DocumentName>,
    ) -> OperationFuture<'a, Verification>;

    /// Cuts a damaged log back to its last good append and reports what was lost.
    fn repair<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Repair>;

    /// Lifts a quarantine; refused while the stored data is still damaged.
    fn release<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, ()>;

    /// Copies all documents into one new file, consistently, while work goes on. `file` is
    /// absolute and must not exist yet. Returns the size of the copy in bytes.
    fn backup<'a>(&'a self, file: &'a Path) -> OperationFuture<'a, u64>;

    /// Makes the actor of a document panic, or block its thread for `stall_ms`, for tests.
    #[cfg(feature = "fault-injection")]
    fn harm<'a>(
        &'a self,
        document: &'a DocumentName,
        stall_ms: Option<u64>,
    ) -> OperationFuture<'a, ()> {
        let _ = (document, stall_ms);
        let told = "only documents of a running server can be harmed".to_owned();
        Box::pin(std::future::ready(Err(OperationError::Refused(told))))
    }
}

/// What `driftless doc show` tells about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentDetails {
    /// The line that `list` gives.
    pub summary: DocumentSummary,
    /// The size of the current state as one Yjs v1 update, in bytes.
    pub state_bytes: u64,
    /// The sequence number of the newest snapshot, 0 without one.
    pub snapshot_sequence: u64,
    /// What is wrong behind the last good append, if anything.
    pub damage: Option<String>,
    /// Whose client ids are; `None` where they are free.
    pub owners: Option<Vec<Claim>>,
    /// What only a running server knows; `None` on a stopped one.
    pub live: Option<LiveDetails>,
}

/// The part of [`DocumentDetails`] that lives in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveDetails {
    /// True while a replica is in memory.
    pub resident: bool,
    /// Sessions attached now.
    pub sessions: u64,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// The head after the import.
    pub head: u64,
    /// False when the document held all of it already and nothing was stored.
    pub changed: bool,
}

/// What a verification read, and what was wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Documents that were read.
    pub documents: u64,
    /// Appends that were read.
    pub appends: u64,
    /// What is damaged; empty when all is well.
    pub damages: Vec<Damage>,
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The document it concerns; `None` for the database itself.
    pub document: Option<DocumentName>,
    /// What is wrong.
    pub description: String,
}

/// What a repair kept and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// The head before the repair.
    pub head_before: u64,
    /// The head after it: the last append that was intact.
    pub head: u64,
    /// Appends that were moved aside; 0 when nothing was damaged.
    pub dropped_appends: u64,
    /// Snapshots that were moved aside.
    pub dropped_snapshots: u64,
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// The document does not exist.
    #[error("there is no document of this name; `driftless doc list` shows those that are")]
    NotFound,
    /// There is no restriction of this id.
    #[error("there is no restriction of this id; `driftless access list` shows those in force")]
    NoRestriction,
    /// The input or the state of the document forbids it; trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// The store or the server cannot do it now; trying again may help.
    #[error("{0}; try again")]
    Unavailable(String),
    /// Stored data is damaged.
    #[error("{0}")]
    Damaged(String),
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            StoreError::Refused(reason) => Self::Refused(reason),
            StoreError::Damaged(_) => Self::Damaged(error.to_string()),
            StoreError::Unavailable(_) | StoreError::DiskFull(_) | StoreError::FlushFailed(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}
