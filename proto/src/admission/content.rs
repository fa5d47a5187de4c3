//! The content of an item: its length in clocks, found without recursion and without a copy.
//!
//! Source: Yjs `structs/Content*.js`, lib0 `readAny`, yrs `block.rs` and `any.rs`. Accepted is what
//! Yjs 13, Yjs 14 and yrs 0.28.1 (without its feature `weak`) all read alike.

use super::{Refusal, checks};
use crate::Clock;
use crate::wire::lib0::Reader;

pub(super) const GC: u8 = 0;
pub(super) const DELETED: u8 = 1;
pub(super) const JSON: u8 = 2;
pub(super) const BINARY: u8 = 3;
pub(super) const STRING: u8 = 4;
pub(super) const EMBED: u8 = 5;
pub(super) const FORMAT: u8 = 6;
pub(super) const TYPE: u8 = 7;
pub(super) const ANY: u8 = 8;
pub(super) const SUBDOCUMENT: u8 = 9;
pub(super) const SKIP: u8 = 10;

/// Shared types without a payload: array, map, text, XML fragment and XML text.
const PLAIN_TYPES: [u8; 5] = [0, 1, 2, 4, 6];
/// An XML element is followed by its tag name. (XML hooks, 5, are read differently by Yjs and yrs.)
const XML_ELEMENT: u8 = 3;

/// lib0's tag of an object among its `any` values.
pub(super) const ANY_OBJECT: u8 = 118;

/// Reads the content of kind `kind` and gives its length in clocks.
pub(super) fn skip(
    reader: &mut Reader<'_>,
    kind: u8,
    nesting_max: usize,
) -> Result<Clock, Refusal> {
    match kind {
        DELETED => checks::length(reader),
        STRING => match utf16_len(reader.string()?) {
            0 => Err(Refusal::Empty),
            length => Ok(length as Clock),
        },
        ANY => {
            // At least the tag of each value.
            let count = checks::count(reader, 1)?;
            for _ in 0..count {
                skip_any(reader, nesting_max)?;
            }
            non_empty(count)
        }
        JSON => {
            let count = checks::count(reader, 1)?;
            for _ in 0..count {
                let text = reader.string()?;
                if text != "undefined" {
                    check_json(text, nesting_max)?;
                }
            }
            non_empty(count)
        }
        BINARY => reader.bytes().map(|_| 1).map_err(Refusal::from),
        EMBED => check_json(reader.string()?, nesting_max).map(|()| 1),
        FORMAT => {
            reader.string()?;
            check_json(reader.string()?, nesting_max).map(|()| 1)
        }
        TYPE => {
            let kind = reader.u8()?;
            if kind == XML_ELEMENT {
                reader.string()?;
            } else if !PLAIN_TYPES.contains(&kind) {
                return Err(Refusal::UnknownKind);
            }
            Ok(1)
        }
        SUBDOCUMENT => skip_subdocument(reader, nesting_max).map(|()| 1),
        _ => Err(Refusal::UnknownKind),
    }
}

/// A subdocument is an id and an object of options. On options that are no object every Yjs throws
/// while it applies the update; one named `guid` would take the place of the id, and if it is no
/// text, Yjs 13 throws whenever it encodes its state.
fn skip_subdocument(reader: &mut Reader<'_>, nesting_max: usize) -> Result<(), Refusal> {
    reader.string()?;
    if reader.u8()? != ANY_OBJECT {
        return Err(Refusal::UnknownKind);
    }
    let nesting_max = nesting_max.checked_sub(1).ok_or(Refusal::NestedTooDeep)?;
    for _ in 0..checks::count(reader, 2)? {
        if reader.string()? == "guid" {
            return Err(Refusal::UnknownKind);
        }
        skip_any(reader, nesting_max)?;
    }
    Ok(())
}

fn non_empty(count: usize) -> Result<Clock, Refusal> {
    match Clock::try_from(count) {
        Ok(0) => Err(Refusal::Empty),
        Ok(count) => Ok(count),
        Err(_) => Err(Refusal::CountTooLarge),
    }
}

/// The length of a text in UTF-16 units, the unit of Yjs clocks.
pub(super) fn utf16_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0))
        .sum()
}

/// Reads one lib0 `any` value, keeping the open arrays and objects on a stack of its own.
pub(super) fn skip_any(reader: &mut Reader<'_>, nesting_max: usize) -> Result<(), Refusal> {
    // How many values each open array or object still lacks, and whether they have keys.
    let mut open: Vec<(usize, bool)> = Vec::new();
    loop {
        let inner = match reader.u8()? {
            // undefined, null, false, true
            127 | 126 | 121 | 120 => None,
            125 => reader.var_int().map(|_| None)?,
            124 => reader.take(4).map(|_| None)?,
            123 | 122 => reader.take(8).map(|_| None)?,
            119 => reader.string().map(|_| None)?,
            116 => reader.bytes().map(|_| None)?,
            // An object: each entry has at least a key length and a tag.
            ANY_OBJECT => Some((checks::count(reader, 2)?, true)),
            117 => Some((checks::count(reader, 1)?, false)),
            _ => return Err(Refusal::UnknownKind),
        };
        if let Some(inner) = inner {
            if open.len() >= nesting_max {
                return Err(Refusal::NestedTooDeep);
            }
            open.push(inner);
        }
        loop {
            let Some((left, keyed)) = open.last_mut() else {
                return Ok(());
            };
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            if *keyed {
                reader.string()?;
            }
            break;
        }
    }
}

/// Checks that `text` is JSON that yrs reads as well, and not nested deeper than `nesting_max`.
fn check_json(text: &str, nesting_max: usize) -> Result<(), Refusal> {
    if is_plain_json(text.as_bytes()) {
        return Ok(());
    }
    if json_depth(text) > nesting_max {
        return Err(Refusal::NestedTooDeep);
    }
    // yrs is the judge: it refuses lone surrogates and numbers out of range, which Yjs reads.
    match yrs::Any::from_json(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::InvalidJson),
    }
}

/// The values that formats mostly have, told without a parser: literals and simple strings.
fn is_plain_json(text: &[u8]) -> bool {
    match text {
        b"true" | b"false" | b"null" => true,
        [b'"', inner @ .., b'"'] => inner
            .iter()
            .all(|byte| *byte >= 0x20 && !matches!(byte, b'"' | b'\\')),
        _ => false,
    }
}

/// How deep arrays and objects are nested in a text that may be JSON.
pub(super) fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
