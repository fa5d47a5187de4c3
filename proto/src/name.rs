//! The name of a document: UTF-8, 1 to 512 bytes, slashes allowed.

use std::fmt;
use std::sync::Arc;

/// The longest name in bytes; it has to fit an index entry, a log line and a bus channel.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 512;

/// The validated name of a document, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentName(Arc<str>);

/// Why a string cannot name a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no bytes.
    #[error("the document name is empty; put a name behind the last slash of the URL")]
    Empty,
    /// The name is longer than [`DOCUMENT_NAME_BYTES_MAX`].
    #[error("the document name has {length} bytes; the most is 512")]
    TooLong {
        /// The length that was given, in bytes.
        length: usize,
    },
    /// A door takes plain names only.
    #[error(
        "here a document name is made of letters, digits, `_` and `-`, twice the same in a path"
    )]
    NotPlain,
    /// The bytes are not UTF-8.
    #[error("the document name is not valid UTF-8")]
    NotUtf8,
    /// A percent sign is not followed by two hexadecimal digits.
    #[error(
        "the document name holds a percent sign without two hexadecimal digits; write a literal percent sign as %25"
    )]
    BadEscape,
}

impl DocumentName {
    /// Checks and takes a name as it is.
    pub fn new(name: &str) -> Result<Self, NameError> {
        match name.len() {
            0 => Err(NameError::Empty),
            length if length > DOCUMENT_NAME_BYTES_MAX => Err(NameError::TooLong { length }),
            _ => Ok(Self(Arc::from(name))),
        }
    }

    /// Reads a name from a raw URL path, percent-decoding exactly once; `+` stays a plus sign.
    pub fn from_raw_path(path: &str) -> Result<Self, NameError> {
        let bytes = percent_decoded(path).ok_or(NameError::BadEscape)?;
        Self::new(std::str::from_utf8(&bytes).map_err(|_| NameError::NotUtf8)?)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Percent-decodes a part of a URL exactly once; `+` stays a plus sign. `None` when a percent sign is
/// not followed by two hexadecimal digits.
pub fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        bytes.push((digit(0)? * 16 + digit(1)?) as u8);
        rest = &tail[2..];
    }
    Some(bytes)
}

impl fmt::Debug for DocumentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn raw_paths_are_decoded_exactly_once() {
        let table = [
            ("a/b", Ok("a/b")),
            ("a%2Fb", Ok("a/b")),
            ("a%2fb", Ok("a/b")),
            ("a+b", Ok("a+b")),
            ("a%20b", Ok("a b")),
            ("a%252Fb", Ok("a%2Fb")),
            ("%25", Ok("%")),
            ("a//b", Ok("a//b")),
            ("a/", Ok("a/")),
            ("..", Ok("..")),
            ("a/../b", Ok("a/../b")),
            ("%C3%A9", Ok("é")),
            ("", Err(NameError::Empty)),
            ("%", Err(NameError::BadEscape)),
            ("%2", Err(NameError::BadEscape)),
            ("%zz", Err(NameError::BadEscape)),
            ("%ff", Err(NameError::NotUtf8)),
        ];
        for (raw, wanted) in table {
            let got = DocumentName::from_raw_path(raw);
            assert_eq!(
                got.as_ref().map(DocumentName::as_str),
                wanted.as_ref().map(|name| *name),
                "{raw}"
            );
        }
    }

    #[test]
    fn names_are_bounded_in_bytes_not_characters() {
        assert!(DocumentName::new(&"a".repeat(512)).is_ok());
        assert_eq!(
            DocumentName::new(&"a".repeat(513)),
            Err(NameError::TooLong { length: 513 })
        );
        assert_eq!(
            DocumentName::new(&"é".repeat(257)),
            Err(NameError::TooLong { length: 514 })
        );
    }
}
