//! All entries of a folder in the order of their keys: tables and logs merged, the newest write wins.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::manifest::{LEVELS, Version};
use super::memory::Memory;
use super::table::Table;
use super::{Damage, Write};

/// The keys and values that are there now, by key.
pub(in super::super) struct Entries {
    runs: Vec<Run>,
    /// The key that was dealt with last.
    last: Option<Bytes>,
}

/// Writes in order: by key, and the newest of a key first.
struct Run {
    kind: Kind,
    head: Option<Write>,
    has_begun: bool,
}

enum Kind {
    Memory(Box<dyn Iterator<Item = Write>>),
    /// Tables whose keys do not overlap, one after the other.
    Tables {
        folder: PathBuf,
        waiting: VecDeque<u64>,
        open: Option<Table>,
    },
}

impl Entries {
    pub(super) fn new(folder: &Path, version: &Version, memory: &Memory) -> Self {
        let mut kinds = vec![Kind::Memory(Box::new(memory.writes()))];
        let tables = |numbers: VecDeque<u64>| Kind::Tables {
            folder: folder.to_owned(),
            waiting: numbers,
            open: None,
        };
        // Tables of the first level overlap each other.
        for table in version.tables(0) {
            kinds.push(tables(VecDeque::from([table.number])));
        }
        for level in 1..LEVELS {
            let numbers = version.tables(level).iter().map(|it| it.number).collect();
            kinds.push(tables(numbers));
        }
        let run = |kind| Run {
            kind,
            head: None,
            has_begun: false,
        };
        Self {
            runs: kinds.into_iter().map(run).collect(),
            last: None,
        }
    }

    /// The next key with its value.
    pub(super) fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Damage> {
        loop {
            for run in self.runs.iter_mut().filter(|run| !run.has_begun) {
                run.advance()?;
            }
            let heads = self.runs.iter_mut().filter(|run| run.head.is_some());
            let Some(first) = heads.min_by(|a, b| order(&a.head).cmp(&order(&b.head))) else {
                return Ok(None);
            };
            let Some(write) = first.head.take() else {
                return Ok(None);
            };
            first.advance_past(&write)?;
            if self.last.as_ref() == Some(&write.key) {
                continue;
            }
            self.last = Some(write.key.clone());
            if let Some(value) = write.value {
                return Ok(Some((write.key, value)));
            }
        }
    }
}

/// By key, the newest write of a key first.
fn order(write: &Option<Write>) -> Option<(&Bytes, Reverse<u64>)> {
    let write = write.as_ref()?;
    Some((&write.key, Reverse(write.sequence)))
}

impl Run {
    fn advance(&mut self) -> Result<(), Damage> {
        self.has_begun = true;
        self.head = self.kind.next()?;
        Ok(())
    }

    /// Goes on to the write behind this one, and makes sure that it is behind.
    fn advance_past(&mut self, before: &Write) -> Result<(), Damage> {
        self.advance()?;
        let is_behind = |head: &Write| {
            (&head.key, Reverse(head.sequence)) > (&before.key, Reverse(before.sequence))
        };
        match self.head.as_ref().is_none_or(is_behind) {
            true => Ok(()),
            false => Err("a table's keys are out of order".to_owned()),
        }
    }
}

impl Kind {
    fn next(&mut self) -> Result<Option<Write>, Damage> {
        match self {
            Self::Memory(writes) => Ok(writes.next()),
            Self::Tables {
                folder,
                waiting,
                open,
            } => loop {
                if let Some(table) = open
                    && let Some(write) = table.next()?
                {
                    return Ok(Some(write));
                }
                let Some(number) = waiting.pop_front() else {
                    return Ok(None);
                };
                *open = Some(Table::open(folder, number)?);
            },
        }
    }
}
