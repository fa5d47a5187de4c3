//! The journal: where commits write, and from where rounds move rows to the logs of their documents.
//!
//! A commit of ten documents would dirty some twenty pages if it wrote to their logs; at the end of
//! one table it dirties one or two. Rounds run in slices between commits. Nothing waits for them:
//! reads take the journal's rows into account, and a crash in the middle of a round leaves rows in
//! both places, of which those up to the document's head count once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::super::StoreError;
use super::history::name_of;
use super::writer::{begin, end};

/// Rows from which a round begins: of fifty busy documents each page then takes forty rows at once,
/// and a load that has to look through the journal still takes less than a millisecond for it.
const ROUND_ROWS: u64 = 2_048;

/// Bytes of updates from which a round begins: large ones gain nothing from waiting.
const ROUND_BYTES: u64 = 4 << 20;

/// Documents of one slice: a transaction of about a millisecond, which the next commit waits for.
const SLICE_DOCUMENTS: usize = 64;

/// With each so many rows that wait, slices grow by their size again: rounds keep up with any load.
const ROWS_PER_SLICE_SIZE: u64 = 4_096;

/// A page of the journal or of a log, as the write-ahead log counts it.
const PAGE_BYTES: u64 = 4_096;

/// What a row takes beside its update.
const ROW_BYTES: u64 = 96;

/// Rows that no round has moved yet, of the documents behind `?1` up to `?2`, up to position `?3`.
macro_rules! unmoved {
    () => {
        "FROM journal CROSS JOIN documents ON documents.id = journal.document_id \
         WHERE journal.position <= ?3 AND journal.document_id > ?1 AND journal.document_id <= ?2 \
           AND journal.sequence > documents.head"
    };
}

/// Into the logs first, then the documents' rows, whose heads tell what was moved.
const MOVE: &str = concat!(
    "INSERT INTO appends (document_id, sequence, id, epoch, identity, door, time_ms, checksum, \
       content) \
     SELECT journal.document_id, journal.sequence, journal.id, journal.epoch, journal.identity, \
       journal.door, journal.time_ms, journal.checksum, journal.content ",
    unmoved!(),
    " ORDER BY journal.document_id, journal.sequence; \
     UPDATE documents SET head = moved.head, log_bytes = log_bytes + moved.bytes, \
       oldest_ms = coalesce(documents.oldest_ms, moved.oldest_ms), \
       changed_ms = max(documents.changed_ms, moved.changed_ms) \
     FROM (SELECT journal.document_id AS id, max(journal.sequence) AS head, \
         sum(length(journal.content)) AS bytes, min(journal.time_ms) AS oldest_ms, \
         max(journal.time_ms) AS changed_ms ",
    unmoved!(),
    " GROUP BY journal.document_id) AS moved \
     WHERE documents.id = moved.id"
);

/// The documents of which rows may wait in the journal. Readers ask it before they read.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// With rows behind the present round, and the ids of their own rows.
    waiting: HashMap<DocumentName, i64>,
    /// With rows in the present round.
    moving: HashSet<DocumentName>,
}

impl Unsettled {
    /// False only if every append of the document that was committed so far is in its log.
    pub(super) fn contains(&self, document: &DocumentName) -> bool {
        let names = self.names();
        names.waiting.contains_key(document) || names.moving.contains(document)
    }

    /// True while no document has rows in the journal.
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
    fn begin_round(&self) -> Vec<i64> {
        let mut names = self.names();
        let waiting = std::mem::take(&mut names.waiting);
        let mut ids: Vec<i64> = waiting.values().copied().collect();
        ids.sort_unstable();
        names.moving = waiting.into_keys().collect();
        ids
    }

    fn end_round(&self) {
        self.names().moving.clear();
    }

