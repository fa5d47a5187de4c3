//! The one connection that writes, and what happens to it when something goes wrong.
//!
//! A connection is taken out for an operation and comes back only if that succeeded. After an
//! error or a cancelled call it is closed, which rolls back whatever was open, and the next
//! operation opens a new one. So no operation ever meets another's half-open transaction.

use std::path::PathBuf;
use std::sync::Arc;

use driftless_proto::name::DocumentName;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, MutexGuard};

use super::super::{Append, AppendId, StoreError};
use super::attempts::Attempts;
use super::checkpoint::{self, CheckpointMode, WalFill};
use super::commit::Remembered;
use super::journal::{self, Journal};
use super::open;
use super::unsettled::Unsettled;

/// The place of the writing connection.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    connection: Option<SqliteConnection>,
    /// Set after a failed flush: nothing is written until the database was verified.
    must_verify: bool,
    is_closed: bool,
    wal: WalFill,
    last_commit: Option<LastCommit>,
    attempts: Attempts,
    remembered: Remembered,
    journal: Journal,
}

/// An append that was reported durable; after a failed flush it must still be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastCommit {
    pub(super) document_id: i64,
    pub(super) sequence: u64,
    pub(super) id: AppendId,
}

/// The connection, taken out for one operation.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pub(super) connection: SqliteConnection,
    may_repeat: bool,
    slot: MutexGuard<'a, Slot>,
}

impl Writer {
    pub(super) fn new(path: PathBuf, unsettled: Arc<Unsettled>) -> Self {
        Self {
            path,
            slot: Mutex::new(Slot {
                connection: None,
                must_verify: false,
                is_closed: false,
                wal: WalFill::default(),
                last_commit: None,
                attempts: Attempts::default(),
                remembered: Remembered::default(),
                journal: Journal::new(unsettled),
            }),
        }
    }

    /// Takes the connection for what may change any row: every append is in its log.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let mut lease = self.lease_beside_commits().await?.settled().await?;
        lease.slot.remembered.forget();
        Ok(lease)
    }

    /// Takes the connection for what changes nothing that commits remember of documents, but needs
    /// every append of this document to be in its log.
    pub(super) async fn lease_for(&self, document: &DocumentName) -> Result<Lease<'_>, StoreError> {
        let lease = self.lease_beside_commits().await?;
        if lease.slot.journal.unsettled().contains(document) {
            return lease.settled().await;
        }
        Ok(lease)
    }

    /// Takes the connection for a commit. What the batch is compared with is in the logs.
    pub(super) async fn lease_for_commit(&self, batch: &[Append]) -> Result<Lease<'_>, StoreError> {
        let mut lease = self.lease_beside_commits().await?;
        lease.may_repeat = lease.slot.attempts.note(batch);
        if lease.slot.remembered.is_full() {
            lease = lease.settled().await?;
            lease.slot.remembered.forget();
        }
        if lease.may_repeat {
            lease = lease.settled().await?;
        }
        Ok(lease)
    }

    /// Puts every append into its log.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let lease = self.lease_beside_commits().await?.settled().await?;
        lease.finish(Ok::<_, StoreError>(()))
    }

    /// Waits for the operation before, and takes the connection; opens one if there is none. For
    /// commits, and for what changes nothing that they remember of documents.
    pub(super) async fn lease_beside_commits(&self) -> Result<Lease<'_>, StoreError> {
        let mut slot = self.slot.lock().await;
        if slot.is_closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if let Some(connection) = slot.connection.take() {
            return Ok(Lease::new(connection, slot));
        }
        // Whatever ended the last one, its outcome is not known.
        slot.remembered.forget();
        let mut connection = open::open_writer(&self.path).await?;
        if slot.must_verify {
            checkpoint::run(&mut connection, CheckpointMode::Truncate).await?;
            slot.wal = WalFill::default();
        }
        let settled = slot.journal.settle(&mut connection).await;
        slot.note_flush(settled)?;
        if slot.must_verify {
            verify(&mut connection, slot.last_commit).await?;
            slot.must_verify = false;
            tracing::info!("the database was reopened and verified after a failed flush");
        }
        Ok(Lease::new(connection, slot))
    }

    /// Closes the connection for good, with every append in its log and a last checkpoint.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        if let Err(error) = self.settle_before_close().await {
            tracing::debug!(%error, "the journal stays as it is until the next start");
        }
        let mut slot = self.slot.lock().await;
        slot.is_closed = true;
        if let Some(connection) = slot.connection.take() {
            connection.close().await?;
        }
        Ok(())
    }

    /// A store that was only read is left as it was.
    async fn settle_before_close(&self) -> Result<(), StoreError> {
        if self.slot.lock().await.connection.is_none() {
            return Ok(());
        }
        self.settle().await
    }

    /// Makes the next operation behave as after a failed flush.
    #[cfg(test)]
    pub(super) async fn pretend_flush_failed(&self) {
        let mut slot = self.slot.lock().await;
        slot.connection = None;
        slot.must_verify = true;
    }
}

