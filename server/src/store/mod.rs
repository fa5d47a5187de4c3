//! What the server asks of durable storage: a log of appends and snapshots per document.
//!
//! A store never sees a session and never interprets an update beyond its checksum. Every backend
//! passes the suite in `store/conformance.rs`.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use driftless_proto::name::DocumentName;

mod checksum;
mod claims;
pub mod committer;
pub mod compaction;
#[cfg(test)]
mod conformance;
pub mod copy;
pub mod data_folder;
mod database_error;
#[cfg(any(test, feature = "fault-injection"))]
pub mod faulty;
pub mod housekeeper;
mod maintenance;
pub mod postgres;
mod restrictions;
pub mod schema;
mod sql;
pub mod sqlite;
mod tombstone;

use crate::access::Restriction;

pub use claims::StoredClaim;
pub use driftless_proto::engine::Claim;
pub use maintenance::{
    Inspection, LogLimits, LogRange, LogStart, LogStats, Repair, SnapshotKind, StatsFilter,
    StatsPage,
};

/// A boxed future, so that stores can be chosen at start (`Arc<dyn Store>`).
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The random id of an append; it tells two histories with equal sequence numbers apart.
pub type AppendId = [u8; 16];

/// Where a change came from, as far as the server could verify it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The verified identity (`sub`), if the door authenticates.
    pub identity: Option<String>,
    /// The door and peer, for audit: `ws 127.0.0.1:51234`, `admin import`.
    pub door: String,
}

/// A place in a log, told apart from the same place in another history by its random id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPoint {
    /// The sequence number.
    pub sequence: u64,
    /// The id of the append there.
    pub id: AppendId,
}

/// Where a document's log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// The current generation of history; 1 for a document that was never written.
    pub epoch: u64,
    /// The newest sequence number, 0 when there is none.
    pub head: u64,
    /// The id of the append there; `None` when only a snapshot holds it.
    pub id: Option<AppendId>,
}

/// One durable log entry that waits for its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The document it belongs to.
    pub document: DocumentName,
    /// The generation of history it was made in; a commit against another epoch is refused.
    pub epoch: u64,
    /// Chosen by the caller; appending the same id twice stores it once.
    pub id: AppendId,
    /// Whose change it is.
    pub origin: Origin,
    /// Wall-clock time of the change, milliseconds since 1970.
    pub time_ms: u64,
    /// The admitted Yjs v1 update.
    pub update: Bytes,
    /// The newest append that the change may rest on. Where the log can be taken back under live
    /// writers (a restore, a failover to a server that lags), it must still be there.
    pub after: Option<LogPoint>,
    /// Client ids that get an owner by it, stored in the same transaction. One that has an owner
    /// keeps it.
    pub claims: Vec<Claim>,
}

/// What a claim takes while it waits: the client id, and a share in the owner's name.
const CLAIM_BYTES: usize = size_of::<Claim>();

impl Append {
    /// The bytes that wait with it.
    pub fn waiting_bytes(&self) -> usize {
        self.update.len() + self.claims.len() * CLAIM_BYTES
    }
}

/// What became of one append of a committed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is durable under this sequence number (numbers of a document start at 1, without holes).
    Committed {
        /// Its place in the document's log.
        sequence: u64,
    },
    /// The document was deleted or restored meanwhile; nothing was stored.
    EpochChanged {
        /// The epoch that is current now.
        current: u64,
    },
    /// The document is frozen; nothing was stored.
    Quarantined,
    /// What the change rests on is not in the log any more; nothing was stored.
    LogLost,
    /// Another node is writing to the document; nothing was stored ([`Store::commit_free`]).
    Busy,
}

/// An append as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAppend {
    /// Its place in the document's log.
    pub sequence: u64,
    /// Its random id.
    pub id: AppendId,
    /// Whose change it was.
    pub origin: Origin,
    /// Wall-clock time of the change, milliseconds since 1970.
    pub time_ms: u64,
    /// The Yjs v1 update.
    pub update: Bytes,
}

/// The state of a document up to a sequence number, as one Yjs v1 update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last append it covers; 0 when it covers none.
    pub sequence: u64,
    /// The state as one Yjs v1 update.
    pub state: Bytes,
}

