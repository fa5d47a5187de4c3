//! Which tables are alive, and which logs hold writes that are in none of them.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::log::Records;
use super::{Damage, Fields, in_file};

/// LevelDB has seven levels.
pub(super) const LEVELS: usize = 7;

/// Keys are in the order of their bytes.
const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";

/// Tables at a time: 2 MB each, so this is a folder of 2 TB.
const TABLES_MAX: usize = 1_000_000;

/// Tables of the level where they overlap. A writer stops at 12; each needs an open file.
const OVERLAPPING_MAX: usize = 256;

const SET_COMPARATOR: u64 = 1;
const SET_LOG: u64 = 2;
const SET_NEXT_FILE: u64 = 3;
const SET_LAST_SEQUENCE: u64 = 4;
const SET_COMPACTION: u64 = 5;
const REMOVE_TABLE: u64 = 6;
const ADD_TABLE: u64 = 7;
const SET_PREVIOUS_LOG: u64 = 9;

/// A table that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableFile {
    pub(super) number: u64,
    /// Its first key, by which those of a level are ordered.
    pub(super) smallest: Bytes,
}

/// All edits of a manifest, taken together.
#[derive(Debug, Default)]
pub(super) struct Version {
    levels: [BTreeMap<u64, Bytes>; LEVELS],
    /// Logs from this one on are alive.
    pub(super) log: u64,
    /// And this one, in folders of old.
    pub(super) previous_log: u64,
}

impl Version {
    pub(super) fn read(path: &Path) -> Result<Self, Damage> {
        let mut records = Records::open(path)?;
        let mut version = Self::default();
        while let Some(record) = records.next()? {
            version
                .edit(&mut Fields(record))
                .map_err(|reason| in_file(path, reason))?;
        }
        let tables: usize = version.levels.iter().map(BTreeMap::len).sum();
        if tables > TABLES_MAX || version.levels[0].len() > OVERLAPPING_MAX {
            return Err(in_file(path, "it lists too many tables"));
        }
        Ok(version)
    }

    /// The tables of a level by their first key.
    pub(super) fn tables(&self, level: usize) -> Vec<TableFile> {
        let tables = self.levels[level].iter();
        let mut tables: Vec<_> = tables
            .map(|(&number, smallest)| TableFile {
                number,
                smallest: smallest.clone(),
            })
            .collect();
        tables.sort_by(|a, b| a.smallest.cmp(&b.smallest));
        tables
    }

    fn edit(&mut self, fields: &mut Fields) -> Result<(), String> {
        while !fields.is_empty() {
            self.field(fields).ok_or("an entry cannot be read")??;
        }
        Ok(())
    }

    /// One field of an edit; nothing if it ends too early.
    fn field(&mut self, fields: &mut Fields) -> Option<Result<(), String>> {
        match fields.var_uint()? {
            SET_COMPARATOR => {
                if fields.bytes()? != COMPARATOR {
                    return Some(Err("its keys are in an order of their own".to_owned()));
                }
            }
            SET_LOG => self.log = fields.var_uint()?,
            SET_PREVIOUS_LOG => self.previous_log = fields.var_uint()?,
            SET_NEXT_FILE | SET_LAST_SEQUENCE => {
                fields.var_uint()?;
            }
            SET_COMPACTION => {
                fields.var_uint()?;
                fields.bytes()?;
            }
            REMOVE_TABLE => {
                let level = fields.length()?;
                let number = fields.var_uint()?;
                self.levels.get_mut(level)?.remove(&number);
            }
            ADD_TABLE => {
                let level = fields.length()?;
                let number = fields.var_uint()?;
                let _bytes = fields.var_uint()?;
                let smallest = fields.bytes()?;
                let _largest = fields.bytes()?;
                self.levels.get_mut(level)?.insert(number, smallest);
            }
            other => return Some(Err(format!("entries of kind {other} are not known"))),
        }
        Some(Ok(()))
    }
}

/// Reads bytes as an edit.
#[cfg(test)]
pub(super) fn read_any(record: Bytes) {
    let _ = Version::default().edit(&mut Fields(record));
}
