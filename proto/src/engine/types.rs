//! What enters and leaves the engine: inputs, effects, observations and options.

use std::sync::Arc;

use bytes::Bytes;

use super::close::CloseReason;
use crate::ClientId;
use crate::admission::{Advance, StateVector};
use crate::wire::{Message, Notice, Outbound};

/// One peer attached to one document; unique for the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What a session may do; each right includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rights {
    /// See the document and who is there.
    Read,
    /// Be seen: presence and stateless messages.
    Comment,
    /// Change the document.
    Write,
    /// Change it under client ids of others, too.
    Admin,
    /// The same on behalf of others: it takes no client id as its own.
    Relay,
}

/// Whose changes a session's are: the verified identity. Sessions without one are all the same, nobody.
pub type Identity = Option<Arc<str>>;

/// Whether client ids belong to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientIds {
    /// Whoever may write may do so under any client id.
    Free,
    /// A client id belongs to the identity that wrote under it first. Changes are then relayed after
    /// their commit ([`Relay::Durable`]).
    Bound,
}

/// A client id and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The id.
    pub client: ClientId,
    /// Whose it is.
    pub owner: Identity,
}

/// How a session hears that its changes are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acks {
    /// It asks, and is told the highest counter of its own that is durable (y-sweet's type 102).
    Probes,
    /// Each of its updates is answered once, in order (Hocuspocus' SyncStatus).
    Receipts,
}

/// What a session may do, and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// What it may do.
    pub rights: Rights,
    /// How it is answered.
    pub acks: Acks,
}

/// The author of what a former replica held and the log has lost: no session.
pub const HELD: SessionId = SessionId(0);

/// Another process that serves the same documents; random, new with each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// What a node tells the others about presence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodePresence {
    /// These are all that its sessions carry; who is not among them, it carries no longer.
    pub is_whole: bool,
    /// The others are to tell all that theirs carry.
    pub asks: bool,
    /// An awareness update: who is here is carried by the node's sessions, who is gone was removed
    /// at this clock.
    pub entries: Bytes,
    /// The identities that entries belong to, where they show them.
    pub owners: Vec<(ClientId, Arc<str>)>,
    /// Clients that no session of the node carries any longer.
    pub released: Vec<ClientId>,
}

impl NodePresence {
    /// What it costs to keep, in bytes.
    pub fn bytes(&self) -> usize {
        let owner_bytes = |owner: &(ClientId, Arc<str>)| size_of_val(owner) + owner.1.len();
        let owners: usize = self.owners.iter().map(owner_bytes).sum();
        self.entries.len() + owners + size_of_val(&self.released[..])
    }
}

/// When peers see a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relay {
    /// At once; the sender's ack waits for the commit.
    Immediate,
    /// Only after the commit: nobody ever sees what a crash could take back.
    Durable,
}

/// The bounds and times of a replica.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    /// When peers see a change.
    pub relay: Relay,
    /// A document whose encoded state is larger becomes read-only.
    pub document_bytes_max: usize,
    /// A single update larger than this is refused.
    pub update_bytes_max: usize,
    /// Initial states larger than this travel in causally closed parts of about this size.
    pub chunk_bytes: usize,
    /// A presence entry that is not renewed for this long is removed (y-protocols: 30 s).
    pub presence_timeout_ms: u64,
    /// How long an entry outlives a socket that broke without a goodbye.
    pub presence_grace_ms: u64,
    /// The largest state of one presence entry, as JSON.
    pub presence_entry_bytes_max: usize,
    /// The most entries that one session may carry.
    pub presence_entries_max: usize,
    /// How often a second sessions are told of changed presence, at most; what changes more often
    /// gathers, and the newest counts. 0 for no bound.
    pub presence_per_second_max: u64,
    /// The member of a presence entry that says who its session was proven to be. With it, nobody
    /// speaks for another identity's entries.
    pub presence_identity_field: Option<Arc<str>>,
    /// The largest stateless message.
    pub stateless_bytes_max: usize,
    /// Whether client ids belong to somebody.
    pub client_ids: ClientIds,
}