/// Everything needed to build a replica, read in one database snapshot and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedDocument {
    /// The current generation of history; 1 for a document that was never deleted.
    pub epoch: u64,
    /// The sequence number of the newest append, 0 when there is none. Keeps counting over epochs.
    pub head: u64,
    /// The newest snapshot, if one was built.
    pub snapshot: Option<Snapshot>,
    /// The appends after the snapshot, contiguous and with valid checksums.
    pub appends: Vec<StoredAppend>,
    /// Set when an operator or the server froze the document: the reason. Readable, not writable.
    pub quarantine: Option<String>,
    /// What was wrong behind the last good append, if anything: the document is readable up to
    /// `appends`, and must not be written.
    pub damage: Option<String>,
    /// State vectors (lib0 v1) of deleted epochs, merged: structs inside come from an old replica.
    pub tombstone: Option<Bytes>,
}

impl LoadedDocument {
    /// The snapshot and the appends behind it, in order.
    pub fn updates(&self) -> impl Iterator<Item = &Bytes> {
        let snapshot = self.snapshot.iter().map(|snapshot| &snapshot.state);
        snapshot.chain(self.appends.iter().map(|append| &append.update))
    }
}

/// A line of `driftless doc list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSummary {
    /// Its name.
    pub name: DocumentName,
    /// The current epoch.
    pub epoch: u64,
    /// The newest sequence number.
    pub head: u64,
    /// Appends kept in the log.
    pub appends: u64,
    /// Bytes of kept appends and snapshots.
    pub stored_bytes: u64,
    /// Wall-clock time of the newest append, milliseconds since 1970.
    pub changed_ms: u64,
    /// The reason of its quarantine, if it is quarantined.
    pub quarantine: Option<String>,
    /// True when it was deleted and nothing was written since.
    pub deleted: bool,
}

/// Why the store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store is not reachable or busy; the same call may succeed later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// No space is left; the same call succeeds once there is.
    #[error("the disk is full or read-only: {0}; free space or make the data folder writable")]
    DiskFull(String),
    /// Data that was read back is not what was written.
    #[error("stored data is damaged: {0}; run `driftless doc verify`")]
    Damaged(String),
    /// A flush to disk failed: what the operating system holds can no longer be trusted.
    #[error("the disk failed to flush: {0}; the store reopens and verifies")]
    FlushFailed(String),
    /// The data was written by a newer version, or by something else.
    #[error("{0}")]
    Refused(String),
    /// The document does not exist.
    #[error("there is no such document")]
    NotFound,
}

impl StoreError {
    /// A short word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::DiskFull(_) => "disk_full",
            Self::Damaged(_) => "damaged",
            Self::FlushFailed(_) => "flush_failed",
            Self::Refused(_) => "refused",
            Self::NotFound => "not_found",
        }
    }

    /// True when the same call may succeed later without a person's help in the data.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::DiskFull(_) | Self::FlushFailed(_)
        )
    }
}

