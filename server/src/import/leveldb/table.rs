//! A sorted table: its blocks, one after the other.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Damage, Fields, Write, in_file, unmasked, unreadable};

/// Two places of blocks, padded, and a number that tells the format.
const FOOTER_BYTES: u64 = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// Behind each block: how it is compressed (1), checksum (4).
const TRAILER_BYTES: usize = 5;
const PLAIN: u8 = 0;
const SNAPPY: u8 = 1;

/// The largest block, unpacked: it holds at least one entry, and an entry at most one document.
const BLOCK_BYTES_MAX: usize = 256 << 20;

/// Behind each key: its sequence number and whether it was written or deleted.
const KEY_TAIL_BYTES: usize = 8;
const DELETED: u64 = 0;
const WRITTEN: u64 = 1;

/// A table that is read from its first entry to its last.
pub(super) struct Table {
    path: PathBuf,
    file: File,
    bytes: u64,
    index: Block,
    block: Option<Block>,
}

impl Table {
    pub(super) fn open(folder: &Path, number: u64) -> Result<Self, Damage> {
        let (path, file) = open_file(folder, number)?;
        let bytes = file.metadata().map_err(|error| unreadable(&path, &error))?;
        let mut table = Self {
            path,
            file,
            bytes: bytes.len(),
            index: Block::default(),
            block: None,
        };
        let index = table.footer().map_err(|reason| table.told(reason))?;
        table.index = table.read_block(index)?;
        Ok(table)
    }

    /// The next entry.
    pub(super) fn next(&mut self) -> Result<Option<Write>, Damage> {
        loop {
            if let Some(block) = &mut self.block {
                let entry = block.next().map_err(|reason| self.told(reason))?;
                if let Some((key, value)) = entry {
                    let write = write(&key, value);
                    return write
                        .map(Some)
                        .ok_or_else(|| self.told("a key is too short or of no known kind"));
                }
            }
            let entry = self.index.next().map_err(|reason| self.told(reason))?;
            let Some((_, place)) = entry else {
                return Ok(None);
            };
            let place = Place::read(&mut Fields(place));
            let place = place.ok_or_else(|| self.told("its index cannot be read"))?;
            self.block = Some(self.read_block(place)?);
        }
    }

    /// Where the index is.
    fn footer(&mut self) -> Result<Place, &'static str> {
        const SHORT: &str = "it is too short for a table";
        let start = self.bytes.checked_sub(FOOTER_BYTES).ok_or(SHORT)?;
        let footer = self.bytes_at(start, FOOTER_BYTES).map_err(|_| SHORT)?;
        let magic = footer.last_chunk::<8>().copied().unwrap_or_default();
        if u64::from_le_bytes(magic) != MAGIC {
            return Err("it does not end as a table does");
        }
        let mut fields = Fields(footer);
        let places = (Place::read(&mut fields), Place::read(&mut fields));
        places.1.ok_or("its footer cannot be read")
    }

    fn read_block(&mut self, place: Place) -> Result<Block, Damage> {
        let length = place.length.saturating_add(TRAILER_BYTES as u64);
        let end = place.offset.checked_add(length);
        if end.is_none_or(|end| end > self.bytes) || place.length > BLOCK_BYTES_MAX as u64 {
            return Err(self.told("a block lies outside of it"));
        }
        let read = self.bytes_at(place.offset, length);
        let read = read.map_err(|error| unreadable(&self.path, &error))?;
        unpack(&read)
            .and_then(Block::new)
            .map_err(|reason| self.told(reason))
    }

    /// Reads bytes that are known to be in the file.
    fn bytes_at(&mut self, offset: u64, length: u64) -> std::io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }

    fn told(&self, reason: impl std::fmt::Display) -> Damage {
        in_file(&self.path, reason)
    }
}

/// Opens a table by its number; old ones end in `.sst`.
fn open_file(folder: &Path, number: u64) -> Result<(PathBuf, File), Damage> {
    let path = folder.join(format!("{number:06}.ldb"));
    let old = folder.join(format!("{number:06}.sst"));
    let path = match path.exists() || !old.exists() {
        true => path,
        false => old,
    };
    let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    Ok((path, file))
}

/// Splits a key as it is stored into what was written and its place in time.
fn write(stored: &Bytes, value: Bytes) -> Option<Write> {
    let at = stored.len().checked_sub(KEY_TAIL_BYTES)?;
    let tail = u64::from_le_bytes(stored[at..].first_chunk().copied()?);
    let value = match tail & 0xff {
        DELETED => None,
        WRITTEN => Some(value),
        _ => return None,
    };
    Some(Write {
        key: stored.slice(..at),
        sequence: tail >> 8,
        value,
    })
}

/// Checks a block that was read with what stands behind it, and gives its content.
fn unpack(read: &Bytes) -> Result<Bytes, &'static str> {
    let at = read.len() - TRAILER_BYTES;
    let kind = read[at];
    let stored = Fields(read.slice(at + 1..)).u32().unwrap_or_default();
    if crc32c::crc32c(&read[..=at]) != unmasked(stored) {
        return Err("a checksum of a block is wrong");
    }
    match kind {
        PLAIN => Ok(read.slice(..at)),
        SNAPPY => {
            const SPOILT: &str = "a compressed block cannot be unpacked";
            let length = snap::raw::decompress_len(&read[..at]).map_err(|_| SPOILT)?;
            if length > BLOCK_BYTES_MAX {
                return Err("a block is too large");
            }
            let unpacked = snap::raw::Decoder::new().decompress_vec(&read[..at]);
            unpacked.map(Bytes::from).map_err(|_| SPOILT)
        }
        _ => Err("a block is compressed in a way that is not known here"),
    }
}

/// Where a block is.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    length: u64,
}

impl Place {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            offset: fields.var_uint()?,
            length: fields.var_uint()?,
        })
    }
}

/// Entries, each key without what it shares with the one before.
#[derive(Debug, Default)]
struct Block {
    rest: Bytes,
    key: Vec<u8>,
}

impl Block {
    /// Takes the content of a block, at whose end is a list of places to begin at.
    fn new(content: Bytes) -> Result<Self, &'static str> {
        const SPOILT: &str = "a block cannot be read";
        let at = content.len().checked_sub(4).ok_or(SPOILT)?;
        let count = Fields(content.slice(at..)).u32().ok_or(SPOILT)?;
        let restarts = usize::try_from(count).unwrap_or(usize::MAX);
        let end = restarts
            .checked_mul(4)
            .and_then(|length| at.checked_sub(length));
        Ok(Self {
            rest: content.slice(..end.ok_or(SPOILT)?),
            key: Vec::new(),
        })
    }

    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let entry = self.entry().ok_or("an entry of a block cannot be read")?;
        Ok(Some(entry))
    }

    fn entry(&mut self) -> Option<(Bytes, Bytes)> {
        let mut fields = Fields(std::mem::take(&mut self.rest));
        let shared = fields.length()?;
        let unshared = fields.length()?;
        let value = fields.length()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(&fields.take(unshared)?);
        let value = fields.take(value)?;
        self.rest = fields.0;
        Some((Bytes::copy_from_slice(&self.key), value))
    }
}

/// Reads bytes as a block, its index and its keys.
#[cfg(test)]
pub(super) fn read_any(content: Bytes) {
    let _ = unpack(&[&content[..], &[SNAPPY, 0, 0, 0, 0]].concat().into());
    let Ok(mut block) = Block::new(content) else {
        return;
    };
    while let Ok(Some((key, value))) = block.next() {
        let _ = Place::read(&mut Fields(value.clone()));
        let _ = write(&key, value);
    }
}
