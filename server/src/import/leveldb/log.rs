//! Records of a log file: the manifest, and the writes that are in no table yet.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Damage, in_file, unmasked, unreadable};

/// A log is cut into blocks of this size; no record's header crosses their edge.
const BLOCK_BYTES: usize = 32 << 10;

/// Checksum (4), length (2), kind (1).
const HEADER_BYTES: usize = 7;

const NONE: u8 = 0;
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The largest record: a batch of writes is held in memory by its writer, too.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// Reads a log file block by block.
pub(super) struct Records {
    path: PathBuf,
    file: File,
    block: Bytes,
    /// The block was shorter than a whole one: the file ends here.
    is_last: bool,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self, Damage> {
        Ok(Self {
            file: File::open(path).map_err(|error| unreadable(path, &error))?,
            path: path.to_owned(),
            block: Bytes::new(),
            is_last: false,
        })
    }

    /// The next record. A writer that was killed leaves a record without its end behind: nobody was
    /// told that it is there.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Damage> {
        // A first part may be empty: it is where exactly a header had room at the end of a block.
        let (mut record, mut is_begun) = (Vec::new(), false);
        loop {
            let Some((kind, part)) = self.part()? else {
                return Ok(None);
            };
            let fits = match kind {
                WHOLE | FIRST => !is_begun,
                _ => is_begun,
            };
            if !fits || record.len() + part.len() > RECORD_BYTES_MAX {
                return Err(in_file(&self.path, "the parts of a record do not fit"));
            }
            if kind == WHOLE {
                return Ok(Some(part));
            }
            is_begun = true;
            record.extend_from_slice(&part);
            if kind == LAST {
                return Ok(Some(record.into()));
            }
        }
    }

    /// The next part of a record with its kind; none at the end.
    fn part(&mut self) -> Result<Option<(u8, Bytes)>, Damage> {
        loop {
            if self.block.len() < HEADER_BYTES {
                if self.is_last {
                    return Ok(None);
                }
                self.read_block()?;
                continue;
            }
            let header = self.block.slice(..HEADER_BYTES);
            let checksum = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
            let kind = header[6];
            if kind == NONE && length == 0 {
                // Space that was set aside and not written.
                self.block.clear();
                continue;
            }
            if HEADER_BYTES + length > self.block.len() {
                if self.is_last {
                    return Ok(None);
                }
                return Err(in_file(
                    &self.path,
                    "a record crosses the edge of its block",
                ));
            }
            let checked = self.block.slice(6..HEADER_BYTES + length);
            if crc32c::crc32c(&checked) != unmasked(checksum) {
                return Err(in_file(&self.path, "a checksum of a record is wrong"));
            }
            if !matches!(kind, WHOLE | FIRST | MIDDLE | LAST) {
                return Err(in_file(&self.path, "a record is of no known kind"));
            }
            self.block = self.block.slice(HEADER_BYTES + length..);
            return Ok(Some((kind, checked.slice(1..))));
        }
    }

    fn read_block(&mut self) -> Result<(), Damage> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let mut rest = (&mut self.file).take(BLOCK_BYTES as u64);
        rest.read_to_end(&mut block)
            .map_err(|error| unreadable(&self.path, &error))?;
        self.is_last = block.len() < BLOCK_BYTES;
        self.block = block.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn part(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let checked = [&[kind][..], bytes].concat();
        let checksum = crc32c::crc32c(&checked);
        let masked = checksum.rotate_right(15).wrapping_add(0xa282_ead8);
        let length = (bytes.len() as u16).to_le_bytes();
        [&masked.to_le_bytes()[..], &length, &checked].concat()
    }

    fn records(log: &[u8]) -> Result<Vec<Bytes>, Damage> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000003.log");
        std::fs::write(&path, log).unwrap();
        let mut records = Records::open(&path)?;
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            all.push(record);
        }
        Ok(all)
    }

    #[test]
    fn a_record_may_begin_with_an_empty_part_at_the_end_of_a_block() {
        let long = vec![b'a'; BLOCK_BYTES - 3 * HEADER_BYTES];
        let log = [
            part(WHOLE, &long),
            part(WHOLE, b""),
            part(FIRST, b""),
            part(LAST, b"after"),
            part(WHOLE, b"next"),
        ];
        assert_eq!(log[0].len() + 2 * HEADER_BYTES, BLOCK_BYTES);
        let read = records(&log.concat()).unwrap();
        assert_eq!(read, [&long[..], b"", b"after", b"next"]);
    }

    #[test]
    fn parts_that_do_not_fit_are_damage() {
        for log in [
            [part(LAST, b"x"), part(WHOLE, b"y")],
            [part(FIRST, b""), part(WHOLE, b"y")],
            [part(FIRST, b"x"), part(FIRST, b"y")],
        ] {
            assert!(records(&log.concat()).is_err());
        }
    }
}
