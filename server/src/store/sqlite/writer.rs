//! The one connection that writes, and what happens to it when something goes wrong.
//!
//! A connection is taken out for an operation and comes back only if that succeeded. After an
//! error or a cancelled call it is closed, which rolls back whatever was open, and the next
//! operation opens a new one. So no operation ever meets another's half-open transaction.

use std::path::PathBuf;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, MutexGuard};

use super::super::{Append, AppendId, StoreError};
use super::attempts::Attempts;
use super::checkpoint::{self, CheckpointMode, WalFill};
use super::commit::Remembered;
use super::open;

/// The place of the writing connection.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<SqliteConnection>,
    /// Set after a failed flush: nothing is written until the database was verified.
    must_verify: bool,
    is_closed: bool,
    wal: WalFill,
    last_commit: Option<LastCommit>,
    attempts: Attempts,
    remembered: Remembered,
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
    slot: MutexGuard<'a, Slot>,
}

impl Writer {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            slot: Mutex::default(),
        }
    }

    /// Takes the connection for what may change any row.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let mut lease = self.lease_beside_commits().await?;
        lease.slot.remembered.forget();
        Ok(lease)
    }

    /// Waits for the operation before, and takes the connection; opens one if there is none. For
    /// commits, and for what changes nothing that they remember of documents.
    pub(super) async fn lease_beside_commits(&self) -> Result<Lease<'_>, StoreError> {
        let mut slot = self.slot.lock().await;
        if slot.is_closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        let mut connection = match slot.connection.take() {
            Some(connection) => connection,
            None => {
                // Whatever ended the last one, its outcome is not known.
                slot.remembered.forget();
                open::open_writer(&self.path).await?
            }
        };
        if slot.must_verify {
            verify(&mut connection, slot.last_commit).await?;
            slot.must_verify = false;
            slot.wal = WalFill::default();
            tracing::info!("the database was reopened and verified after a failed flush");
        }
        Ok(Lease { connection, slot })
    }

    /// Closes the connection for good, with a last checkpoint.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.lock().await;
        slot.is_closed = true;
        if let Some(connection) = slot.connection.take() {
            connection.close().await?;
        }
        Ok(())
    }

    /// Makes the next operation behave as after a failed flush.
    #[cfg(test)]
    pub(super) async fn pretend_flush_failed(&self) {
        let mut slot = self.slot.lock().await;
        slot.connection = None;
        slot.must_verify = true;
    }
}

impl Lease<'_> {
    /// Ends the operation: the connection goes back if it succeeded, and is closed if not.
    pub(super) fn finish<T, E: Into<StoreError>>(
        self,
        result: Result<T, E>,
    ) -> Result<T, StoreError> {
        let Self {
            connection,
            mut slot,
        } = self;
        match result {
            Ok(value) => {
                slot.connection = Some(connection);
                Ok(value)
            }
            Err(error) => {
                let error = error.into();
                slot.must_verify |= matches!(error, StoreError::FlushFailed(_));
                Err(error)
            }
        }
    }

    /// The connection, and what commits remember of documents.
    pub(super) fn commit_parts(&mut self) -> (&mut SqliteConnection, &mut Remembered) {
        (&mut self.connection, &mut self.slot.remembered)
    }

    /// How much the write-ahead log holds since the last checkpoint.
    pub(super) fn wal(&mut self) -> &mut WalFill {
        &mut self.slot.wal
    }

    /// After a repair: what was committed last may have been cut away on purpose.
    pub(super) fn forget_last_commit(&mut self) {
        self.slot.last_commit = None;
    }

    /// Notes what is about to be committed; true when any of it may be stored already.
    pub(super) fn note_attempt(&mut self, batch: &[Append]) -> bool {
        self.slot.attempts.note(batch)
    }

    /// Notes an append that is now durable.
    pub(super) fn committed(&mut self, last: LastCommit) {
        self.slot.last_commit = Some(last);
    }
}

/// Proves that the disk takes writes again and that what was acknowledged is still there.
///
/// A failed flush may leave pages that the system believes written. The checkpoint writes every
/// page of the log into the database once more and flushes both; only then is anything trusted.
async fn verify(
    connection: &mut SqliteConnection,
    last: Option<LastCommit>,
) -> Result<(), StoreError> {
    checkpoint::run(connection, CheckpointMode::Truncate).await?;
    let Some(last) = last else {
        return Ok(());
    };
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
