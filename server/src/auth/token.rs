//! The secret text a peer shows, bounded before anybody looks into it.

use std::fmt;
use std::sync::Arc;

use super::Denial;

/// The longest token in bytes. It fits a few hundred document patterns, and the request head of any
/// proxy is smaller still.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// The secret text of a peer, cheap to clone. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes the text as it came. An empty one is valid and counts as none: some clients always
    /// send the field.
    pub fn new(text: &str) -> Result<Self, Denial> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Denial::TokenTooLarge);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The same for bytes off the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Denial> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(Denial::TokenTooLarge);
        }
        Self::new(std::str::from_utf8(bytes).map_err(|_| Denial::Malformed)?)
    }

    /// The text, for who verifies it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_size_is_looked_at_first_and_nothing_is_shown() {
        let longest = "x".repeat(TOKEN_BYTES_MAX);
        assert!(Token::new(&longest).is_ok());
        assert_eq!(Token::new(&(longest + "x")), Err(Denial::TokenTooLarge));
        let megabyte = vec![0xff; 1 << 20];
        assert_eq!(Token::from_bytes(&megabyte), Err(Denial::TokenTooLarge));
        assert_eq!(Token::from_bytes(b"a\xff"), Err(Denial::Malformed));
        let token = Token::from_bytes(b"hunter2").unwrap();
        assert_eq!(token.reveal(), "hunter2");
        assert_eq!(format!("{token:?}"), "Token(***)");
    }
}
