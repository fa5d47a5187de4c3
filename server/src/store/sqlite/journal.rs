//! The journal: where commits write, and from where rounds move rows to the logs of their documents.
//!
//! A commit of ten documents would dirty some twenty pages if it wrote to their logs; at the end of
//! one table it dirties one or two. Rounds run in slices between commits. Nothing waits for them:
//! reads take the journal's rows into account, and a crash in the middle of a round leaves rows in
//! both places, of which those up to the document's head count once. A document whose log is damaged
//! stops no other: its rows stay here, and it is quarantined.

use std::sync::Arc;

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::error::is_damage;
use super::history::name_of;
use super::unsettled::Unsettled;
use super::writer::{begin, end, roll_back};
use crate::metrics;

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
    stuck: Vec<DocumentName>,
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

    /// Moves the rows of some documents, and begins and ends a round where it is time to.
    pub(super) async fn move_slice(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<Moved, sqlx::Error> {
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin_round(connection).await?,
        };
        let factor = 1 + round.rows / ROWS_PER_SLICE_SIZE;
        let size = SLICE_DOCUMENTS.saturating_mul(factor as usize);
        let slice: Vec<i64> = round.ids.drain(..size.min(round.ids.len())).collect();
        let is_last = round.ids.is_empty();
        let mut moved = Moved {
            bytes: slice.len() as u64 * 2 * PAGE_BYTES,
            stuck: Vec::new(),
        };
        if let (Some(first), Some(last)) = (slice.first(), slice.last()) {
            let part = Part {
                after: first - 1,
                last: *last,
                upto: round.upto,
            };
            set_synchronous(connection, "PRAGMA synchronous = NORMAL").await?;
            moved.stuck = part.move_into_logs(connection).await?;
            if is_last {
                remove_moved(connection, round.upto).await?;
            }
            set_synchronous(connection, "PRAGMA synchronous = FULL").await?;
        }
        round.stuck.extend(moved.stuck.iter().cloned());
        if !is_last {
            self.round = Some(round);
            return Ok(moved);
        }
        self.rows = self.rows.saturating_sub(round.rows);
        self.bytes = self.bytes.saturating_sub(round.bytes);
        self.unsettled.end_round(&round.stuck);
        moved.bytes += round.bytes;
        Ok(moved)
    }

    async fn begin_round(&self, connection: &mut SqliteConnection) -> Result<Round, sqlx::Error> {
        let upto: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM journal")
            .fetch_one(connection)
            .await?;
        Ok(Round {
            upto: upto.unwrap_or(0),
            ids: self.unsettled.begin_round(),
            stuck: Vec::new(),
            rows: self.rows,
            bytes: self.bytes,
        })
    }

    /// Moves everything that can be moved, whatever is known of it.
    pub(super) async fn settle(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        self.round = None;
        let stuck = Part::ALL.move_into_logs(connection).await?;
        remove_moved(connection, i64::MAX).await?;
        (self.rows, self.bytes) = (0, 0);
        self.unsettled.settled(stuck);
        Ok(())
    }
}

/// What a slice did.
#[derive(Debug)]
pub(super) struct Moved {
    /// About how many bytes of the write-ahead log it took.
    pub(super) bytes: u64,
    /// Documents whose rows could not be moved; they are quarantined now.
    pub(super) stuck: Vec<DocumentName>,
}

/// The rows of the documents behind `after` up to `last`, up to position `upto`.
#[derive(Debug, Clone, Copy)]
struct Part {
    after: i64,
    last: i64,
    upto: i64,
}

impl Part {
    const ALL: Self = Self {
        after: i64::MIN,
        last: i64::MAX,
        upto: i64::MAX,
    };

    /// Moves the rows, all in one transaction; if that meets damage, those of each document by
    /// itself. Returns the documents that it is in.
    async fn move_into_logs(
        self,
        connection: &mut SqliteConnection,
    ) -> Result<Vec<DocumentName>, sqlx::Error> {
        match self.move_together(connection).await {
            Err(error) if is_damage(&error) => {
                give_up(connection).await;
                self.move_one_by_one(connection).await
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Vec::new()),
        }
    }

    async fn move_together(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        begin(connection).await?;
        sqlx::query(MOVE)
            .bind(self.after)
            .bind(self.last)
            .bind(self.upto)
            .execute(&mut *connection)
            .await?;
        end(connection).await
    }

    async fn move_one_by_one(
        self,
        connection: &mut SqliteConnection,
    ) -> Result<Vec<DocumentName>, sqlx::Error> {
        let documents = sqlx::query(concat!(
            "SELECT DISTINCT documents.id, documents.name ",
            unmoved!()
        ))
        .bind(self.after)
        .bind(self.last)
        .bind(self.upto)
        .fetch_all(&mut *connection)
        .await?;
        let mut stuck = Vec::new();
        for row in &documents {
            let id: i64 = row.try_get(0)?;
            let only = Self {
                after: id - 1,
                last: id,
                ..self
            };
            match only.move_together(connection).await {
                Err(error) if is_damage(&error) => {
                    give_up(connection).await;
                    quarantine(connection, id, &error).await?;
                    let name = name_of(row, 1);
                    stuck.push(name.map_err(|error| sqlx::Error::Decode(Box::new(error)))?);
                }
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        Ok(stuck)
    }
}

/// Ends a transaction that failed; SQLite may have done so already.
async fn give_up(connection: &mut SqliteConnection) {
    if let Err(error) = roll_back(connection).await {
        tracing::debug!(%error, "the transaction had ended by itself");
    }
}

/// Freezes a document whose log takes no more rows: what was acknowledged stays in the journal, and
/// nothing more is accepted that could not be kept in order.
async fn quarantine(
    connection: &mut SqliteConnection,
    id: i64,
    error: &sqlx::Error,
) -> Result<(), sqlx::Error> {
    tracing::error!(document_id = id, %error, "a document's log cannot be written; it is quarantined");
    metrics::quarantined();
    sqlx::query("UPDATE documents SET quarantine = coalesce(quarantine, ?) WHERE id = ?")
        .bind(format!("its log cannot be written: {error}"))
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes what was moved, up to a position. Rows of stuck documents are above their heads.
async fn remove_moved(connection: &mut SqliteConnection, upto: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM journal WHERE position <= ? AND sequence <= \
           (SELECT head FROM documents WHERE documents.id = journal.document_id)",
    )
    .bind(upto)
    .execute(connection)
    .await?;
    Ok(())
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
