//! Snapshots, the horizon of history, and the sizes from which housekeeping decides.

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::super::checksum::snapshot_checksum;
use super::super::sql::{kind_name, signed};
use super::super::{LogStats, Snapshot, SnapshotKind, StatsFilter, StatsPage, StoreError};
use super::load::{DocumentRow, locked_row, number};
use super::statement;
use super::transaction::{begin, begin_snapshot};

/// Documents looked at in one step of a scan: a few milliseconds of one reader.
const SCAN_DOCUMENTS: u64 = 50_000;

/// A try is doubted until its node reaches the server again. What one stored that is forgotten by then
/// may be stored twice, which loads trim.
const ATTEMPTS_KEPT_SECONDS: f64 = 3_600.0;

/// Tries that one statement removes.
const ATTEMPTS_PER_STEP: i64 = 10_000;

/// Stores the latest state and marks the log it covers, in one transaction.
pub(super) async fn save_snapshot(
    connection: &mut PgConnection,
    document: &DocumentName,
    epoch: u64,
    snapshot: &Snapshot,
) -> Result<bool, StoreError> {
    let row = accepting_row(connection, document, epoch, snapshot).await?;
    let Some(row) = row else {
        return Ok(false);
    };
    put_snapshot(connection, document, &row, SnapshotKind::Latest, snapshot).await?;
    statement::query(
        "UPDATE documents SET covered_sequence = $2, covered_bytes = covered_bytes + \
         (SELECT coalesce(sum(length(content)), 0) FROM appends \
          WHERE document_id = $1 AND sequence > covered_sequence AND sequence <= $2) \
         WHERE id = $1",
    )
    .bind(row.id)
    .bind(signed(snapshot.sequence))
    .execute(&mut *connection)
    .await?;
    Ok(true)
}

/// Moves the horizon of history to the snapshot, in one transaction. Only numbers move: the rows
/// below the horizon are removed in steps by [`trim`].
pub(super) async fn save_base(
    connection: &mut PgConnection,
    document: &DocumentName,
    epoch: u64,
    snapshot: &Snapshot,
) -> Result<bool, StoreError> {
    let row = locked_row(connection, document).await?.filter(|row| {
        row.epoch == epoch
            && row.floor_sequence < snapshot.sequence
            && snapshot.sequence <= row.head
    });
    let Some(row) = row else {
        return Ok(false);
    };
    put_snapshot(connection, document, &row, SnapshotKind::Base, snapshot).await?;
    // An older latest state is of no use: loads start from the base, which is newer.
    statement::query(
        "DELETE FROM snapshots WHERE document_id = $1 AND kind = 'latest' AND sequence <= $2",
    )
    .bind(row.id)
    .bind(signed(snapshot.sequence))
    .execute(&mut *connection)
    .await?;
    statement::query(
        "UPDATE documents SET floor_sequence = $2, floor_bytes = floor_bytes + \
         (SELECT coalesce(sum(length(content)), 0) FROM appends \
          WHERE document_id = $1 AND sequence > floor_sequence AND sequence <= $2), \
         oldest_ms = (SELECT time_ms FROM appends \
          WHERE document_id = $1 AND sequence > $2 ORDER BY sequence LIMIT 1) \
         WHERE id = $1",
    )
    .bind(row.id)
    .bind(signed(snapshot.sequence))
    .execute(&mut *connection)
    .await?;
    statement::query(
        "UPDATE documents SET covered_sequence = floor_sequence, covered_bytes = floor_bytes \
         WHERE id = $1 AND covered_sequence < floor_sequence",
    )
    .bind(row.id)
    .execute(&mut *connection)
    .await?;
    Ok(true)
}

/// Removes up to `rows_max` rows at or below the horizon; true when more remain.
pub(super) async fn trim(
    connection: &mut PgConnection,
    document: &DocumentName,
    rows_max: u32,
) -> Result<bool, StoreError> {
    let row = statement::query(
        "SELECT id, floor_sequence, least(floor_sequence, trimmed_sequence + $2) \
         FROM documents WHERE name = $1 FOR NO KEY UPDATE",
    )
    .bind(document.as_str().as_bytes())
    .bind(i64::from(rows_max))
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let id: i64 = row.try_get(0)?;
    let (floor, upto) = (number(&row, 1)?, number(&row, 2)?);
    statement::query("DELETE FROM appends WHERE document_id = $1 AND sequence <= $2")
        .bind(id)
        .bind(signed(upto))
        .execute(&mut *connection)
        .await?;
    statement::query("UPDATE documents SET trimmed_sequence = $2 WHERE id = $1")
        .bind(id)
        .bind(signed(upto))
        .execute(&mut *connection)
        .await?;
    Ok(upto < floor)
}