impl Slot {
    /// Passes a result on; after a failed flush nothing is written until the database was verified.
    fn note_flush<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.must_verify |= matches!(result, Err(StoreError::FlushFailed(_)));
        result
    }
}

impl<'a> Lease<'a> {
    fn new(connection: SqliteConnection, slot: MutexGuard<'a, Slot>) -> Self {
        Self {
            connection,
            may_repeat: false,
            slot,
        }
    }

    /// Moves everything from the journal into the logs; the connection is closed if that fails.
    async fn settled(mut self) -> Result<Lease<'a>, StoreError> {
        if !self.slot.journal.unsettled().is_empty() {
            let settled = self.slot.journal.settle(&mut self.connection).await;
            self.slot.note_flush(settled)?;
            // Some may be quarantined now; in the logs, heads are as they were remembered.
            self.slot.remembered.forget();
        }
        Ok(self)
    }

    /// Ends the operation: the connection goes back if it succeeded, and is closed if not.
    pub(super) fn finish<T, E: Into<StoreError>>(
        self,
        result: Result<T, E>,
    ) -> Result<T, StoreError> {
        let Self {
            connection,
            mut slot,
            ..
        } = self;
        let value = slot.note_flush(result.map_err(Into::into))?;
        slot.connection = Some(connection);
        Ok(value)
    }

    /// The connection, what commits remember of documents, and whether any of the batch that it was
    /// leased for may be stored already.
    pub(super) fn commit_parts(&mut self) -> (&mut SqliteConnection, &mut Remembered, bool) {
        (
            &mut self.connection,
            &mut self.slot.remembered,
            self.may_repeat,
        )
    }

    /// What waits to be moved into the logs.
    pub(super) fn journal(&self) -> &Journal {
        &self.slot.journal
    }

    /// Notes what a commit wrote.
    pub(super) fn journaled(&mut self, rows: u64, bytes: u64) {
        self.slot.journal.add(rows, bytes);
        self.slot.wal.add(journal::wal_bytes(rows, bytes));
    }

    /// Moves some documents' rows from the journal into their logs.
    pub(super) async fn move_slice(&mut self) -> Result<(), StoreError> {
        let moved = self.slot.journal.move_slice(&mut self.connection).await?;
        self.slot.wal.add(moved.bytes);
        // They are quarantined now, which the next commit has to find out.
        self.slot.remembered.forget_documents(&moved.stuck);
        Ok(())
    }

    /// How much the write-ahead log holds since the last checkpoint.
    pub(super) fn wal(&mut self) -> &mut WalFill {
        &mut self.slot.wal
    }

    /// After a repair: what was committed last may have been cut away on purpose.
    pub(super) fn forget_last_commit(&mut self) {
        self.slot.last_commit = None;
    }

    /// Notes an append that is now durable.
    pub(super) fn committed(&mut self, last: LastCommit) {
        self.slot.last_commit = Some(last);
    }
}

/// Proves that the disk takes writes again and that what was acknowledged is still there.
///
/// A failed flush may leave pages that the system believes written. The checkpoint before wrote every
/// page of the log into the database once more and flushed both; only then is anything trusted.
async fn verify(
    connection: &mut SqliteConnection,
    last: Option<LastCommit>,
) -> Result<(), StoreError> {
    let Some(last) = last else {
        return Ok(());
    };
    // In the journal, if its document's log takes no more rows.
    let waits: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM journal WHERE document_id = ? AND sequence = ? AND id = ?",
    )
    .bind(last.document_id)
    .bind(last.sequence as i64)
    .bind(&last.id[..])
    .fetch_optional(&mut *connection)
    .await?;
    if waits.is_some() {
        return Ok(());
    }
    let head: Option<i64> = sqlx::query_scalar("SELECT head FROM documents WHERE id = ?")
        .bind(last.document_id)
        .fetch_optional(&mut *connection)
        .await?;
    let id: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT id FROM appends WHERE document_id = ? AND sequence = ?")
            .bind(last.document_id)
            .bind(last.sequence as i64)
            .fetch_optional(connection)
            .await?;
    let is_kept = head.is_some_and(|head| head as u64 >= last.sequence);
    // The row itself may have been trimmed or deleted since; another one in its place is loss.
    if is_kept && id.is_none_or(|id| id == last.id) {
        return Ok(());
    }
    Err(StoreError::Damaged(
        "an acknowledged change is missing after a failed flush; restore a backup".to_owned(),
    ))
}

/// Opens a transaction that takes the write lock at once.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await?;
    Ok(())
}

/// Makes the transaction durable.
pub(super) async fn end(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

/// Gives the transaction up and keeps the connection.
pub(super) async fn roll_back(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("ROLLBACK").execute(connection).await?;
    Ok(())
}
