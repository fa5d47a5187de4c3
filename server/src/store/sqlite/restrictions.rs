//! Restrictions: a small table that is read whole.

use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Row as _, query, query_scalar};

use super::super::StoreError;
use super::super::restrictions::{Row, check_count, first_since_ms};
use super::super::sql::signed;
use super::writer::{begin, end, roll_back};
use crate::access::Restriction;

/// All restrictions, by id.
pub(super) async fn list(readers: &SqlitePool) -> Result<Vec<Restriction>, StoreError> {
    let rows = query(
        "SELECT id, document, subject, token_id, right_max, since_ms, until_ms, \
         issued_before_ms, reason FROM restrictions ORDER BY id",
    )
    .fetch_all(readers)
    .await?;
    rows.iter().map(read).collect()
}

/// Stores some, in one transaction; those of the same ids are replaced.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    restrictions: &[Restriction],
) -> Result<(), StoreError> {
    begin(connection).await?;
    query("DELETE FROM restrictions WHERE until_ms <= ?")
        .bind(signed(first_since_ms(restrictions)))
        .execute(&mut *connection)
        .await?;
    for one in restrictions {
        let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        query("INSERT OR REPLACE INTO restrictions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(&one.id)
            .bind(bytes(&one.on.document))
            .bind(bytes(&one.on.subject))
            .bind(bytes(&one.on.token_id))
            .bind(one.right_max.as_str())
            .bind(signed(one.since_ms))
            .bind(one.until_ms.map(signed))
            .bind(one.issued_before_ms.map(signed))
            .bind(&one.reason)
            .execute(&mut *connection)
            .await?;
    }
    let count = query_scalar("SELECT count(*) FROM restrictions")
        .fetch_one(&mut *connection)
        .await?;
    if let Err(full) = check_count(count) {
        roll_back(connection).await?;
        return Err(full);
    }
    Ok(end(connection).await?)
}

/// Removes one; false when it is not there.
pub(super) async fn remove(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<bool, StoreError> {
    let done = query("DELETE FROM restrictions WHERE id = ?")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

fn read(row: &SqliteRow) -> Result<Restriction, StoreError> {
    Row {
        id: row.try_get(0)?,
        selectors: [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?],
        right_max: row.try_get(4)?,
        times_ms: (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?),
        reason: row.try_get(8)?,
    }
    .read()
}
