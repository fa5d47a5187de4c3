//! Documents as supervised actors, and nothing else of actix.
//!
//! ```text
//!  Registry ── name ─▶ DocumentCell ◀── sessions (SessionHandle, Outbox)
//!     │                 inbox · sessions · generation
//!     │                     ▲ wake
//!     │                     ▼
//!     │                 DocumentActor (on the thread with the fewest)
//!     │                     │ engine::Replica
//!     ▼                     ▼
//!  Supervisor           committer ─▶ store ─▶ bus ─▶ the cells of other nodes
//! ```
//!
//! The cell outlives its actor. A turn of the actor takes all that waits in the inbox, lets the
//! engine handle it in one transaction and performs the effects. A panic inside a turn, or an
//! engine that says its replica is poisoned, retires the actor: the next one is loaded from the
//! store once the committer holds nothing of the document, adopts the sessions, and tries the
//! updates that were under way one by one, so that only the guilty one is refused. The supervisor
//! looks for actors that are stuck or gone, evicts idle documents, and keeps the memory budget.
//!
//! What other nodes commit is heard over the bus and applied in the order of the log; a hole, or an
//! interrupted bus, is repaired by reading the log.

mod cell;
mod document;
mod early;
mod frames;
mod handle;
mod held;
mod inbox;
mod load;
mod place;
mod placement;
mod poller;
mod query;
mod registry;
mod seats;
mod sessions;
mod slot;
mod supervisor;
mod turn;
mod wakes;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftless_proto::engine::ReplicaOptions;
use tokio::sync::Semaphore;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::committer::Committer;

pub use placement::ABANDONED_THREADS_MAX;
#[cfg(feature = "fault-injection")]
pub use query::Fault;
pub use registry::{QueryError, Registry};
pub use sessions::LiveSession;

/// The bounds and times of documents in memory.
#[derive(Debug, Clone)]
pub struct DocumentOptions {
    /// What each replica is given.
    pub replica: ReplicaOptions,
    /// Threads that documents are placed on while they are in memory.
    pub threads: usize,
    /// Bytes that peers may queue in front of one document.
    pub mailbox_bytes_max: usize,
    /// A document without sessions leaves memory after this time.
    pub idle_ms: u64,
    /// Above this many bytes of replicas the least recently used idle ones leave at once.
    pub resident_bytes_max: u64,
    /// Sessions that one document may have.
    pub sessions_per_document_max: usize,
    /// Sessions that one verified identity may have.
    pub sessions_per_identity_max: usize,
    /// Documents loaded at a time.
    pub load_concurrency: usize,
    /// A turn that takes longer counts as stuck: its thread is given up.
    pub stuck_timeout_ms: u64,
    /// How often the store is asked what other nodes wrote while the bus is down; `None` where no
    /// other node can write to it.
    pub poll_ms: Option<u64>,
    /// How long a load waits for a store that is away, before its sessions are told to come back.
    pub load_patience_ms: u64,
}

/// What all documents share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: DocumentOptions,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) bus: Arc<dyn Bus>,
    /// This process among the nodes; random.
    pub(crate) node: u64,
    /// Orders what it tells of presence.
    pub(crate) presence_number: AtomicU64,
    pub(crate) load_permits: Semaphore,
    /// What documents hold beyond logs that were taken back. As much as replicas may take; encoded they
    /// take an eighth of that. Beyond it a document goes back to its log, and what only its replica had
    /// comes from its sessions, if one of them has it.
    held_bytes: Arc<held::HeldBytes>,
}

/// Locks, also after a panic elsewhere: every critical section here leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
