//! What housekeeping asks of a store: log ranges, sizes, findings. Plain data.

use driftless_proto::name::DocumentName;

use super::{Snapshot, StoredAppend};

/// Where a read of a log starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// Behind this sequence number. When that lies below the oldest kept append, the base snapshot
    /// comes first and the appends continue from it.
    After(u64),
    /// At the newest snapshot that is intact, or at the beginning when there is none.
    NewestSnapshot,
}

/// How much of a log one read may bring into memory. At least one append is always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The most appends.
    pub appends_max: u64,
    /// The most bytes of updates.
    pub bytes_max: u64,
}

impl LogLimits {
    /// One append.
    pub const ONE: Self = Self {
        appends_max: 1,
        bytes_max: u64::MAX,
    };
    /// The whole rest of the log, as a load needs it; compaction bounds how long that is.
    pub const NONE: Self = Self {
        appends_max: u64::MAX,
        bytes_max: u64::MAX,
    };
}

/// A part of a document's log, read in one database snapshot and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRange {
    /// The current generation of history.
    pub epoch: u64,
    /// The newest sequence number of the document.
    pub head: u64,
    /// The state that the appends build on, where the read started at or below a snapshot.
    pub snapshot: Option<Snapshot>,
    /// Contiguous appends with valid checksums. Fewer than asked for at a limit or at damage.
    pub appends: Vec<StoredAppend>,
    /// What was wrong behind the last of `appends`, if anything.
    pub damage: Option<String>,
}

/// The sizes of a document's log, from which housekeeping decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStats {
    /// The document.
    pub document: DocumentName,
    /// The current generation of history.
    pub epoch: u64,
    /// The newest sequence number.
    pub head: u64,
    /// Appends that the newest snapshot does not cover.
    pub uncovered_appends: u64,
    /// Bytes of the updates that the newest snapshot does not cover.
    pub uncovered_bytes: u64,
    /// Appends kept as history (above the base snapshot).
    pub kept_appends: u64,
    /// Bytes of the updates kept as history.
    pub kept_bytes: u64,
    /// Time of the oldest kept append, milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Rows of a dropped history still wait for their removal.
    pub has_dead_rows: bool,
}

/// Which documents are worth a look: those beyond any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsFilter {
    /// More appends than this since the newest snapshot.
    pub uncovered_appends: u64,
    /// More bytes than this since the newest snapshot.
    pub uncovered_bytes: u64,
    /// An append older than this time, milliseconds since 1970.
    pub oldest_before_ms: u64,
    /// More bytes of history than this.
    pub kept_bytes: u64,
}

/// One step of a scan over all documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsPage {
    /// The documents of this step that the filter selects; quarantined ones are left out.
    pub stats: Vec<LogStats>,
    /// Where the next step starts; `None` after the last document.
    pub next: Option<u64>,
}

/// Which of a document's snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotKind {
    /// The newest state; loads start from it.
    Latest,
    /// The state at the horizon of history; reads of history start from it.
    Base,
}

/// What a full check of a document found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The current generation of history.
    pub epoch: u64,
    /// The newest sequence number.
    pub head: u64,
    /// The last sequence number up to which the document is readable.
    pub good_until: u64,
    /// The intact snapshots, the newest first. Whether they make a document is for their readers.
    pub snapshots: Vec<(SnapshotKind, Snapshot)>,
    /// What is wrong, in words; empty when everything is as it was written.
    pub findings: Vec<String>,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The head before.
    pub head_before: u64,
    /// The head now: the last sequence number that was intact.
    pub head: u64,
    /// Log rows moved to the side table.
    pub appends_cut: u64,
    /// Snapshots moved to the side table.
    pub snapshots_cut: u64,
}
