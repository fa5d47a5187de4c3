//! Reads the struct headers of a Yjs update (version 1): who wrote which clocks, what was deleted.
//!
//! Nothing is integrated. A merged update (several clients, squashed strings, a delete set) yields
//! the same runs of clocks as its parts did. Source: yjs `encoding.js`, `Item.js`, `ContentX.js`.

use super::lib0::{ReadError, Reader};

/// Clocks `start .. start + length` of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) client: u64,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

const GC: u8 = 0;
const DELETED: u8 = 1;
const JSON: u8 = 2;
const BYTES: u8 = 3;
const STRING: u8 = 4;
const EMBED: u8 = 5;
const FORMAT: u8 = 6;
const TYPE: u8 = 7;
const SKIP: u8 = 10;

/// Visits every run of structs of `update`, Skips left out, and returns a reader at its delete set.
#[inline]
pub(crate) fn for_each_run<'a>(
    update: &'a [u8],
    mut visit: impl FnMut(Run),
) -> Result<Reader<'a>, ReadError> {
    let mut reader = Reader::new(update);
    for _ in 0..reader.number()? {
        let struct_count = reader.number()?;
        let client = reader.number()?;
        let mut clock = reader.number()?;
        for _ in 0..struct_count {
            let info = reader.byte()?;
            let length = read_struct(&mut reader, info)?;
            if info & 0x1f != SKIP {
                visit(Run {
                    client,
                    start: clock,
                    length,
                });
            }
            clock = clock.saturating_add(length);
        }
    }
    Ok(reader)
}

/// Visits every deleted range behind the structs.
pub(crate) fn for_each_deletion(
    mut reader: Reader<'_>,
    mut visit: impl FnMut(Run),
) -> Result<(), ReadError> {
    for _ in 0..reader.number()? {
        let client = reader.number()?;
        for _ in 0..reader.number()? {
            let start = reader.number()?;
            let length = reader.number()?;
            visit(Run {
                client,
                start,
                length,
            });
        }
    }
    Ok(())
}

/// Reads one struct behind its info byte and returns how many clocks it takes.
#[inline]
fn read_struct(reader: &mut Reader<'_>, info: u8) -> Result<u64, ReadError> {
    let kind = info & 0x1f;
    if kind == GC || kind == SKIP {
        return reader.number();
    }
    if info & 0x80 != 0 {
        skip_id(reader)?;
    }
    if info & 0x40 != 0 {
        skip_id(reader)?;
    }
    if info & 0xc0 == 0 {
        match reader.number()? {
            1 => drop(reader.bytes()?),
            _ => skip_id(reader)?,
        }
        if info & 0x20 != 0 {
            reader.bytes()?;
        }
    }
    read_content(reader, kind)
}

fn skip_id(reader: &mut Reader<'_>) -> Result<(), ReadError> {
    reader.number()?;
    reader.number()?;
    Ok(())
}

#[inline]
fn read_content(reader: &mut Reader<'_>, kind: u8) -> Result<u64, ReadError> {
    match kind {
        STRING => reader.bytes().map(utf16_length),
        DELETED => reader.number(),
        BYTES | EMBED => reader.bytes().map(|_| 1),
        FORMAT => {
            reader.bytes()?;
            reader.bytes().map(|_| 1)
        }
        TYPE => {
            // XML elements and hooks carry a name.
            if matches!(reader.number()?, 3 | 5) {
                reader.bytes()?;
            }
            Ok(1)
        }
        JSON => {
            let count = reader.number()?;
            for _ in 0..count {
                reader.bytes()?;
            }
            Ok(count)
        }
        other => Err(ReadError::UnknownContent(other)),
    }
}

/// Yjs counts text in UTF-16 units: one for each character, two for those of four bytes.
#[inline]
fn utf16_length(text: &[u8]) -> u64 {
    let units = |byte: &u8| match byte {
        0x80..=0xbf => 0,
        0xf0..=0xff => 2,
        _ => 1,
    };
    text.iter().map(units).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Runs = Vec<(u64, u64, u64)>;

    fn runs(update: &[u8]) -> (Runs, Runs) {
        let tuple = |run: Run| (run.client, run.start, run.length);
        let (mut structs, mut deletions) = (Vec::new(), Vec::new());
        let rest = for_each_run(update, |run| structs.push(tuple(run))).unwrap();
        for_each_deletion(rest, |run| deletions.push(tuple(run))).unwrap();
        (structs, deletions)
    }

    #[test]
    fn the_golden_update_is_two_clocks_of_client_one() {
        let update = [1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];
        assert_eq!(runs(&update), (vec![(1, 0, 2)], vec![]));
    }

    #[test]
    fn merged_updates_yield_every_run() {
        // Client 2: a string behind its own clock 4, then one character of four bytes; client 1: a
        // collected range and deleted content; clocks 0..2 of client 1 deleted.
        let update = [
            2, 2, 2, 5, 0x84, 2, 4, 3, b'a', b'b', b'c', 0x84, 2, 7, 4, 0xf0, 0x9f, 0x98, 0x80, 2,
            1, 0, 0, 2, 0x81, 1, 1, 3, 1, 1, 1, 0, 2,
        ];
        assert_eq!(
            runs(&update),
            (
                vec![(2, 5, 3), (2, 8, 2), (1, 0, 2), (1, 2, 3)],
                vec![(1, 0, 2)]
            )
        );
    }

    #[test]
    fn skips_move_the_clock_and_count_nothing() {
        let update = [1, 2, 1, 0, 10, 4, 0x84, 1, 3, 1, b'x', 0];
        assert_eq!(runs(&update).0, vec![(1, 4, 1)]);
    }

    #[test]
    fn cut_updates_are_errors() {
        let update = [1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];
        for length in 0..11 {
            assert!(for_each_run(&update[..length], |_| ()).is_err(), "{length}");
        }
    }
}
