//! Snapshots, the horizon of history, and the sizes from which housekeeping decides.

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::super::checksum::snapshot_checksum;
use super::super::sql::{kind_name, signed};
use super::super::{LogStats, Snapshot, SnapshotKind, StatsFilter, StatsPage, StoreError};
use super::load::{DocumentRow, document_row, number};
use super::writer::{begin, end, roll_back};

/// Documents looked at in one step of a scan: a few milliseconds of one reader.
const SCAN_DOCUMENTS: u64 = 50_000;

/// Stores the latest state and marks the log it covers, in one transaction.
pub(super) async fn save_snapshot(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    epoch: u64,
    snapshot: &Snapshot,
) -> Result<bool, StoreError> {
    begin(connection).await?;
    let row = accepting_row(connection, document, epoch, snapshot).await?;
    let Some(row) = row else {
        roll_back(connection).await?;
        return Ok(false);
    };
    put_snapshot(connection, document, &row, SnapshotKind::Latest, snapshot).await?;
    sqlx::query(
        "UPDATE documents SET covered_sequence = ?2, covered_bytes = covered_bytes + \
         (SELECT coalesce(sum(length(content)), 0) FROM appends \
          WHERE document_id = ?1 AND sequence > covered_sequence AND sequence <= ?2) \
         WHERE id = ?1",
    )
    .bind(row.id)
    .bind(signed(snapshot.sequence))
    .execute(&mut *connection)
    .await?;
    end(connection).await?;
    Ok(true)
}

/// Moves the horizon of history to the snapshot, in one transaction. Only numbers move: the rows
/// below the horizon are removed in steps by [`trim`].
pub(super) async fn save_base(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    epoch: u64,
    snapshot: &Snapshot,
) -> Result<bool, StoreError> {
    begin(connection).await?;
    let row = document_row(connection, document).await?.filter(|row| {
        row.epoch == epoch
            && row.floor_sequence < snapshot.sequence
            && snapshot.sequence <= row.head
    });
    let Some(row) = row else {
        roll_back(connection).await?;
        return Ok(false);
    };
    put_snapshot(connection, document, &row, SnapshotKind::Base, snapshot).await?;
    // An older latest state is of no use: loads start from the base, which is newer.
    sqlx::query(
        "DELETE FROM snapshots WHERE document_id = ? AND kind = 'latest' AND sequence <= ?",
    )
    .bind(row.id)
    .bind(signed(snapshot.sequence))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE documents SET floor_sequence = ?2, floor_bytes = floor_bytes + \
         (SELECT coalesce(sum(length(content)), 0) FROM appends \
          WHERE document_id = ?1 AND sequence > floor_sequence AND sequence <= ?2), \
         oldest_ms = (SELECT time_ms FROM appends \
          WHERE document_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT 1) \
         WHERE id = ?1",
    )
    .bind(row.id)
    .bind(signed(snapshot.sequence))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE documents SET covered_sequence = floor_sequence, covered_bytes = floor_bytes \
         WHERE id = ? AND covered_sequence < floor_sequence",
    )
    .bind(row.id)
    .execute(&mut *connection)
    .await?;
    end(connection).await?;
    Ok(true)
}

/// Removes up to `rows_max` rows at or below the horizon; true when more remain.
pub(super) async fn trim(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    rows_max: u32,
) -> Result<bool, StoreError> {
    begin(connection).await?;
    let row = sqlx::query(
        "SELECT id, floor_sequence, min(floor_sequence, trimmed_sequence + ?2) \
         FROM documents WHERE name = ?1",
    )
    .bind(document.as_str().as_bytes())
    .bind(i64::from(rows_max))
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        roll_back(connection).await?;
        return Ok(false);
    };
    let id: i64 = row.try_get(0)?;
    let (floor, upto) = (number(&row, 1)?, number(&row, 2)?);
    sqlx::query("DELETE FROM appends WHERE document_id = ? AND sequence <= ?")
        .bind(id)
        .bind(signed(upto))
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE documents SET trimmed_sequence = ?2 WHERE id = ?1")
        .bind(id)
        .bind(signed(upto))
        .execute(&mut *connection)
        .await?;
    end(connection).await?;
    Ok(upto < floor)
}

