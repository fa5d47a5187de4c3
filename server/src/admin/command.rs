//! The commands of the admin socket and their replies, as JSON. Each is the edge's own type: what
//! the server works with is converted here, so that it can change without breaking scripts.

use std::collections::BTreeMap;

use driftless_proto::ClientId;
use driftless_proto::engine::Identity;
use serde::{Deserialize, Serialize};

use super::access::wire::{AccessCommand, AccessReply};
use super::operations::{
    Damage, DocumentDetails, Imported, LiveDetails, OperationError, Repair, Verification,
};
use crate::store::{Claim, DocumentSummary};

/// The version of the protocol; raised when an old command line would misread a new server.
pub const VERSION: u32 = 1;

/// Documents in one reply to `list`; ask again with `after` for more.
pub const LIST_LIMIT_MAX: u32 = 500;

/// Damages in one reply to `verify`; more of them say nothing new.
pub const DAMAGES_MAX: usize = 500;

/// Identities in one reply to `show`, and client ids of each: enough to see who writes, few enough
/// for a screen.
pub const OWNERS_MAX: usize = 100;
pub const OWNED_MAX: usize = 10;

/// What is asked for. `import` carries the update as payload, `export` is answered with one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// List documents by name.
    List {
        /// Only names that start so.
        prefix: String,
        /// Only names behind this one.
        after: Option<String>,
        /// At most so many, and at most [`LIST_LIMIT_MAX`].
        limit: u32,
    },
    /// Describe a document.
    Show {
        /// Its name.
        document: String,
    },
    /// Send the full state.
    Export {
        /// Its name.
        document: String,
    },
    /// Commit the payload, a Yjs v1 update.
    Import {
        /// Its name.
        document: String,
    },
    /// Delete a document.
    Delete {
        /// Its name.
        document: String,
    },
    /// Read everything and report damage.
    Verify {
        /// Only this document.
        document: Option<String>,
    },
    /// Cut a damaged log back to its last good append.
    Repair {
        /// Its name.
        document: String,
    },
    /// Lift a quarantine.
    Release {
        /// Its name.
        document: String,
    },
    /// Copy everything into one file.
    Backup {
        /// An absolute path that does not exist yet.
        file: String,
    },
    /// Something about sessions and restrictions.
    Access(AccessCommand),
    /// Do harm to a document of a running server, for tests.
    #[cfg(feature = "fault-injection")]
    Harm {
        /// Its name.
        document: String,
        /// Block its thread for so many milliseconds; panic when left out.
        stall_ms: Option<u64>,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Reply {
    /// Documents by name.
    List {
        /// One entry per document.
        documents: Vec<Summary>,
    },
    /// One document.
    Show(Details),
    /// The state follows as payload.
    Export {},
    /// The update is durable.
    Import {
        /// The head after it.
        head: u64,
        /// False when the document held all of it already.
        changed: bool,
    },
    /// The document is deleted.
    Delete {
        /// The new epoch.
        epoch: u64,
    },
    /// What was read and found.
    Verify(Verified),
    /// What was kept and dropped.
    Repair(Repaired),
    /// The quarantine is lifted.
    Release {},
    /// What was done about sessions and restrictions.
    Access(AccessReply),
    /// The harm is on its way.
    #[cfg(feature = "fault-injection")]
    Harm {},
    /// The copy is durable.
    Backup {
        /// Its size.
        bytes: u64,
    },
}

/// One line of `driftless doc list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The document's name.
    pub document: String,
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
    /// Why it is quarantined, if it is.
    pub quarantine: Option<String>,
    /// True when it was deleted and nothing was written since.
    pub deleted: bool,
}

/// What `driftless doc show` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The line of the list.
    #[serde(flatten)]
    pub summary: Summary,
    /// Size of the current state as one Yjs v1 update.
    pub state_bytes: u64,
    /// Sequence number of the newest snapshot, 0 without one.
    pub snapshot_sequence: u64,
    /// What is wrong behind the last good append, if anything.
    pub damage: Option<String>,
    /// Whose client ids are; only with `client_ids = bound`.
    pub owners: Option<Owners>,
    /// Only from a running server.
    pub live: Option<Live>,
}

/// Whose the client ids of a document are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owners {
    /// Identities that own some.
    pub identities: u64,
    /// Client ids with an owner.
    pub client_ids: u64,
    /// The first [`OWNERS_MAX`] of the identities.
    pub listed: Vec<Owner>,
}

/// An identity and its client ids in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Who it is; `None` for all without an identity, who share their ids.
    pub identity: Option<String>,
    /// How many are its own.
    pub client_ids: u64,
    /// The first [`OWNED_MAX`] of them.
    pub listed: Vec<ClientId>,
}

