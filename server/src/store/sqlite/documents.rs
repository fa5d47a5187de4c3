//! Documents as a whole: delete, freeze, list.

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::super::sql::{behind_prefix, first_name};
use super::super::{DocumentSummary, StoreError, tombstone};
use super::history::name_of;
use super::load::{document_row, number};
use super::writer::{begin, end, roll_back};

/// Ends the epoch in one transaction: nothing of it is readable from here on. The log's rows are
/// below the new floor then, and go in bounded steps (`history::trim`).
pub(super) async fn end_epoch(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    vector: &[u8],
) -> Result<u64, StoreError> {
    begin(connection).await?;
    let Some(row) = document_row(connection, document).await? else {
        roll_back(connection).await?;
        return Err(StoreError::NotFound);
    };
    let merged = tombstone::merge(row.tombstone.as_deref(), vector)
        .map_err(|error| StoreError::Refused(error.to_string()))?;
    sqlx::query("DELETE FROM snapshots WHERE document_id = ?")
        .bind(row.id)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM client_owners WHERE document_id = ?")
        .bind(row.id)
        .execute(&mut *connection)
        .await?;
    // Rows that could not be moved into a damaged log; their numbers are not given again.
    sqlx::query(
        "UPDATE documents SET head = max(head, (SELECT coalesce(max(sequence), 0) FROM journal \
         WHERE document_id = ?1)) WHERE id = ?1",
    )
    .bind(row.id)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM journal WHERE document_id = ?")
        .bind(row.id)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE documents SET epoch = epoch + 1, epoch_start = head, covered_sequence = head, \
         floor_sequence = head, log_bytes = 0, covered_bytes = 0, floor_bytes = 0, \
         oldest_ms = NULL, quarantine = NULL, tombstone = ? WHERE id = ?",
    )
    .bind(&merged[..])
    .bind(row.id)
    .execute(&mut *connection)
    .await?;
    end(connection).await?;
    Ok(row.epoch + 1)
}

/// Freezes or releases a document.
pub(super) async fn set_quarantine(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE documents SET quarantine = ? WHERE name = ?")
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
    readers: &SqlitePool,
    prefix: &str,
    after: Option<&DocumentName>,
    limit: u32,
) -> Result<Vec<DocumentSummary>, StoreError> {
    let rows = sqlx::query(
        "SELECT name, epoch, newest, newest - floor_sequence, \
           log_bytes + coalesce(bytes, 0) - floor_bytes + \
           (SELECT coalesce(sum(length(state)), 0) FROM snapshots WHERE document_id = id), \
           max(changed_ms, coalesce(written_ms, 0)), quarantine, epoch > 1 AND newest = epoch_start \
         FROM (SELECT documents.*, coalesce(unmoved.head, documents.head) AS newest, bytes, written_ms \
           FROM documents LEFT JOIN (SELECT journal.document_id, max(journal.sequence) AS head, \
               sum(length(journal.content)) AS bytes, max(journal.time_ms) AS written_ms \
             FROM journal CROSS JOIN documents ON documents.id = journal.document_id \
             WHERE journal.sequence > documents.head GROUP BY journal.document_id) AS unmoved \
           ON unmoved.document_id = documents.id \
           WHERE name >= ?1 AND (?2 IS NULL OR name < ?2) ORDER BY name LIMIT ?3) \
         ORDER BY name",
    )
    .bind(first_name(prefix, after))
    .bind(behind_prefix(prefix))
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await?;
    rows.iter().map(summary_of).collect()
}

fn summary_of(row: &SqliteRow) -> Result<DocumentSummary, StoreError> {
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
