//! What a simulation may find: promises that were broken.

use crate::engine::{CloseReason, LoadError, SnapshotError};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The store lacks what a client was told is saved.
    #[error("client {client} was told that its edits are saved, the store lacks {lacks}")]
    AcknowledgedLost {
        /// Whose edits.
        client: usize,
        /// What is missing.
        lacks: String,
    },
    /// The store lacks what peers have seen although changes are relayed after their commit only.
    #[error("peers have seen what the store lacks: {lacks}")]
    SeenLost {
        /// What is missing.
        lacks: String,
    },
    /// Two replicas differ after everything was healed.
    #[error("{left} and {right} differ in {what}")]
    Diverged {
        /// One replica.
        left: String,
        /// The other one.
        right: String,
        /// In what they differ.
        what: String,
    },
    /// A client waits for something that never comes.
    #[error("client {client} holds updates that it cannot apply")]
    Pending {
        /// Which client.
        client: usize,
    },
    /// A client shows others than those who are here.
    #[error("client {client} shows {shown:?}, here are {live:?}")]
    Presence {
        /// Which client.
        client: usize,
        /// The client ids it shows.
        shown: Vec<u64>,
        /// The client ids that are here.
        live: Vec<u64>,
    },
    /// A client that is served was never told that its edits are saved.
    #[error("client {client} has no ack for its probe {probe} (last ack: {acked:?})")]
    NeverAcknowledged {
        /// Which client.
        client: usize,
        /// The probe that should have been answered.
        probe: u64,
        /// The highest probe that was.
        acked: Option<u64>,
    },
    /// A session was closed and the scenario does not explain why.
    #[error("client {client} was closed as {reason:?}")]
    UnexplainedClose {
        /// Which client.
        client: usize,
        /// The reason given.
        reason: CloseReason,
    },
    /// A client was denied and the scenario does not explain why.
    #[error("client {client} was denied its edits")]
    UnexplainedDenial {
        /// Which client.
        client: usize,
    },
    /// A client got bytes that it cannot read or apply.
    #[error("client {client} cannot take in what it was sent: {error}")]
    BadFrame {
        /// Which client.
        client: usize,
        /// What is wrong.
        error: String,
    },
    /// Stored data does not make a replica.
    #[error("the stored document cannot be loaded: {0}")]
    Load(#[from] LoadError),
    /// Stored data does not make a snapshot.
    #[error("no snapshot was built: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The replica failed over what honest clients sent.
    #[error("the replica was poisoned by honest edits")]
    Poisoned,
    /// A replica loaded from the store differs from the live one.
    #[error("the document grew back to what was deleted: client {client} is at {clock}")]
    Resurrected {
        /// A client of the deleted epoch.
        client: u64,
        /// How far it came.
        clock: u32,
    },
    /// Somebody talks without end.
    #[error("{what}: {count} where at most {count_max} are explained")]
    Runaway {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are explained.
        count_max: usize,
    },
    /// The network did not fall silent.
    #[error("frames or commits are still under way long after everything was healed")]
    Restless,
}
