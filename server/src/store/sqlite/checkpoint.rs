//! When and how the write-ahead log moves into the database, and freed pages to the file system.
//!
//! Policy: no automatic checkpoint inside a commit. After acknowledgements have left, the writer
//! runs a passive checkpoint once enough was written since the last one; passive never waits for
//! readers, and since nobody else writes it covers the whole log, which then starts over. A long
//! read (a backup) can hold it up; the log grows by what is written meanwhile and shrinks after.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;

/// The write-ahead log stays below about twice as much, and a checkpoint below about 50 ms.
const BYTES_BETWEEN_CHECKPOINTS: u64 = 4 << 20;

/// Bytes that the write-ahead log holds since the last checkpoint, by our own count.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct WalFill(u64);

impl WalFill {
    pub(super) fn add(&mut self, bytes: u64) {
        self.0 = self.0.saturating_add(bytes);
    }

    pub(super) fn is_due(self) -> bool {
        self.0 >= BYTES_BETWEEN_CHECKPOINTS
    }
}

/// How far a checkpoint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckpointMode {
    /// As far as readers allow, without waiting.
    Passive,
    /// All of it, waiting for readers, and the log's file is emptied.
    Truncate,
}

/// Moves the write-ahead log into the database and flushes it.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    mode: CheckpointMode,
) -> Result<(), StoreError> {
    let statement = match mode {
        CheckpointMode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        CheckpointMode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let row = sqlx::query(statement).fetch_one(connection).await?;
    let is_busy: i64 = row.try_get(0)?;
    if mode == CheckpointMode::Truncate && is_busy != 0 {
        return Err(StoreError::Unavailable(
            "a long read keeps the write-ahead log busy".to_owned(),
        ));
    }
    Ok(())
}

/// Gives up to `pages_max` free pages back to the file system; true when more remain.
pub(super) async fn vacuum_step(
    connection: &mut SqliteConnection,
    pages_max: u64,
) -> Result<bool, sqlx::Error> {
    let before = super::open::pragma(connection, "PRAGMA freelist_count").await?;
    if before == 0 || pages_max == 0 {
        return Ok(before > 0);
    }
    let statement = format!("PRAGMA incremental_vacuum({pages_max})");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut *connection)
        .await?;
    let after = super::open::pragma(connection, "PRAGMA freelist_count").await?;
    // A database created without auto-vacuum never shrinks: do not ask again and again.
    Ok(after > 0 && after < before)
}