/// A durable log of appends and snapshots per document.
///
/// Every call is cancellation-safe: a dropped future leaves the store usable, and what it was doing
/// either happened or did not.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Reads a document. One that was never written loads as empty (epoch 1, head 0); a failed
    /// read is an error, never an empty document.
    fn load<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, LoadedDocument>;

    /// Stores a batch in one transaction and returns, in order, what became of each append.
    /// On `Ok` everything `Committed` is durable; on `Err` nothing is known to be stored, and the
    /// same batch may be given again (ids make that idempotent, for as long as the process that
    /// tried it runs).
    /// After [`StoreError::FlushFailed`] the store reopens and verifies before its next write.
    fn commit<'a>(&'a self, batch: &'a [Append]) -> StoreFuture<'a, Vec<CommitOutcome>>;

    /// As [`Store::commit`], but passes over documents that another node is writing to at the moment
    /// ([`CommitOutcome::Busy`]), so that they hold up no others.
    fn commit_free<'a>(&'a self, batch: &'a [Append]) -> StoreFuture<'a, Vec<CommitOutcome>> {
        self.commit(batch)
    }

    /// Work that follows commits and that acknowledgements need not wait for, such as moving the
    /// write-ahead log into the database. Cheap when nothing is due. Failures lose no data.
    fn after_commit(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Stores a snapshot made from stored data, with the log up to its sequence marked as covered.
    /// Refused (`Ok(false)`) when the epoch is not current, the log does not reach that far, or a
    /// newer snapshot exists.
    fn save_snapshot<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool>;

    /// Moves the horizon of history to `snapshot`: it becomes the base, and in the same transaction
    /// the appends it covers stop being history. Their rows go in bounded steps ([`Store::trim`]).
    /// Refused (`Ok(false)`) as for [`Store::save_snapshot`], and when the horizon is behind it.
    fn save_base<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool>;

    /// Removes up to `rows_max` log rows that are no longer history; true when more remain.
    fn trim<'a>(&'a self, document: &'a DocumentName, rows_max: u32) -> StoreFuture<'a, bool>;

    /// Reads a part of a document's log, for history, compaction and repair of missed appends.
    fn read_log<'a>(
        &'a self,
        document: &'a DocumentName,
        start: LogStart,
        limits: LogLimits,
    ) -> StoreFuture<'a, LogRange>;

    /// The owners of client ids that appends behind `after` brought, all with 0; none where ids are
    /// free. Read after the log, they cover it.
    fn client_owners<'a>(
        &'a self,
        document: &'a DocumentName,
        after: u64,
    ) -> StoreFuture<'a, Vec<Claim>>;

    /// Where the logs of these documents end, in their order. Cheap: it is asked for all documents
    /// in memory, to find what was missed of other nodes.
    fn log_ends<'a>(&'a self, documents: &'a [DocumentName]) -> StoreFuture<'a, Vec<LogEnd>>;

    /// One bounded step of a scan over all documents for those beyond the filter, from `cursor`
    /// (0 at first).
    fn scan_stats<'a>(&'a self, filter: &'a StatsFilter, cursor: u64)
    -> StoreFuture<'a, StatsPage>;

    /// Asks to be the one that keeps house for so long: true when it is this process. What a former one
    /// still tries after its time is refused.
    fn lead_housekeeping(&self, lease: Duration) -> StoreFuture<'_, bool> {
        let _ = lease;
        Box::pin(std::future::ready(Ok(true)))
    }

    /// Gives up to `bytes_max` of unused space back to the file system; true when more remains.
    fn reclaim_space(&self, bytes_max: u64) -> StoreFuture<'_, bool> {
        let _ = bytes_max;
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Ends the current epoch: removes its appends and snapshots, keeps `vector` (lib0 v1 state
    /// vector) in the tombstone, and returns the new epoch.
    fn delete<'a>(&'a self, document: &'a DocumentName, vector: &'a [u8]) -> StoreFuture<'a, u64>;

    /// Freezes (`Some(reason)`) or releases (`None`) a document.
    fn set_quarantine<'a>(
        &'a self,
        document: &'a DocumentName,
        reason: Option<&'a str>,
    ) -> StoreFuture<'a, ()>;

    /// Lists up to `limit` documents whose names start with `prefix`, after `after`, by name.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<DocumentSummary>>;

    /// Checks everything stored of a document against its checksums and for completeness.
    fn inspect<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, Inspection>;

    /// Cuts a damaged document back to its last good append. What is cut is kept aside.
    ///
    /// `good_until` is what the caller knows beyond the checksums: appends after this sequence
    /// number are intact and yet make no document. Not below where loads start.
    fn repair<'a>(
        &'a self,
        document: &'a DocumentName,
        good_until: Option<u64>,
    ) -> StoreFuture<'a, Repair>;

    /// All restrictions of access, those that ran out among them, by id.
    fn restrictions(&self) -> StoreFuture<'_, Vec<Restriction>>;

    /// Stores restrictions, all or none; those of the same ids are replaced, and those that ran out
    /// before the first of these begins go. Refused beyond
    /// [`RESTRICTIONS_MAX`](crate::access::RESTRICTIONS_MAX).
    fn put_restrictions<'a>(&'a self, restrictions: &'a [Restriction]) -> StoreFuture<'a, ()>;

    /// Removes a restriction; false when it is not there.
    fn remove_restriction<'a>(&'a self, id: &'a str) -> StoreFuture<'a, bool>;

    /// True when other processes may write to it at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// Checks what documents share: the structure of the database. Empty when it is sound.
    fn verify_structure(&self) -> StoreFuture<'_, Vec<String>>;

    /// Writes a complete copy to one new file while the server runs on.
    fn backup<'a>(&'a self, file: &'a Path) -> StoreFuture<'a, ()>;

    /// Ends reads and writes in order; calls after it fail. Dropping the store is safe too.
    fn close(&self) -> StoreFuture<'_, ()>;
}
