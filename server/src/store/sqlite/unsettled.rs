//! The documents of which rows may wait in the journal. Readers ask it before they read.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use super::super::StoreError;
use super::history::name_of;

/// Names of documents, by how far their rows are. Bounded by the rows that wait for a round, and by
/// the documents whose logs cannot be written.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// With rows behind the present round, and the ids of their own rows.
    waiting: HashMap<DocumentName, i64>,
    /// With rows in the present round.
    moving: HashMap<DocumentName, i64>,
    /// With rows that no round can move: their logs are damaged.
    stuck: HashSet<DocumentName>,
}

impl Unsettled {
    /// Reads which documents a database has rows in the journal for.
    pub(super) async fn read(readers: &SqlitePool) -> Result<Self, StoreError> {
        let rows = sqlx::query(
            "SELECT name, id FROM documents WHERE id IN (SELECT document_id FROM journal)",
        )
        .fetch_all(readers)
        .await?;
        let mut names = Names::default();
        for row in &rows {
            names.waiting.insert(name_of(row, 0)?, row.try_get(1)?);
        }
        Ok(Self(Mutex::new(names)))
    }

    /// False only if every append of the document that was committed so far is in its log.
    pub(super) fn contains(&self, document: &DocumentName) -> bool {
        let names = self.names();
        names.waiting.contains_key(document)
            || names.moving.contains_key(document)
            || names.stuck.contains(document)
    }

    /// True if rows of the document cannot be moved into its log.
    pub(super) fn is_stuck(&self, document: &DocumentName) -> bool {
        self.names().stuck.contains(document)
    }

    /// True while no document has rows in the journal that can be moved.
    pub(super) fn is_empty(&self) -> bool {
        let names = self.names();
        names.waiting.is_empty() && names.moving.is_empty()
    }

    /// Notes documents that rows are about to be written for.
    pub(super) fn note<'a>(&self, documents: impl Iterator<Item = (&'a DocumentName, i64)>) {
        let mut names = self.names();
        for (name, id) in documents {
            if !names.waiting.contains_key(name) {
                names.waiting.insert(name.clone(), id);
            }
        }
    }

    /// Begins a round: the ids of its documents, in order.
    pub(super) fn begin_round(&self) -> Vec<i64> {
        let mut names = self.names();
        names.moving = std::mem::take(&mut names.waiting);
        let mut ids: Vec<i64> = names.moving.values().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Ends a round: all its rows are in the logs, but for those of the documents that are stuck.
    pub(super) fn end_round(&self, stuck: &[DocumentName]) {
        let mut names = self.names();
        names.moving.clear();
        names.stuck.extend(stuck.iter().cloned());
    }

    /// Everything is in the logs, but for the rows of these documents.
    pub(super) fn settled(&self, stuck: Vec<DocumentName>) {
        *self.names() = Names {
            stuck: stuck.into_iter().collect(),
            ..Names::default()
        };
    }

    /// The rows of a stuck document are gone from the journal.
    pub(super) fn release(&self, document: &DocumentName) {
        self.names().stuck.remove(document);
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