/// One step of a scan over the documents' sizes.
pub(super) async fn scan_stats(
    readers: &SqlitePool,
    filter: &StatsFilter,
    cursor: u64,
) -> Result<StatsPage, StoreError> {
    let upto = cursor.saturating_add(SCAN_DOCUMENTS);
    let mut transaction = readers.begin().await?;
    let rows = sqlx::query(
        "SELECT name, epoch, head, head - covered_sequence, log_bytes - covered_bytes, \
           head - floor_sequence, log_bytes - floor_bytes, oldest_ms, \
           trimmed_sequence < floor_sequence \
         FROM documents WHERE id > ?1 AND id <= ?2 AND quarantine IS NULL AND \
           (head - covered_sequence > ?3 OR log_bytes - covered_bytes > ?4 OR oldest_ms < ?5 \
            OR log_bytes - floor_bytes > ?6 OR trimmed_sequence < floor_sequence)",
    )
    .bind(signed(cursor))
    .bind(signed(upto))
    .bind(signed(filter.uncovered_appends))
    .bind(signed(filter.uncovered_bytes))
    .bind(signed(filter.oldest_before_ms))
    .bind(signed(filter.kept_bytes))
    .fetch_all(&mut *transaction)
    .await?;
    let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM documents")
        .fetch_one(&mut *transaction)
        .await?;
    Ok(StatsPage {
        stats: rows.iter().map(stats_of).collect::<Result<_, _>>()?,
        next: last.filter(|last| *last > signed(upto)).map(|_| upto),
    })
}

fn stats_of(row: &SqliteRow) -> Result<LogStats, StoreError> {
    Ok(LogStats {
        document: name_of(row, 0)?,
        epoch: number(row, 1)?,
        head: number(row, 2)?,
        uncovered_appends: number(row, 3)?,
        uncovered_bytes: number(row, 4)?,
        kept_appends: number(row, 5)?,
        kept_bytes: number(row, 6)?,
        oldest_ms: row
            .try_get::<Option<i64>, _>(7)?
            .map(|oldest_ms| oldest_ms as u64),
        has_dead_rows: row.try_get(8)?,
    })
}

/// A document's name as it is stored.
pub(super) fn name_of(row: &SqliteRow, index: usize) -> Result<DocumentName, StoreError> {
    let bytes: &[u8] = row.try_get(index)?;
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|name| DocumentName::new(name).ok())
        .ok_or_else(|| StoreError::Damaged("a stored document name is not valid".to_owned()))
}

/// The document's row, if a latest snapshot at this place is acceptable.
async fn accepting_row(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    epoch: u64,
    snapshot: &Snapshot,
) -> Result<Option<DocumentRow>, StoreError> {
    let Some(row) = document_row(connection, document).await? else {
        return Ok(None);
    };
    let newest: Option<i64> = sqlx::query_scalar(
        "SELECT max(sequence) FROM snapshots WHERE document_id = ? AND epoch = ?",
    )
    .bind(row.id)
    .bind(signed(row.epoch))
    .fetch_one(connection)
    .await?;
    let is_newest = newest.is_none_or(|newest| newest as u64 <= snapshot.sequence);
    let is_in_log = (row.floor_sequence..=row.head).contains(&snapshot.sequence);
    Ok((row.epoch == epoch && is_newest && is_in_log).then_some(row))
}

async fn put_snapshot(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    row: &DocumentRow,
    kind: SnapshotKind,
    snapshot: &Snapshot,
) -> Result<(), sqlx::Error> {
    let checksum = snapshot_checksum(document, row.epoch, snapshot.sequence, &snapshot.state);
    sqlx::query(
        "INSERT OR REPLACE INTO snapshots (document_id, kind, epoch, sequence, checksum, state) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(row.id)
    .bind(kind_name(kind))
    .bind(signed(row.epoch))
    .bind(signed(snapshot.sequence))
    .bind(i64::from(checksum))
    .bind(&snapshot.state[..])
    .execute(connection)
    .await?;
    Ok(())
}
