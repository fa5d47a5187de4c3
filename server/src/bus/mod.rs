//! What nodes tell each other about documents: the contract, and the bus within one process.
//!
//! The log is the truth; the bus only saves its readers the wait. Whoever hears of a commit applies
//! it in the order of the log, and whoever may have missed something reads the log.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use driftless_proto::engine::NodePresence;
use driftless_proto::name::DocumentName;

use crate::access::Selection;
use crate::store::{AppendId, LogEnd};

#[cfg(test)]
pub(crate) mod conformance;
pub mod local;
mod message;
mod nodes;
pub mod redis;

/// A boxed future, so that a bus can be a trait object.
pub type BusFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Appends with more bytes of updates in one commit travel as sequence numbers only.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// One append of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the document's log.
    pub sequence: u64,
    /// Its random id.
    pub id: AppendId,
    /// Its Yjs v1 update; `None` when it has to be read from the log.
    pub update: Option<Bytes>,
}

/// What one commit added to a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The generation of history.
    pub epoch: u64,
    /// Its appends, by sequence number; other nodes' may lie between them.
    pub entries: Vec<Entry>,
}

impl Commit {
    /// The bytes of the updates that it carries.
    pub fn bytes(&self) -> usize {
        let updates = self.entries.iter().flat_map(|entry| &entry.update);
        updates.map(Bytes::len).sum()
    }
}

/// What a node tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Appends were committed.
    Committed(Arc<Commit>),
    /// The document was deleted; its next epoch is this one.
    Deleted {
        /// The epoch that begins.
        epoch: u64,
    },
    /// Something may have been lost: read the log.
    Interrupted,
    /// Everything may have been lost for a while, in both directions.
    Rejoined,
    /// A node tells of presence.
    Presence {
        /// Who tells: random, new with each start of a process.
        node: u64,
        /// Grows with each message of the node.
        number: u64,
        /// What it tells.
        told: Arc<NodePresence>,
    },
    /// A session of another node sent a stateless message.
    Stateless {
        /// What it sent.
        payload: Bytes,
    },
    /// A node fell silent.
    NodeLost {
        /// Who did.
        node: u64,
    },
    /// Where the log ended a moment ago; never sent, it comes from this node's own look at the store.
    LogEnd {
        /// The end.
        end: LogEnd,
        /// Where this node was in the log before it looked.
        applied: u64,
    },
}

/// Hears what other nodes publish, in any order and perhaps twice. Called on the publisher's
/// thread: queue within a bound and return at once; what does not fit is replaced by one
/// [`Event::Interrupted`].
pub trait Listener: Debug + Send + Sync {
    /// Takes one event.
    fn hear(&self, event: Event);
}

/// A node's place on the channel of one document; dropping it leaves the channel.
pub trait Subscription: Debug + Send + Sync {
    /// False while nobody else is sure to be listening: nothing has to be put together then.
    fn has_peers(&self) -> bool;

    /// Tells all other nodes. Never blocks; what cannot be sent is lost, and its receivers learn of
    /// the hole by the next sequence number or by [`Event::Interrupted`].
    fn publish(&self, event: Event);
}

/// What a node tells the others beyond documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// The restrictions in the store were changed.
    RestrictionsChanged,
    /// The access of these sessions is to be granted anew.
    RecheckSessions(Selection),
    /// These sessions are to be ended.
    EndSessions(Selection),
    /// Something may have been lost; never sent, each bus finds it out by itself.
    Rejoined,
}

/// Hears what other nodes tell all nodes. As for [`Listener`]: queue within a bound and return at once.
pub trait NodeListener: Debug + Send + Sync {
    /// Takes one event.
    fn hear(&self, event: NodeEvent);
}

/// A node's place on the channel of all nodes; dropping it leaves the channel.
pub trait NodeSubscription: Debug + Send + Sync {
    /// Tells all other nodes. Resolves, within some seconds, to whether they were told. What was
    /// not is not told later: an operator's command is for now.
    fn publish(&self, event: NodeEvent) -> BusFuture<'_, bool>;
}

/// Why there is no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bus cannot be used: {0}")]
pub struct BusError(pub String);

/// Whether other nodes are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusStatus {
    /// There is no network to lose.
    Local,
    /// Other nodes are heard.
    Up,
    /// They are not; their changes are read from the log.
    Down,
}

impl std::fmt::Display for BusStatus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Local => "local",
            Self::Up => "connected",
            Self::Down => "down; changes of other nodes arrive by the log",
        })
    }
}

/// The channels between nodes: one a document, and one of all nodes.
pub trait Bus: Debug + Send + Sync {
    /// Whether other nodes are heard.
    fn status(&self) -> BusStatus;

    /// Joins a channel. Once this resolves the listener hears everything that is published; so
    /// what is loaded from the store afterwards and what is heard leave nothing out.
    fn subscribe<'a>(
        &'a self,
        document: &'a DocumentName,
        listener: Arc<dyn Listener>,
    ) -> BusFuture<'a, Result<Box<dyn Subscription>, BusError>>;

    /// Joins the channel of all nodes. What was told before, or while the bus was away, is not heard.
    fn join_nodes(&self, listener: Arc<dyn NodeListener>) -> Box<dyn NodeSubscription>;
}
