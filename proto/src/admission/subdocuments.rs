//! Keeps subdocuments away from yrs, which reads freed memory when one is deleted (0.28.1: the commit
//! collects or joins the item, and then destroys the subdocument, which still points at its item).
//!
//! To the server a subdocument is a value like any other: a name and options that it never looks
//! into. So on the way to yrs its bytes are hidden in a binary value, which takes one clock and is
//! never joined, exactly like a subdocument; on the way back it is one again. Peers, log and
//! snapshots see subdocuments only. A binary value that begins like a hidden one is hidden, too.

use bytes::Bytes;

use super::Refusal;
use super::content::{BINARY, SUBDOCUMENT};
use super::scan::scan;
use super::structs::Struct;
use super::write::rewrite;
use crate::wire::lib0::{Reader, put_bytes};

/// What hidden values begin with; one byte that says what they are follows.
const MARK: &[u8] = b"\0driftless:";
const IS_SUBDOCUMENT: u8 = b'd';
const IS_BINARY: u8 = b'b';

/// A value as a replica holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden<'a> {
    /// A subdocument; `content` is its id and options, as in an update.
    Subdocument {
        /// The id as a length and UTF-8, then the options as one lib0 `any`.
        content: &'a [u8],
    },
    /// A binary value that begins like a hidden one.
    Binary(&'a [u8]),
}

impl<'a> Hidden<'a> {
    /// What a binary value of a replica hides, if anything.
    pub fn in_value(value: &'a [u8]) -> Option<Self> {
        match value.strip_prefix(MARK)? {
            [IS_SUBDOCUMENT, content @ ..] => Some(Self::Subdocument { content }),
            [IS_BINARY, value @ ..] => Some(Self::Binary(value)),
            _ => None,
        }
    }

    /// The id of a subdocument.
    pub fn guid(&self) -> Option<&'a str> {
        match self {
            Self::Subdocument { content } => Reader::new(content).string().ok(),
            Self::Binary(_) => None,
        }
    }
}

/// Whether the struct has to be hidden from yrs.
pub(super) fn must_hide(read: &Struct<'_>, update: &[u8]) -> bool {
    match read.kind {
        SUBDOCUMENT => true,
        BINARY => value(read, update).is_some_and(|value| value.starts_with(MARK)),
        _ => false,
    }
}

/// The same update for a replica: without subdocuments.
///
/// # Errors
/// The update is malformed.
pub fn hide_subdocuments(update: &Bytes) -> Result<Bytes, Refusal> {
    let parts = scan(update, usize::MAX)?;
    if !parts.has_subdocuments {
        return Ok(update.clone());
    }
    rewrite(update, &parts, |read, out| {
        if !must_hide(read, update) {
            return Ok(false);
        }
        let (tag, content) = match read.kind {
            SUBDOCUMENT => (IS_SUBDOCUMENT, read.content(update)),
            _ => (IS_BINARY, value(read, update)),
        };
        let hidden = [MARK, &[tag], content.unwrap_or_default()].concat();
        read.write_with_content(update, BINARY, out, |_, out| {
            put_bytes(out, &hidden);
            Ok(())
        })?;
        Ok(true)
    })
}

/// The same update for a peer or the log: with the subdocuments that a replica hides.
///
/// # Errors
/// The update is malformed.
pub fn show_subdocuments(update: &Bytes) -> Result<Bytes, Refusal> {
    let parts = scan(update, usize::MAX)?;
    if !parts.has_subdocuments {
        return Ok(update.clone());
    }
    rewrite(update, &parts, |read, out| {
        let hidden = match read.kind {
            BINARY => value(read, update).and_then(Hidden::in_value),
            _ => None,
        };
        match hidden {
            None => return Ok(false),
            Some(Hidden::Subdocument { content }) => {
                read.write_with_content(update, SUBDOCUMENT, out, |_, out| {
                    out.extend_from_slice(content);
                    Ok(())
                })?;
            }
            Some(Hidden::Binary(value)) => {
                read.write_with_content(update, BINARY, out, |_, out| {
                    put_bytes(out, value);
                    Ok(())
                })?;
            }
        }
        Ok(true)
    })
}

/// The bytes of a binary value.
fn value<'u>(read: &Struct<'_>, update: &'u [u8]) -> Option<&'u [u8]> {
    Reader::new(read.content(update)?).bytes().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// One client, clocks 5 to 8: a subdocument, two binary values and a text, and a delete set.
    fn update(honest: &[u8]) -> Bytes {
        let mut out = vec![1, 4, 2, 5];
        // In the root `m` under the key `k`: a subdocument `g` with the options {"a": null}.
        out.extend([9 | 0x20, 1, 1, b'm', 1, b'k', 1, b'g', 118, 1, 1, b'a', 126]);
        out.extend([3, 1, 1, b'l']);
        put_bytes(&mut out, honest);
        out.extend([3 | 0x80, 2, 6, 2, 1, 2]);
        out.extend([4 | 0x80, 2, 7, 1, b'x']);
        out.extend([1, 2, 1, 6, 1]);
        out.into()
    }

    #[test]
    fn what_is_hidden_comes_back_and_nothing_else_changes() {
        let tricky = [MARK, b"d"].concat();
        for honest in [&b"plain"[..], b"", MARK, &tricky] {
            let update = update(honest);
            let hidden = hide_subdocuments(&update).unwrap();
            let parts = scan(&hidden, usize::MAX).unwrap();
            assert_eq!(parts.sections[0].end_clock, 9);
            let mut reader = Reader::at(&hidden, parts.sections[0].start as usize);
            let first = Struct::read(&mut reader, 5, usize::MAX).unwrap();
            assert_eq!(
                (first.kind, first.length, first.has_key()),
                (BINARY, 1, true)
            );
            let inside = Hidden::in_value(value(&first, &hidden).unwrap()).unwrap();
            assert_eq!(inside.guid(), Some("g"));
            assert_eq!(show_subdocuments(&hidden).unwrap(), update);
        }
    }

    #[test]
    fn a_binary_value_that_begins_like_a_hidden_one_stays_what_it_is() {
        let tricky = [MARK, b"d", &[1, b'g', 127]].concat();
        let hidden = hide_subdocuments(&update(&tricky)).unwrap();
        let parts = scan(&hidden, usize::MAX).unwrap();
        let mut reader = Reader::at(&hidden, parts.sections[0].start as usize);
        Struct::read(&mut reader, 5, usize::MAX).unwrap();
        let second = Struct::read(&mut reader, 6, usize::MAX).unwrap();
        let inside = Hidden::in_value(value(&second, &hidden).unwrap());
        assert_eq!(inside, Some(Hidden::Binary(&tricky)));
    }

    #[test]
    fn an_update_without_them_is_passed_on_as_it_is() {
        let plain = Bytes::from_static(&[1, 1, 2, 5, 4 | 0x80, 2, 4, 1, b'x', 0]);
        for same in [hide_subdocuments(&plain), show_subdocuments(&plain)] {
            assert_eq!(same.unwrap().as_ptr(), plain.as_ptr());
        }
        let torn = plain.slice(..plain.len() - 2);
        assert!(hide_subdocuments(&torn).is_err() && show_subdocuments(&torn).is_err());
    }
}
