//! Presence entries: the awareness updates of y-protocols, read with bounds.
//!
//! Source: y-protocols 1.0.7 `awareness.js`: a count, then client, clock and JSON text of each entry.

use bytes::{Bytes, BytesMut};

use super::identity::BLANKS;
use super::{Refusal, checks, content};
use crate::ClientId;
use crate::wire::DecodeError;
use crate::wire::lib0::{Reader, put_string, put_var_uint};

/// The fewest bytes of an entry: client, clock and the length of its text.
const ENTRY_BYTES_MIN: usize = 3;
/// The highest clock that is taken: at `u32::MAX` an entry could never be replaced.
const PRESENCE_CLOCK_MAX: u64 = u32::MAX as u64 - 1;
/// How y-protocols says that a client is gone. Clients parse it, so blanks around it change nothing.
const NULL: &str = "null";

/// What one client shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceEntry<'a> {
    /// Whose entry it is.
    pub client: ClientId,
    /// Grows with each change of the entry; not related to the clocks of structs.
    pub clock: u32,
    /// The state as JSON, not checked yet (see [`is_valid_json`]); `None` when the client is gone.
    pub state: Option<&'a str>,
}

/// Reads the entries of an awareness update one by one; after an error it ends.
///
/// # Errors
/// [`Refusal::CountTooLarge`] when the bytes cannot hold as many entries as they promise.
pub fn entries(bytes: &[u8]) -> Result<Entries<'_>, Refusal> {
    let mut reader = Reader::new(bytes);
    let left = checks::count(&mut reader, ENTRY_BYTES_MIN)?;
    if left == 0 && !reader.is_empty() {
        return Err(DecodeError::TrailingBytes.into());
    }
    Ok(Entries { reader, left })
}

/// The entries of an awareness update, see [`entries`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<PresenceEntry<'a>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.read();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

impl<'a> Entries<'a> {
    fn read(&mut self) -> Result<PresenceEntry<'a>, Refusal> {
        let client = checks::client(&mut self.reader)?;
        let clock = match self.reader.var_uint()? {
            clock if clock <= PRESENCE_CLOCK_MAX => clock as u32,
            _ => return Err(Refusal::ClockOutOfRange),
        };
        let is_null = |state: &&str| state.trim_matches(BLANKS) == NULL;
        let state = Some(self.reader.string()?).filter(|state| !is_null(state));
        if self.left == 0 && !self.reader.is_empty() {
            return Err(DecodeError::TrailingBytes.into());
        }
        Ok(PresenceEntry {
            client,
            clock,
            state,
        })
    }
}

/// Whether `text` is JSON and nested at most `nesting_max` deep.
pub fn is_valid_json(text: &str, nesting_max: usize) -> bool {
    content::json_depth(text) <= nesting_max
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The awareness update of `entries`, in the order given.
pub fn encode_entries<'a>(entries: impl ExactSizeIterator<Item = PresenceEntry<'a>>) -> Bytes {
    let mut out = BytesMut::new();
    put_var_uint(&mut out, entries.len() as u64);
    for entry in entries {
        put_var_uint(&mut out, entry.client);
        put_var_uint(&mut out, u64::from(entry.clock));
        put_string(&mut out, entry.state.unwrap_or(NULL));
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<PresenceEntry<'_>>, Refusal> {
        entries(bytes)?.collect()
    }

    #[test]
    fn entries_survive_the_round_trip() {
        let written = [
            PresenceEntry {
                client: 1,
                clock: 1,
                state: Some("{\"n\":1}"),
            },
            PresenceEntry {
                client: 1 << 40,
                clock: u32::MAX - 1,
                state: None,
            },
        ];
        let bytes = encode_entries(written.iter().copied());
        assert_eq!(read(&bytes).unwrap(), written);
        let golden = encode_entries(written[..1].iter().copied());
        assert_eq!(&golden[..], b"\x01\x01\x01\x07{\"n\":1}");
        assert_eq!(&encode_entries([].into_iter())[..], [0]);
    }

    #[test]
    fn a_null_says_that_a_client_is_gone_with_blanks_around_it_too() {
        for (text, is_here) in [("null", false), (" \tnull\r\n", false), ("\"null\"", true)] {
            let state = Some(text);
            let entry = PresenceEntry {
                client: 1,
                clock: 1,
                state,
            };
            let bytes = encode_entries([entry].into_iter());
            assert_eq!(read(&bytes).unwrap()[0].state.is_some(), is_here, "{text}");
        }
    }

    #[test]
    fn bad_entries_are_refused() {
        let table: [(&[u8], Refusal); 6] = [
            (&[], DecodeError::Truncated.into()),
            (&[1, 1, 1], Refusal::CountTooLarge),
            (&[255, 255, 255, 127], Refusal::CountTooLarge),
            (&[0, 0], DecodeError::TrailingBytes.into()),
            (&[1, 1, 255, 255, 255, 255, 15, 0], Refusal::ClockOutOfRange),
            (&[1, 1, 1, 1, 0xff], DecodeError::NotUtf8.into()),
        ];
        for (bytes, wanted) in table {
            assert_eq!(read(bytes), Err(wanted), "{bytes:?}");
        }
    }

    #[test]
    fn json_is_checked_for_syntax_and_depth() {
        let table = [
            ("{}", true),
            ("\"a\\\"[[[[\"", true),
            ("[[1],[2]]", true),
            ("[[[1]]]", false),
            ("{\"a\":", false),
            ("", false),
            ("undefined", false),
            ("{} {}", false),
        ];
        for (text, wanted) in table {
            assert_eq!(is_valid_json(text, 2), wanted, "{text}");
        }
        assert!(!is_valid_json(&"[".repeat(100_000), 64));
    }
}