/// One step of a scan over the documents' sizes.
pub(super) async fn scan_stats(
    readers: &PgPool,
    filter: &StatsFilter,
    cursor: u64,
) -> Result<StatsPage, StoreError> {
    let upto = cursor.saturating_add(SCAN_DOCUMENTS);
    let mut transaction = begin_snapshot(readers).await?;
    let rows = statement::query(
        "SELECT name, epoch, head, head - covered_sequence, log_bytes - covered_bytes, \
           head - floor_sequence, log_bytes - floor_bytes, oldest_ms, \
           trimmed_sequence < floor_sequence \
         FROM documents WHERE id > $1 AND id <= $2 AND quarantine IS NULL AND \
           (head - covered_sequence > $3 OR log_bytes - covered_bytes > $4 OR oldest_ms < $5 \
            OR log_bytes - floor_bytes > $6 OR trimmed_sequence < floor_sequence)",
    )
    .bind(signed(cursor))
    .bind(signed(upto))
    .bind(signed(filter.uncovered_appends))
    .bind(signed(filter.uncovered_bytes))
    .bind(signed(filter.oldest_before_ms))
    .bind(signed(filter.kept_bytes))
    .fetch_all(&mut *transaction)
    .await?;
    let last: Option<i64> = statement::query_scalar("SELECT max(id) FROM documents")
        .fetch_one(&mut *transaction)
        .await?;
    Ok(StatsPage {
        stats: rows.iter().map(stats_of).collect::<Result<_, _>>()?,
        next: last.filter(|last| *last > signed(upto)).map(|_| upto),
    })
}

fn stats_of(row: &PgRow) -> Result<LogStats, StoreError> {
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
pub(super) fn name_of(row: &PgRow, index: usize) -> Result<DocumentName, StoreError> {
    let bytes: &[u8] = row.try_get(index)?;
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|name| DocumentName::new(name).ok())
        .ok_or_else(|| StoreError::Damaged("a stored document name is not valid".to_owned()))
}

/// The document's row, if a latest snapshot at this place is acceptable.
async fn accepting_row(
    connection: &mut PgConnection,
    document: &DocumentName,
    epoch: u64,
    snapshot: &Snapshot,
) -> Result<Option<DocumentRow>, StoreError> {
    let Some(row) = locked_row(connection, document).await? else {
        return Ok(None);
    };
    let newest: Option<i64> = statement::query_scalar(
        "SELECT max(sequence) FROM snapshots WHERE document_id = $1 AND epoch = $2",
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
    connection: &mut PgConnection,
    document: &DocumentName,
    row: &DocumentRow,
    kind: SnapshotKind,
    snapshot: &Snapshot,
) -> Result<(), sqlx::Error> {
    let checksum = snapshot_checksum(document, row.epoch, snapshot.sequence, &snapshot.state);
    statement::query(
        "INSERT INTO snapshots (document_id, kind, epoch, sequence, checksum, state) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (document_id, kind) DO UPDATE SET \
           epoch = excluded.epoch, sequence = excluded.sequence, checksum = excluded.checksum, \
           state = excluded.state",
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

/// Removes some of the tries that nobody doubts any more; true when more remain.
pub(super) async fn forget_attempts(pool: &PgPool) -> Result<bool, StoreError> {
    let mut transaction = begin(pool).await?;
    let gone = statement::query(
        "DELETE FROM attempts WHERE id IN (SELECT id FROM attempts \
         WHERE made_at < clock_timestamp() - make_interval(secs => $1) LIMIT $2)",
    )
    .bind(ATTEMPTS_KEPT_SECONDS)
    .bind(ATTEMPTS_PER_STEP)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(gone.rows_affected() >= ATTEMPTS_PER_STEP as u64)
}