/// What a running server knows of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// True while a replica is in memory.
    pub resident: bool,
    /// Sessions attached now.
    pub sessions: u64,
}

/// What `driftless doc verify` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Documents that were read.
    pub documents: u64,
    /// Appends that were read.
    pub appends: u64,
    /// How many damages there are.
    pub damaged: u64,
    /// The first [`DAMAGES_MAX`] of them.
    pub damages: Vec<DamagedPlace>,
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPlace {
    /// The document; `None` for the database itself.
    pub document: Option<String>,
    /// What is wrong.
    pub description: String,
}

/// What `driftless doc repair` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// The head before the repair.
    pub head_before: u64,
    /// The head after it.
    pub head: u64,
    /// Appends that were moved aside.
    pub dropped_appends: u64,
    /// Snapshots that were moved aside.
    pub dropped_snapshots: u64,
}

/// An [`OperationError`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "reason", rename_all = "snake_case")]
pub enum Failure {
    /// See [`OperationError::NotFound`].
    NotFound,
    /// See [`OperationError::NoRestriction`].
    NoRestriction,
    /// See [`OperationError::Refused`].
    Refused(String),
    /// See [`OperationError::Unavailable`].
    Unavailable(String),
    /// See [`OperationError::Damaged`].
    Damaged(String),
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::NotFound => Self::NotFound,
            OperationError::NoRestriction => Self::NoRestriction,
            OperationError::Refused(reason) => Self::Refused(reason),
            OperationError::Unavailable(reason) => Self::Unavailable(reason),
            OperationError::Damaged(reason) => Self::Damaged(reason),
        }
    }
}

impl From<Failure> for OperationError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFound => Self::NotFound,
            Failure::NoRestriction => Self::NoRestriction,
            Failure::Refused(reason) => Self::Refused(reason),
            Failure::Unavailable(reason) => Self::Unavailable(reason),
            Failure::Damaged(reason) => Self::Damaged(reason),
        }
    }
}

impl From<DocumentSummary> for Summary {
    fn from(summary: DocumentSummary) -> Self {
        Self {
            document: summary.name.as_str().to_owned(),
            epoch: summary.epoch,
            head: summary.head,
            appends: summary.appends,
            stored_bytes: summary.stored_bytes,
            changed_ms: summary.changed_ms,
            quarantine: summary.quarantine,
            deleted: summary.deleted,
        }
    }
}

impl From<DocumentDetails> for Reply {
    fn from(details: DocumentDetails) -> Self {
        Self::Show(Details {
            summary: details.summary.into(),
            state_bytes: details.state_bytes,
            snapshot_sequence: details.snapshot_sequence,
            damage: details.damage,
            owners: details.owners.map(Owners::from),
            live: details
                .live
                .map(|LiveDetails { resident, sessions }| Live { resident, sessions }),
        })
    }
}

impl From<Vec<Claim>> for Owners {
    fn from(claims: Vec<Claim>) -> Self {
        let client_ids = claims.len() as u64;
        let mut owned: BTreeMap<Identity, Vec<ClientId>> = BTreeMap::new();
        for claim in claims {
            owned.entry(claim.owner).or_default().push(claim.client);
        }
        let owner = |(identity, clients): (Identity, Vec<ClientId>)| Owner {
            identity: identity.map(|identity| identity.to_string()),
            client_ids: clients.len() as u64,
            listed: clients.into_iter().take(OWNED_MAX).collect(),
        };
        Self {
            identities: owned.len() as u64,
            client_ids,
            listed: owned.into_iter().take(OWNERS_MAX).map(owner).collect(),
        }
    }
}

impl From<Imported> for Reply {
    fn from(imported: Imported) -> Self {
        let Imported { head, changed } = imported;
        Self::Import { head, changed }
    }
}

impl From<Verification> for Reply {
    fn from(verification: Verification) -> Self {
        let place = |damage: Damage| DamagedPlace {
            document: damage.document.map(|name| name.as_str().to_owned()),
            description: damage.description,
        };
        Self::Verify(Verified {
            documents: verification.documents,
            appends: verification.appends,
            damaged: verification.damages.len() as u64,
            damages: verification
                .damages
                .into_iter()
                .take(DAMAGES_MAX)
                .map(place)
                .collect(),
        })
    }
}

impl From<Repair> for Reply {
    fn from(repair: Repair) -> Self {
        Self::Repair(Repaired {
            head_before: repair.head_before,
            head: repair.head,
            dropped_appends: repair.dropped_appends,
            dropped_snapshots: repair.dropped_snapshots,
        })
    }
}