/// What enters the engine.
#[derive(Debug, Clone)]
pub enum Input {
    /// A peer arrived.
    Attach {
        /// The new session.
        session: SessionId,
        /// What it may do, and how it is answered.
        access: Access,
        /// Whose changes its will be.
        identity: Identity,
    },
    /// What a peer may do has changed.
    SetRights {
        /// Whose rights.
        session: SessionId,
        /// All it may do from now on.
        rights: Rights,
    },
    /// Tell a peer something that it may act on.
    Notify {
        /// Whom to tell.
        session: SessionId,
        /// What to tell.
        notice: Notice,
    },
    /// End a session.
    End {
        /// Which one.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// These sessions have nothing and are about to arrive; they were sent all that this replica was
    /// loaded from. Given before any other input.
    SentStored {
        /// Who was sent it.
        sessions: Vec<SessionId>,
    },
    /// A peer said something.
    Receive {
        /// Who said it.
        session: SessionId,
        /// What it said.
        message: Message,
    },
    /// An update that was under way when a former replica failed; what its author is owed for it is
    /// among its [`Arrears`](super::Arrears).
    Retry {
        /// Who sent it.
        session: SessionId,
        /// Its bytes (Yjs v1).
        update: Bytes,
    },
    /// A peer left.
    Detach {
        /// Who left.
        session: SessionId,
        /// True when it said goodbye, false when the connection broke.
        clean: bool,
    },
    /// Everything that was queued for a peer was written to its socket.
    Drained {
        /// Whose queue is empty.
        session: SessionId,
    },
    /// A message did not fit into a peer's queue. Given for the first such message of a turn,
    /// before the next input.
    Overflow {
        /// Whose queue is full.
        session: SessionId,
        /// What did not fit.
        missed: Missed,
    },
    /// Another node committed an append: it is durable, and given in the order of the log.
    Foreign {
        /// The append's bytes (Yjs v1).
        update: Bytes,
    },
    /// Other nodes may be there, or may have missed something: tell them everything, and ask.
    MeetNodes,
    /// Another node told of presence.
    NodePresence {
        /// Who told.
        node: NodeId,
        /// Grows with each message of the node; what comes late or twice is ignored.
        number: u64,
        /// What it told.
        told: NodePresence,
    },
    /// A session of another node sent a stateless message.
    NodeStateless {
        /// What it sent.
        payload: Bytes,
    },
    /// Another node is gone.
    NodeLost {
        /// Who is gone.
        node: NodeId,
    },
    /// The state of a former replica whose log was taken back: what the log lacks is stored again.
    Held {
        /// The whole state (Yjs v1).
        update: Bytes,
        /// The owners of client ids that it knew ([`Replica::owners`](super::Replica::owners)).
        owners: Vec<Claim>,
    },
    /// What the store has on record of owners of client ids; it outweighs what was known.
    Owners {
        /// Some of them or all.
        owners: Vec<Claim>,
    },
    /// All appends up to this version are durable.
    Committed {
        /// An [`Effect::Append::version`].
        version: u64,
    },
    /// Whether new changes may be taken in.
    SetWrites {
        /// The new rule.
        writes: Writes,
    },
}

/// What did not fit into a peer's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// A broadcast, by its number ([`Effect::Broadcast::relay`]).
    Relay(u64),
    /// A step 2 or update sent to this peer alone.
    State,
    /// Any other message to this peer alone.
    Reply,
}

impl Missed {
    /// What it means to a peer that this message did not fit.
    pub fn of(message: &Outbound) -> Self {
        match message {
            Outbound::SyncStep2 { .. } | Outbound::Update { .. } => Self::State,
            _ => Self::Reply,
        }
    }
}

/// Whether a replica takes in new changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// Changes are taken in.
    Open,
    /// Nothing more fits into the queue in front of the store; writers are closed and come back.
    StoreFull,
    /// Changes are answered with this text; sessions stay and can read.
    ReadOnly(String),
}

