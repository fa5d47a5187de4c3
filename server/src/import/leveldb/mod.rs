//! Reads a LevelDB folder as it lies on disk, and writes nothing to it.
//!
//! ```text
//!  CURRENT ─▶ MANIFEST ─▶ which tables are alive, by level ─┐
//!  *.log ─▶ batches of writes that are in no table yet ─────┴▶ merged by key, the newest write wins
//! ```
//!
//! The crates that can open such a folder open it for writing: they replay its log into new tables,
//! and stop with a panic where it is damaged. Here every length is checked before it is used, and
//! memory is bounded by the log, one block of each level, and the block of the tables' index.
//!
//! Source: `doc/table_format.md`, `doc/log_format.md`, `db/version_edit.cc`, `db/write_batch.cc` and
//! `db/dbformat.h` of LevelDB 1.20, which the packages `leveldown` and `classic-level` build.

mod entries;
mod log;
mod manifest;
mod memory;
mod table;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, fcntl_lock};

pub(super) use entries::Entries;
use manifest::Version;
use memory::Memory;

use super::SourceError;

/// The file that names the manifest; without it a folder is no database.
const CURRENT: &str = "CURRENT";

/// What a writer locks.
const LOCK: &str = "LOCK";

/// `CURRENT` holds a file name.
const CURRENT_BYTES_MAX: u64 = 256;

/// One write: the newest of its key wins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Write {
    key: Bytes,
    sequence: u64,
    /// `None` deletes the key.
    value: Option<Bytes>,
}

/// What is wrong with a file, and where.
type Damage = String;

/// An open folder. While it lives no LevelDB can open it for writing.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    version: Version,
    memory: Memory,
    /// Held for its lock.
    _lock: Option<File>,
}

impl Folder {
    /// Opens a folder that no process writes to.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let shown = path.display();
        if !path.join(CURRENT).is_file() {
            return Err(SourceError::NotFound(format!(
                "{shown} is no LevelDB folder: it has no file {CURRENT}"
            )));
        }
        let lock = lock(path)?;
        let damaged = |damage| damaged(path, &damage);
        let version = current(path).and_then(|manifest| Version::read(&path.join(manifest)));
        let version = version.map_err(damaged)?;
        let memory = Memory::read(path, &version).map_err(damaged)?;
        Ok(Self {
            path: path.to_owned(),
            version,
            memory,
            _lock: lock,
        })
    }

    /// All entries by key, from the first one on.
    pub(super) fn entries(&self) -> Entries {
        Entries::new(&self.path, &self.version, &self.memory)
    }

    /// The next entry with its key and its value.
    pub(super) fn next(
        &self,
        entries: &mut Entries,
    ) -> Result<Option<(Bytes, Bytes)>, SourceError> {
        entries
            .next()
            .map_err(|damage| damaged(&self.path, &damage))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn damaged(folder: &Path, damage: &Damage) -> SourceError {
    SourceError::Damaged(format!(
        "{} is damaged: {damage}; nothing more of it is imported; docs/migrate-from-y-websocket.md \
         says how to export what y-leveldb still reads",
        folder.display()
    ))
}

/// Takes the lock of LevelDB beside other readers. A copy of a folder may lack the file.
fn lock(path: &Path) -> Result<Option<File>, SourceError> {
    let Ok(file) = File::open(path.join(LOCK)) else {
        return Ok(None);
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(SourceError::Refused(format!(
                "{} is in use; stop the server that writes to it, or import a copy of the folder \
                 that was made while it stood still",
                path.display()
            )))
        }
        // Not every file system has locks.
        Ok(()) | Err(_) => Ok(Some(file)),
    }
}

/// The name of the manifest.
fn current(path: &Path) -> Result<String, Damage> {
    let file = path.join(CURRENT);
    let length = fs::metadata(&file).map_or(0, |file| file.len());
    let text = match length {
        0..=CURRENT_BYTES_MAX => fs::read_to_string(&file).map_err(|error| error.to_string()),
        more => Err(format!("{more} bytes are no file name")),
    };
    let text = text.map_err(|reason| format!("{CURRENT}: {reason}"))?;
    let name = text.trim_end_matches('\n');
    let number = name.strip_prefix("MANIFEST-");
    match number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        true => Ok(name.to_owned()),
        false => Err(format!("{CURRENT} names no manifest")),
    }
}

/// Says of which file something is told.
fn in_file(path: &Path, reason: impl std::fmt::Display) -> Damage {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}: {reason}")
}

fn unreadable(path: &Path, error: &io::Error) -> Damage {
    in_file(path, format!("it cannot be read: {error}"))
}

/// Undoes the mask of stored checksums, so that a checksum of data that holds checksums stays good.
fn unmasked(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_right(17)
}

/// Numbers and texts of a record, from its start on.
#[derive(Debug)]
struct Fields(Bytes);

impl Fields {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    /// Seven bits a byte, the little end first.
    fn var_uint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.var_uint()?).ok()
    }

    /// Bytes with their length before them.
    fn bytes(&mut self) -> Option<Bytes> {
        let length = self.length()?;
        self.take(length)
    }

    fn u32(&mut self) -> Option<u32> {
        let digits = self.take(4)?;
        Some(u32::from_le_bytes(digits.first_chunk().copied()?))
    }

    fn u64(&mut self) -> Option<u64> {
        let digits = self.take(8)?;
        Some(u64::from_le_bytes(digits.first_chunk().copied()?))
    }
}