    fn clear(&self) {
        *self.names() = Names::default();
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
}

/// About how many bytes of the write-ahead log a commit takes: its rows, and the page they end on.
pub(super) fn wal_bytes(rows: u64, bytes: u64) -> u64 {
    2 * PAGE_BYTES + rows * ROW_BYTES + bytes
}

/// How much waits in the journal, and how far the present round is.
#[derive(Debug)]
pub(super) struct Journal {
    unsettled: Arc<Unsettled>,
    rows: u64,
    bytes: u64,
    round: Option<Round>,
}

#[derive(Debug)]
struct Round {
    /// The last position that belongs to it.
    upto: i64,
    /// Its documents that remain, in order.
    ids: Vec<i64>,
    /// What waited when it began.
    rows: u64,
    bytes: u64,
}

impl Journal {
    pub(super) fn new(unsettled: Arc<Unsettled>) -> Self {
        Self {
            unsettled,
            rows: 0,
            bytes: 0,
            round: None,
        }
    }

    pub(super) fn unsettled(&self) -> &Arc<Unsettled> {
        &self.unsettled
    }

    /// Notes what a commit wrote.
    pub(super) fn add(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
    }

    /// True when a slice is to be moved.
    pub(super) fn is_due(&self) -> bool {
        self.round.is_some() || self.rows >= ROUND_ROWS || self.bytes >= ROUND_BYTES
    }

    /// Moves the rows of some documents, and begins and ends a round where it is time to. Returns
    /// about how many bytes it wrote.
    pub(super) async fn move_slice(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<u64, sqlx::Error> {
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin_round(connection).await?,
        };
        let factor = 1 + round.rows / ROWS_PER_SLICE_SIZE;
        let size = SLICE_DOCUMENTS.saturating_mul(factor as usize);
        let slice: Vec<i64> = round.ids.drain(..size.min(round.ids.len())).collect();
        let is_last = round.ids.is_empty();
        if let (Some(first), Some(last)) = (slice.first(), slice.last()) {
            set_synchronous(connection, "PRAGMA synchronous = NORMAL").await?;
            move_rows(connection, first - 1, *last, round.upto, is_last).await?;
            set_synchronous(connection, "PRAGMA synchronous = FULL").await?;
        }
        let written = slice.len() as u64 * 2 * PAGE_BYTES;
        if !is_last {
            self.round = Some(round);
            return Ok(written);
        }
        self.rows = self.rows.saturating_sub(round.rows);
        self.bytes = self.bytes.saturating_sub(round.bytes);
        self.unsettled.end_round();
        Ok(written + round.bytes)
    }

    async fn begin_round(&self, connection: &mut SqliteConnection) -> Result<Round, sqlx::Error> {
        let upto: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM journal")
            .fetch_one(connection)
            .await?;
        Ok(Round {
            upto: upto.unwrap_or(0),
            ids: self.unsettled.begin_round(),
            rows: self.rows,
            bytes: self.bytes,
        })
    }

    /// Moves everything, whatever is known of it.
    pub(super) async fn settle(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        self.round = None;
        move_rows(connection, i64::MIN, i64::MAX, i64::MAX, true).await?;
        (self.rows, self.bytes) = (0, 0);
        self.unsettled.clear();
        Ok(())
    }
}

/// Moves rows of the documents behind `after` up to `last`; `ends`: and removes all up to `upto`.
async fn move_rows(
    connection: &mut SqliteConnection,
    after: i64,
    last: i64,
    upto: i64,
    ends: bool,
) -> Result<(), sqlx::Error> {
    begin(connection).await?;
    sqlx::query(MOVE)
        .bind(after)
        .bind(last)
        .bind(upto)
        .execute(&mut *connection)
        .await?;
    if ends {
        sqlx::query("DELETE FROM journal WHERE position <= ?")
            .bind(upto)
            .execute(&mut *connection)
            .await?;
    }
    end(connection).await
}

/// A move needs no flush of its own: until one comes, the rows are durable where they were. The
/// statement takes effect when it is prepared, so it must not be a cached one.
async fn set_synchronous(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statement).execute(connection).await?;
    Ok(())
}