/// What leaves the engine, to be performed in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send a message to one session.
    Send {
        /// The receiver.
        to: SessionId,
        /// What to send.
        message: Outbound,
    },
    /// Send a message to many sessions; encode it once a dialect.
    Broadcast {
        /// The number of this broadcast, to name it in [`Input::Overflow`].
        relay: u64,
        /// The receivers.
        to: Arc<[SessionId]>,
        /// A receiver to leave out: the only author of what is sent.
        except: Option<SessionId>,
        /// What to send.
        message: Outbound,
    },
    /// Store an admitted update; answer with [`Input::Committed`].
    Append {
        /// The version that this append makes; one holds all that its session sent in a row.
        version: u64,
        /// Whose change it is.
        session: SessionId,
        /// The admitted bytes (Yjs v1).
        update: Bytes,
        /// The client ids that got an owner by it, to be stored with it: the first that is stored
        /// counts.
        claims: Vec<Claim>,
    },
    /// Answer updates of a session that is answered by receipts.
    Receipts {
        /// Whose updates.
        session: SessionId,
        /// What became of them; `None`: they are refused and nothing is sent, since too many refusals
        /// wait.
        accepted: Option<bool>,
        /// How many.
        count: u64,
    },
    /// Updates that were answered by a refusal are answered once more, when they are taken in.
    Restored {
        /// Whose updates.
        session: SessionId,
        /// How many.
        count: u64,
    },
    /// Pass a stateless message on to the sessions of other nodes.
    TellStateless {
        /// What to pass on.
        payload: Bytes,
    },
    /// Tell other nodes of presence.
    TellNodes {
        /// What they have to know.
        told: NodePresence,
    },
    /// Ask for [`Input::Drained`] once the session's queue is empty.
    NotifyDrained {
        /// Whose queue.
        session: SessionId,
    },
    /// End a session. The engine has forgotten it already.
    Close {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// The replica is not usable any more: rebuild it from the store, then try `suspects` one by
    /// one. Nothing follows this effect.
    Poisoned {
        /// The updates that were being applied, in order.
        suspects: Vec<Suspect>,
    },
    /// What another node has committed does not fit: load the document again. Nothing follows this
    /// effect.
    Diverged,
    /// Something worth counting.
    Observed(Observation),
}

/// An update that was being applied when a replica failed.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// Who sent it.
    pub session: SessionId,
    /// The admitted bytes (Yjs v1).
    pub update: Bytes,
    /// The structs it holds.
    pub advances: Vec<Advance>,
}

/// Events for metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// So many updates were applied in one transaction and left as one frame.
    Applied {
        /// How many updates.
        updates: usize,
    },
    /// An update brought nothing new.
    Duplicate,
    /// A part of an update needs what the replica does not have.
    Gap,
    /// An update was refused, by reason.
    Refused(&'static str),
    /// A session that fell behind is being brought up to date.
    Resynced,
    /// A presence entry brought no news.
    PresenceEcho,
    /// Changes of presence came too fast: the next gather for a while.
    PresenceHeldBack,
    /// A write was answered with a denial.
    Denied,
    /// One of them because it adds to client ids of others; counts as one of [`Self::Denied`], too.
    NotYours {
        /// Whose write.
        session: SessionId,
    },
}

/// A document as it comes from the store.
#[derive(Debug, Clone, Default)]
pub struct StoredDocument {
    /// The newest snapshot, a Yjs v1 update.
    pub snapshot: Option<Bytes>,
    /// The updates after the snapshot, in log order.
    pub appends: Vec<Bytes>,
    /// State vectors of deleted epochs, merged.
    pub tombstone: Option<StateVector>,
    /// The owners of client ids; not looked at where ids are free.
    pub owners: Vec<Claim>,
}

/// Why stored data does not make a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The snapshot cannot be read.
    #[error("the stored snapshot cannot be read")]
    Snapshot,
    /// This append cannot be applied; those before it can.
    #[error("append {index} after the snapshot cannot be applied")]
    Append {
        /// Its place among the appends, from 0.
        index: usize,
    },
}
