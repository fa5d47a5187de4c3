//! Bytes ⇄ messages: the lib0 primitives and one file a dialect.
//!
//! A dialect is a pair of pure functions: one reads the messages of a frame, the other writes one
//! message as one frame. Nothing here knows what a message does to a document.

use bytes::Bytes;

pub mod hocuspocus;
pub mod lib0;
mod shared;
pub mod ywebsocket;

/// What a peer says, free of any dialect. Payloads are slices of the received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// "This is my state vector, send me what it lacks" (lib0 v1 state vector).
    SyncStep1 {
        /// The peer's state vector, still encoded and unchecked.
        vector: Bytes,
    },
    /// The answer to a step 1 (Yjs v1 update).
    SyncStep2 {
        /// The update, still encoded and unchecked.
        update: Bytes,
    },
    /// A change as it happens (Yjs v1 update).
    Update {
        /// The update, still encoded and unchecked.
        update: Bytes,
    },
    /// Presence entries of one or more clients (y-protocols awareness update).
    Presence {
        /// The entries, still encoded and unchecked.
        entries: Bytes,
    },
    /// "Send me everyone's presence."
    QueryPresence,
    /// "Tell me when everything I sent so far is saved" (y-sweet type 102).
    SaveProbe {
        /// The sender's own counter, echoed once its edits are durable.
        version: u64,
    },
    /// Something for the other sessions of the document that is no part of it (Hocuspocus).
    Stateless {
        /// Text of the application; checked to be UTF-8.
        payload: Bytes,
    },
    /// A step 2 that is no answer to any question over this connection: it waited for it, and was meant for
    /// one before (Yjs v1 update).
    Leftover {
        /// The update, still encoded and unchecked.
        update: Bytes,
    },
    /// The answer to the ping that stood right before the first thing the peer heard over its
    /// connection: what it sent before this it sent when it made it.
    Pong,
    /// The peer has answered over its connection: what waited for that it has sent before this.
    QueueSent,
}

impl Message {
    /// How many bytes of the received frame it holds on to.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::SyncStep1 { vector: payload }
            | Self::SyncStep2 { update: payload }
            | Self::Update { update: payload }
            | Self::Leftover { update: payload }
            | Self::Presence { entries: payload }
            | Self::Stateless { payload } => payload.len(),
            Self::QueryPresence | Self::SaveProbe { .. } | Self::Pong | Self::QueueSent => 0,
        }
    }
}

/// Something about its access that a peer may act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Its token is about to expire: it may send a new one.
    ExpiresSoon {
        /// Seconds that are left.
        seconds: u64,
    },
    /// What it may do has changed.
    Access {
        /// Whether it may change the document.
        can_write: bool,
    },
}

/// What the server says to a peer, free of any dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound {
    /// "This is my state vector, send me what it lacks."
    SyncStep1 {
        /// An encoded state vector.
        vector: Bytes,
    },
    /// The answer to a step 1; tells the peer that its initial load is complete.
    SyncStep2 {
        /// A Yjs v1 update.
        update: Bytes,
    },
    /// A change, or a part of the initial state.
    Update {
        /// A Yjs v1 update.
        update: Bytes,
    },
    /// Presence entries of one or more clients.
    Presence {
        /// An encoded y-protocols awareness update.
        entries: Bytes,
    },
    /// "All you sent up to this counter of yours is durable."
    Saved {
        /// The highest counter whose edits are committed.
        version: u64,
    },
    /// "This was refused"; the session goes on.
    Denied {
        /// What was refused and what to do, for people.
        reason: String,
    },
    /// "So many of your updates were taken in and are durable", or were not taken in; one frame each.
    Receipts {
        /// Whether they were taken in.
        accepted: bool,
        /// How many.
        count: u64,
    },
    /// A stateless message of another session.
    Stateless {
        /// Text of the application, UTF-8.
        payload: Bytes,
    },
    /// Something about the peer's access.
    Notice(Notice),
    /// Something without content that keeps the peer's silence watchdog calm.
    KeepAlive,
}

/// Why the bytes of a frame are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a value.
    #[error("the frame ends in the middle of a message")]
    Truncated,
    /// A variable-length integer does not fit its type.
    #[error("a number in the frame is too large")]
    NumberTooLarge,
    /// A string is not UTF-8.
    #[error("a string in the frame is not valid UTF-8")]
    NotUtf8,
    /// The message type is not one of the dialect's.
    #[error("message type {0} is not known")]
    UnknownType(u64),
    /// The sync message's subtype is not 0, 1 or 2.
    #[error("sync message type {0} is not known")]
    UnknownSyncType(u64),
    /// Bytes remain where a message should have ended.
    #[error("bytes are left over behind a message")]
    TrailingBytes,
}
