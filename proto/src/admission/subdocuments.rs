//! Keeps subdocuments away from yrs, which reads freed memory when one is deleted (0.28.1: the commit
//! collects or joins the item, and then destroys the subdocument, which still points at its item).
//!
//! To the server a subdocument is a value like any other: a name and options that it never looks
//! into. So on the way to yrs its bytes are hidden in a binary value, which takes one clock and is
//! never joined, exactly like a subdocument; on the way back it is one again. Peers, log and
//! snapshots see subdocuments only. A binary value that begins like a hidden one is hidden, too.

use bytes::Bytes;

use super::Refusal;
use super::content::{ANY, ANY_OBJECT, BINARY, SUBDOCUMENT};
use super::scan::scan;
use super::structs::Struct;
use super::write::rewrite;
use crate::wire::lib0::{Reader, put_bytes, put_string};

/// What hidden values begin with; one byte that says what they are follows.
const MARK: &[u8] = b"\0driftless:";
const IS_SUBDOCUMENT: u8 = b'd';
const IS_BINARY: u8 = b'b';

/// lib0's tag of a text among its `any` values.
const ANY_STRING: u8 = 119;

/// A value as a replica holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden<'a> {
    /// A subdocument: its id and options, as in an update.
    Subdocument(&'a [u8]),
    /// A binary value that begins like a hidden one.
    Binary(&'a [u8]),
}

impl<'a> Hidden<'a> {
    /// What a binary value of a replica hides, if anything.
    fn in_value(value: &'a [u8]) -> Option<Self> {
        match value.strip_prefix(MARK)? {
            [IS_SUBDOCUMENT, content @ ..] => Some(Self::Subdocument(content)),
            [IS_BINARY, value @ ..] => Some(Self::Binary(value)),
            _ => None,
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
            Some(Hidden::Subdocument(content)) => {
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

/// The same state with each subdocument as the value `{"guid": …, "opts": …}`: for a replica that is
/// read and never encoded, since there is no way back.
///
/// # Errors
/// The state is malformed.
pub fn describe_subdocuments(state: &Bytes) -> Result<Bytes, Refusal> {
    let parts = scan(state, usize::MAX)?;
    if !parts.has_subdocuments {
        return Ok(state.clone());
    }
    rewrite(state, &parts, |read, out| {
        if read.kind != SUBDOCUMENT {
            return Ok(false);
        }
        read.write_with_content(state, ANY, out, |content, out| {
            let guid = content.string()?;
            let options = content.between(content.position(), read.end);
            out.extend_from_slice(&[1, ANY_OBJECT, 2]);
            put_string(out, "guid");
            out.push(ANY_STRING);
            put_string(out, guid);
            put_string(out, "opts");
            out.extend_from_slice(options);
            Ok(())
        })?;
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
    use crate::admission::{Known, Limits, admit, chunks, difference, known_of, merge};

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
            assert_eq!(
                inside,
                Hidden::Subdocument(&[1, b'g', 118, 1, 1, b'a', 126])
            );
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

    #[test]
    fn a_second_id_among_the_options_is_refused() {
        // Yjs 13 takes it for the id, and throws later if it is no text.
        let update = b"\x01\x01\x02\x00\x09\x01\x01t\x01g\x76\x01\x04guid\x7e\x00";
        let refused = scan(&Bytes::from_static(update), usize::MAX);
        assert_eq!(refused.unwrap_err(), Refusal::UnknownKind);
    }

    #[test]
    fn torn_bytes_are_errors() {
        let whole = update(MARK);
        for end in 0..whole.len() {
            let torn = whole.slice(..end);
            assert!(hide_subdocuments(&torn).is_err(), "{end} bytes");
            assert!(show_subdocuments(&torn).is_err(), "{end} bytes");
            assert!(describe_subdocuments(&torn).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn descriptions_are_values_and_binary_values_stay() {
        let one = |kind: u8, content: &[u8]| {
            let place = [1, 1, 2, 0, kind, 1, 1, b't'];
            Bytes::from([&place[..], content, &[0]].concat())
        };
        let state = one(SUBDOCUMENT, b"\x02gg\x76\x01\x02gc\x79");
        let wanted = b"\x01\x76\x02\x04guid\x77\x02gg\x04opts\x76\x01\x02gc\x79";
        assert_eq!(describe_subdocuments(&state).unwrap(), one(ANY, wanted));
        let hidden = hide_subdocuments(&state).unwrap();
        assert_eq!(describe_subdocuments(&hidden).unwrap(), hidden);
    }

    #[test]
    fn everything_counts_a_subdocument_as_one_clock() {
        let first = Bytes::from_static(b"\x01\x01\x02\x00\x09\x01\x01t\x01g\x76\x00\x00");
        // Overlaps the first one, and goes on with a second one and a text.
        let longer = b"\x01\x03\x02\x00\x09\x01\x01t\x01g\x76\x00\x89\x02\x00\x01h\x76\x00\
            \x84\x02\x01\x02hi\x00";
        let tail = b"\x01\x02\x02\x01\x89\x02\x00\x01h\x76\x00\x84\x02\x01\x02hi\x00";
        let longer = Bytes::from_static(longer);
        let limits = Limits {
            update_bytes_max: 1 << 20,
            nesting_max: 64,
            gap_clients_max: 1,
        };
        let mut known = Known::default();
        let mut take = |update: &Bytes| {
            let admission = admit(update, &mut known, None, &limits).unwrap();
            assert_eq!(admission.gap, None);
            admission.admitted.unwrap()
        };
        let log = [take(&first), take(&longer)];
        assert!(log.iter().all(|admitted| admitted.has_subdocuments));
        assert_eq!(log[1].update, tail[..]);
        assert_eq!(merge(&log), longer);
        assert_eq!(known_of(&longer).unwrap().vector.get(2), 4);
        let vector = [(2, 1)].into_iter().collect();
        assert_eq!(difference(&longer, &vector).unwrap(), tail[..]);
        let parts = chunks(&longer, &Default::default(), 1).unwrap();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0], first);
    }
}
