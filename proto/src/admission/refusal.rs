//! Why bytes are refused: things that no honest peer sends.

use crate::wire::DecodeError;

/// Why an update, a state vector or presence entries were refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes do not follow the encoding.
    #[error("the bytes are malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The input has more bytes than the limit allows.
    #[error("the update has {bytes} bytes; the limit is {bytes_max}")]
    TooLarge {
        /// The size of the input in bytes.
        bytes: usize,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// A count promises more entries than the bytes that are left could hold.
    #[error("a count is larger than the bytes that are left could hold")]
    CountTooLarge,
    /// A client id does not fit 53 bits.
    #[error("a client id is 2^53 or more")]
    ClientOutOfRange,
    /// A clock does not fit 31 bits.
    #[error("a clock is beyond 2^31")]
    ClockOutOfRange,
    /// A client is listed twice.
    #[error("a client is listed twice")]
    DuplicateClient,
    /// A struct, a delete range or a Skip covers nothing.
    #[error("a struct or range has no length")]
    Empty,
    /// The kind of a struct, its content, a type or a value is not one that every peer can read.
    #[error("a struct is of a kind that is not known")]
    UnknownKind,
    /// Values, JSON or shared types are nested deeper than the limit.
    #[error("values are nested too deeply")]
    NestedTooDeep,
    /// A text that has to be JSON is not.
    #[error("a value is not valid JSON")]
    InvalidJson,
    /// A struct refers to itself or to a later struct of its own client.
    #[error("a struct refers to itself or to its own future")]
    OwnFuture,
    /// A struct names a parent that is not a shared type.
    #[error("a struct names a parent that is not a shared type")]
    ParentNotAType,
    /// A struct lies between neighbours that have different parents.
    #[error("a struct lies between neighbours of different parents")]
    TornNeighbours,
    /// A key has more than one value at a time.
    #[error("a key has more than one value at a time")]
    LongValue,
    /// The update lacks more clients than can be asked for.
    #[error("the update depends on too many changes that are not here")]
    GapTooWide,
    /// A state that has to be complete has a hole, or refers to what it does not hold.
    #[error("the state is not complete")]
    Incomplete,
    /// The update adds structs under a client id that its sender may not use.
    #[error("the update adds changes under a client id of somebody else")]
    NotYours,
    /// The update belongs to an epoch of the document that was deleted.
    #[error("the document was deleted; this change belongs to its old content")]
    Deleted,
}

impl Refusal {
    /// A short stable label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(DecodeError::Truncated) => "truncated",
            Self::Malformed(DecodeError::NumberTooLarge) => "number_too_large",
            Self::Malformed(DecodeError::NotUtf8) => "not_utf8",
            Self::Malformed(DecodeError::TrailingBytes) => "trailing_bytes",
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::CountTooLarge => "count_too_large",
            Self::ClientOutOfRange => "client_out_of_range",
            Self::ClockOutOfRange => "clock_out_of_range",
            Self::DuplicateClient => "duplicate_client",
            Self::Empty => "empty_struct",
            Self::UnknownKind => "unknown_kind",
            Self::NestedTooDeep => "nested_too_deep",
            Self::InvalidJson => "invalid_json",
            Self::OwnFuture => "own_future",
            Self::ParentNotAType => "parent_not_a_type",
            Self::TornNeighbours => "torn_neighbours",
            Self::LongValue => "long_value",
            Self::GapTooWide => "gap_too_wide",
            Self::Incomplete => "incomplete",
            Self::NotYours => "client_id_of_another",
            Self::Deleted => "deleted",
        }
    }
}
