//! What a door needs to know of documents: attach, hand over messages, leave.
//!
//! A door translates bytes into [`Message`]s and gives each peer an [`Outbox`]; what a message does
//! to a document is decided behind [`Documents`].

use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use driftless_proto::engine::{Access, CloseReason, Rights};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::{Message, Notice, Outbound};

use crate::outbox::Line;
use crate::store::Origin;

/// One peer attached to one document; unique for the life of a process.
pub use driftless_proto::engine::SessionId;

/// Appends one message, addressed to a session, as complete frames of a door: dialect and transport
/// framing. Nothing where the dialect has no words for it.
pub type EncodeFrame = fn(&[u8], &Outbound, &mut BytesMut);

/// How frames for a session are written. A document writes once for all sessions with equal
/// encodings and shares the bytes.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// Writes a frame.
    pub write: EncodeFrame,
    /// How the session is addressed; empty where a connection has only one.
    pub address: Bytes,
}

impl Encoding {
    /// Writes a message as frames.
    pub fn encode(&self, message: &Outbound) -> Bytes {
        let mut frames = BytesMut::new();
        (self.write)(&self.address, message, &mut frames);
        frames.freeze()
    }
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.write, other.write) && self.address == other.address
    }
}

impl Eq for Encoding {}

impl Hash for Encoding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Of two dialects few sessions have the same address.
        self.address.hash(state);
    }
}

/// Whose session it is and by which token, for those who list, change and end sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The verified identity, if there is one.
    pub subject: Option<Arc<str>>,
    /// The id of its token, if it has one.
    pub token_id: Option<Arc<str>>,
    /// When its token was issued, in milliseconds since 1970, if it says so.
    pub issued_at_ms: Option<u64>,
}

/// What a door says of a peer that wants a document.
#[derive(Debug)]
pub struct AttachRequest {
    /// The document it wants.
    pub document: DocumentName,
    /// How frames for this peer are written.
    pub encoding: Encoding,
    /// Where frames for this peer go.
    pub line: Line,
    /// A frame for it before anything that the document says; it is not sent to who cannot be
    /// attached. Empty for none.
    pub greeting: Bytes,
    /// Whose changes these will be.
    pub origin: Origin,
    /// Whose session it is.
    pub holder: Holder,
    /// What it may do, and how it is answered.
    pub access: Access,
}

/// Why a peer could not be attached. A document that fails to load later ends the session through
/// [`Line::end`] instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The server is stopping.
    #[error("the server is stopping; connect again in a moment")]
    ShuttingDown,
    /// The document is being loaded, and so many sessions came and went meanwhile that no more are taken
    /// until it is.
    #[error("the document is being loaded; connect again in a moment")]
    Unavailable,
    /// The document has as many sessions as it may.
    #[error(
        "the document has as many sessions as it may (sessions_per_document_max); try again later"
    )]
    DocumentFull,
    /// The identity has as many sessions as it may.
    #[error("this identity has as many sessions as it may (sessions_per_identity_max); close some")]
    IdentityFull,
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The document is behind: here is the message again; wait for [`SessionHandle::poll_room`].
    Full(Message),
    /// The session is over; the reason is, or soon will be, in the outbox.
    Ended,
}

/// The session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Ended;

/// All documents of this server, as doors see them.
pub trait Documents: Send + Sync + 'static {
    /// Attaches a session; frames for it arrive in the outbox.
    fn attach(&self, request: AttachRequest) -> Result<Box<dyn SessionHandle>, AttachError>;
}

/// A task that stays on the thread it was started on.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Starts the task that serves a connection, on the thread it will stay on.
pub type StartServing = Box<dyn FnOnce() -> LocalTask + Send>;

/// A thread where a connection may be served.
pub type Beside = Box<dyn FnOnce(StartServing) + Send>;

/// One attached session. Dropping it detaches as not clean.
pub trait SessionHandle: Send {
    /// The thread of the document, where the session's connection is about to be served: what the two
    /// tell each other then wakes no other thread. Runs nothing when that thread has ended.
    fn beside(&self) -> Beside;

    /// Queues a message for the document: `Ok` at once when there is room, otherwise `Full` hands
    /// the message back.
    fn try_receive(&mut self, message: Message) -> Result<(), ReceiveError>;

    /// Resolves when there may be room again (cancellation-safe; the newest waker counts).
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>>;

    /// The outbox ran empty and all of it was written to the socket. Called once after each
    /// [`Line::want_drained`].
    fn drained(&self);

    /// Changes what the session may do.
    fn set_rights(&self, rights: Rights);

    /// Changes whose session it is, after it showed a newer token of the same subject.
    fn set_holder(&self, holder: Holder);

    /// Tells the peer something that it may act on, behind all that was said before.
    fn notify(&self, notice: Notice);

    /// Ends the session from the server's side: what the peer sent before still counts, and the reason
    /// comes back by the line.
    fn end(&self, reason: CloseReason);

    /// Ends the session. `clean`: the peer said goodbye, its connection did not just break.
    fn detach(self: Box<Self>, clean: bool);
}
