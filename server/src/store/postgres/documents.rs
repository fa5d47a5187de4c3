//! Documents as a whole: delete, freeze, list.

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::super::sql::{behind_prefix, first_name};
use super::super::{DocumentSummary, StoreError, tombstone};
use super::history::name_of;
use super::load::{locked_row, number};
use super::statement;
use super::transaction::begin_snapshot;

/// Ends the epoch in one transaction: nothing of it is readable from here on. The log's rows are
/// below the new floor then, and go in bounded steps (`history::trim`).
pub(super) async fn end_epoch(
    connection: &mut PgConnection,
    document: &DocumentName,
    vector: &[u8],
) -> Result<u64, StoreError> {
    let Some(row) = locked_row(connection, document).await? else {
        return Err(StoreError::NotFound);
    };
    let merged = tombstone::merge(row.tombstone.as_deref(), vector)
        .map_err(|error| StoreError::Refused(error.to_string()))?;
    statement::query("DELETE FROM snapshots WHERE document_id = $1")
        .bind(row.id)
        .execute(&mut *connection)
        .await?;
    statement::query("DELETE FROM client_owners WHERE document_id = $1")
        .bind(row.id)
        .execute(&mut *connection)
        .await?;
    statement::query(
        "UPDATE documents SET epoch = epoch + 1, epoch_start = head, covered_sequence = head, \
         floor_sequence = head, log_bytes = 0, covered_bytes = 0, floor_bytes = 0, \
         oldest_ms = NULL, quarantine = NULL, tombstone = $1 WHERE id = $2",
    )
    .bind(&merged[..])
    .bind(row.id)
    .execute(&mut *connection)
    .await?;
    Ok(row.epoch + 1)
}

/// Freezes or releases a document.
pub(super) async fn set_quarantine(
    connection: &mut PgConnection,
    document: &DocumentName,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let done = statement::query("UPDATE documents SET quarantine = $1 WHERE name = $2")
        .bind(reason)
        .bind(document.as_str().as_bytes())
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    Ok(())
}

/// Lists documents by name, compared as bytes.
pub(super) async fn list(
    readers: &PgPool,
    prefix: &str,
    after: Option<&DocumentName>,
    limit: u32,
) -> Result<Vec<DocumentSummary>, StoreError> {
    let mut transaction = begin_snapshot(readers).await?;
    let rows = statement::query(
        "SELECT name, epoch, head, head - floor_sequence, log_bytes - floor_bytes + \
           (SELECT coalesce(sum(length(state)), 0) FROM snapshots WHERE document_id = documents.id), \
           changed_ms, quarantine, epoch > 1 AND head = epoch_start \
         FROM documents WHERE name >= $1 AND ($2::bytea IS NULL OR name < $2) ORDER BY name LIMIT $3",
    )
    .bind(first_name(prefix, after))
    .bind(behind_prefix(prefix))
    .bind(i64::from(limit))
    .fetch_all(&mut *transaction)
    .await?;
    rows.iter().map(summary_of).collect()
}

fn summary_of(row: &PgRow) -> Result<DocumentSummary, StoreError> {
    Ok(DocumentSummary {
        name: name_of(row, 0)?,
        epoch: number(row, 1)?,
        head: number(row, 2)?,
        appends: number(row, 3)?,
        stored_bytes: number(row, 4)?,
        changed_ms: number(row, 5)?,
        quarantine: row.try_get(6)?,
        deleted: row.try_get(7)?,
    })
}
