//! Why a session ends, free of any dialect; each edge maps it to its own codes.

/// The reason that ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer sent bytes that are no message.
    Malformed,
    /// The peer sent an update that is well formed on the outside and harmful inside.
    Refused,
    /// A frame, update or presence entry is larger than its limit.
    TooLarge,
    /// The dialect does not know this kind of frame (for example text).
    Unsupported,
    /// The document was deleted; what the peer holds belongs to its past.
    Deleted,
    /// The peer shows no valid token, or its token expired or was withdrawn.
    Unauthenticated,
    /// The peer is known and may not do this.
    Forbidden,
    /// The peer sends more, or more often, than it may.
    TooMuch,
    /// The document cannot be loaded right now.
    Unavailable,
    /// The store has been away for so long that no more edits can be held in memory.
    StoreFull,
    /// The server is stopping; another node or the restarted one will take over.
    ShuttingDown,
    /// An operator ended the session; it may come back.
    Ended,
    /// The peer was silent for too long.
    TimedOut,
    /// A fault of the server; what was acknowledged is safe.
    Internal,
}

impl CloseReason {
    /// A stable label for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::Deleted => "deleted",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::TooMuch => "too_much",
            Self::Unavailable => "unavailable",
            Self::StoreFull => "store_full",
            Self::ShuttingDown => "shutting_down",
            Self::Ended => "ended",
            Self::TimedOut => "timed_out",
            Self::Internal => "internal",
        }
    }
}
