//! The writes that are in no table yet, read from the logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::log::Records;
use super::manifest::Version;
use super::{Damage, Fields, Write, in_file};

/// Bytes of all logs together. A writer begins a table at 4 MB; a larger log is left by one with
/// other settings.
const LOG_BYTES_MAX: u64 = 256 << 20;

const DELETE: u8 = 0;
const PUT: u8 = 1;

/// The newest write of each key.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(BTreeMap<Bytes, (u64, Option<Bytes>)>);

impl Memory {
    pub(super) fn read(folder: &Path, version: &Version) -> Result<Self, Damage> {
        let mut memory = Self::default();
        let logs = logs(folder, version)?;
        let bytes = |path: &PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
        let bytes: u64 = logs.iter().map(bytes).sum();
        if bytes > LOG_BYTES_MAX {
            return Err(format!(
                "its logs have {bytes} bytes and at most {LOG_BYTES_MAX} are read; start and stop \
                 the server once, so that they become tables"
            ));
        }
        for path in logs {
            let mut records = Records::open(&path)?;
            while let Some(record) = records.next()? {
                let batch = memory.batch(&mut Fields(record));
                batch.ok_or_else(|| in_file(&path, "a batch of writes cannot be read"))?;
            }
        }
        Ok(memory)
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = Write> + use<> {
        let entries = self.0.clone().into_iter();
        entries.map(|(key, (sequence, value))| Write {
            key,
            sequence,
            value,
        })
    }

    /// Takes in a batch; nothing if it ends too early or holds something else.
    fn batch(&mut self, fields: &mut Fields) -> Option<()> {
        let first = fields.u64()?;
        let count = u64::from(fields.u32()?);
        for index in 0..count {
            let sequence = first.checked_add(index)?;
            let kind = fields.take(1)?[0];
            let key = fields.bytes()?;
            let value = match kind {
                PUT => Some(fields.bytes()?),
                DELETE => None,
                _ => return None,
            };
            let entry = self.0.entry(key).or_insert((sequence, None));
            if sequence >= entry.0 {
                *entry = (sequence, value);
            }
        }
        fields.is_empty().then_some(())
    }
}

/// The logs that are alive, in the order in which they were written.
fn logs(folder: &Path, version: &Version) -> Result<Vec<PathBuf>, Damage> {
    let told = |error: std::io::Error| format!("the folder cannot be listed: {error}");
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let name = entry.map_err(told)?.file_name();
        let number = name.to_string_lossy();
        let number = number.strip_suffix(".log").and_then(|it| it.parse().ok());
        let is_alive = |number: &u64| *number >= version.log || *number == version.previous_log;
        if let Some(number) = number.filter(is_alive) {
            logs.push((number, folder.join(name)));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// Reads bytes as a batch of writes.
#[cfg(test)]
pub(super) fn read_any(record: Bytes) {
    let _ = Memory::default().batch(&mut Fields(record));
}
