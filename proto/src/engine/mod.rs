//! The sans-I/O sync state machine: the only place that applies updates.
//!
//! ```text
//!  Input ─▶ Replica::handle ─▶ (staged) ─▶ Replica::flush ─▶ Effects
//!             │ admission                    │ one transaction, one merged frame
//!             ▼                              ▼
//!           Known                          Crdt (yrs)
//! ```
//!
//! A turn is any number of [`Replica::handle`] calls and one [`Replica::flush`]. At low load a turn
//! holds one input and adds no latency; when the caller is behind, all that waits becomes one
//! transaction and one outgoing frame. Nothing here returns an error: a harmful or malformed
//! message becomes [`Effect::Close`].

mod arrears;
mod backlog;
mod canonical;
mod close;
mod crdt;
pub mod export;
mod owners;
mod peers;
mod presence;
mod receipts;
mod relay;
mod replica;
mod rights;
mod serve;
mod session;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod types;
mod writes;

pub use arrears::Arrears;
pub use close::CloseReason;
pub use replica::{Replica, VALUE_NESTING_MAX};
pub use snapshot::{SnapshotError, build_snapshot, is_same_state};
pub use types::{
    Access, Acks, Claim, ClientIds, Effect, HELD, Identity, Input, LoadError, Missed, NodeId,
    NodePresence, Observation, Relay, ReplicaOptions, Rights, SessionId, StoredDocument, Suspect,
    Writes,
};
