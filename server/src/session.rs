//! What a door needs to know of documents: attach, hand over messages, leave.
//!
//! A door translates bytes into [`Message`]s and gives each peer an [`Outbox`]; what a message does
//! to a document is decided behind [`Documents`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use driftless_proto::name::DocumentName;
use driftless_proto::wire::{Message, Outbound};

use crate::outbox::Outbox;
use crate::store::Origin;

/// One peer attached to one document; unique for the life of a process.
pub use driftless_proto::engine::SessionId;

/// Appends one message as a complete frame of a door: dialect and transport framing. A document
/// calls it once per function pointer and shares the bytes among all sessions that have the same.
pub type EncodeFrame = fn(&Outbound, &mut BytesMut);

/// What a door says of a peer that wants a document.
#[derive(Debug)]
pub struct AttachRequest {
    /// The document it wants.
    pub document: DocumentName,
    /// How frames for this peer are written.
    pub encode: EncodeFrame,
    /// Where frames for this peer go.
    pub outbox: Arc<Outbox>,
    /// Whose changes these will be.
    pub origin: Origin,
}

/// Why a peer could not be attached. A document that fails to load later ends the session through
/// [`Outbox::close`] instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The server is stopping.
    #[error("the server is stopping; connect again in a moment")]
    ShuttingDown,
    /// The document has failed too often in a row and is restarted with growing delays.
    #[error("the document is being restarted; connect again in a moment")]
    Unavailable,
    /// A bound on sessions or resident documents is reached.
    #[error("the server holds as many documents or sessions as it may; connect again later")]
    Full,
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

/// Starts the task that serves a session, on the thread it will stay on.
pub type StartServing = Box<dyn FnOnce(Box<dyn SessionHandle>) -> LocalTask + Send>;

/// One attached session. Dropping it detaches as not clean.
pub trait SessionHandle: Send {
    /// Runs the task that serves this session on the thread of its document: what the two tell each
    /// other then wakes no other thread. Never runs it when that thread has ended.
    fn serve_beside(self: Box<Self>, start: StartServing);

    /// Queues a message for the document: `Ok` at once when there is room, otherwise `Full` hands
    /// the message back.
    fn try_receive(&mut self, message: Message) -> Result<(), ReceiveError>;

    /// Resolves when there may be room again (cancellation-safe; the newest waker counts).
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>>;

    /// The outbox ran empty and all of it was written to the socket. Called once after each
    /// [`Outbox::want_drained`].
    fn drained(&self);

    /// Ends the session. `clean`: the peer said goodbye, its connection did not just break.
    fn detach(self: Box<Self>, clean: bool);
}
