//! The rights a peer can have on a document.

use std::fmt;
use std::str::FromStr;

/// What a peer may do with one document; each right includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Nothing, not even to know that the document exists.
    None,
    /// Receive the document and the presence of others.
    Read,
    /// Read, and be present: cursor, name, selection.
    Comment,
    /// Comment, and change the document.
    Write,
    /// Write, and what operators do: delete the document, end the sessions of others.
    Admin,
}

/// A word that names no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a right is one of none, read, comment, write and admin")]
pub struct UnknownRight;

impl Right {
    /// Every right, the lesser ones first.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Read,
        Self::Comment,
        Self::Write,
        Self::Admin,
    ];

    /// True when it includes `wanted`.
    pub fn allows(self, wanted: Self) -> bool {
        self >= wanted
    }

    /// The word for it in tokens, hooks and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Comment => "comment",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        let mut all = Self::ALL.into_iter();
        all.find(|right| right.as_str() == text).ok_or(UnknownRight)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_includes_those_before_it() {
        for (index, right) in Right::ALL.into_iter().enumerate() {
            assert_eq!(right.as_str().parse(), Ok(right));
            for (other_index, other) in Right::ALL.into_iter().enumerate() {
                assert_eq!(right.allows(other), index >= other_index, "{right} {other}");
            }
        }
        for text in ["", "Read", "write ", "owner"] {
            assert_eq!(text.parse::<Right>(), Err(UnknownRight));
        }
    }
}
