//! Restrictions: a small table that is read whole.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::super::StoreError;
use super::super::restrictions::{Row, check_count, first_since_ms};
use super::super::sql::signed;
use super::statement;
use super::transaction::begin_snapshot;
use crate::access::Restriction;

/// All restrictions, by id.
pub(super) async fn list(readers: &PgPool) -> Result<Vec<Restriction>, StoreError> {
    let mut transaction = begin_snapshot(readers).await?;
    let rows = statement::query(
        "SELECT id, document, subject, token_id, right_max, since_ms, until_ms, \
         issued_before_ms, reason FROM restrictions ORDER BY id COLLATE \"C\"",
    )
    .fetch_all(&mut *transaction)
    .await?;
    rows.iter().map(read).collect()
}

/// Stores some; those of the same ids are replaced.
pub(super) async fn put(
    connection: &mut PgConnection,
    restrictions: &[Restriction],
) -> Result<(), StoreError> {
    // Who counts must not be overtaken by another who counts.
    statement::query("LOCK TABLE restrictions IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *connection)
        .await?;
    statement::query("DELETE FROM restrictions WHERE until_ms <= $1")
        .bind(signed(first_since_ms(restrictions)))
        .execute(&mut *connection)
        .await?;
    let all = |part: fn(&Restriction) -> Option<Vec<u8>>| -> Vec<_> {
        restrictions.iter().map(part).collect()
    };
    let text = |part: fn(&Restriction) -> &str| -> Vec<_> {
        restrictions
            .iter()
            .map(|one| part(one).to_owned())
            .collect()
    };
    let time = |part: fn(&Restriction) -> Option<u64>| -> Vec<_> {
        let times = restrictions.iter().map(|one| part(one).map(signed));
        times.collect()
    };
    statement::query(
        "INSERT INTO restrictions (id, document, subject, token_id, right_max, since_ms, \
           until_ms, issued_before_ms, reason) \
         SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[], $5::text[], \
           $6::bigint[], $7::bigint[], $8::bigint[], $9::text[]) \
         ON CONFLICT (id) DO UPDATE SET document = excluded.document, subject = excluded.subject, \
           token_id = excluded.token_id, right_max = excluded.right_max, \
           since_ms = excluded.since_ms, until_ms = excluded.until_ms, \
           issued_before_ms = excluded.issued_before_ms, reason = excluded.reason",
    )
    .bind(text(|one| &one.id))
    .bind(all(|one| bytes(&one.on.document)))
    .bind(all(|one| bytes(&one.on.subject)))
    .bind(all(|one| bytes(&one.on.token_id)))
    .bind(text(|one| one.right_max.as_str()))
    .bind(time(|one| Some(one.since_ms)))
    .bind(time(|one| one.until_ms))
    .bind(time(|one| one.issued_before_ms))
    .bind(text(|one| &one.reason))
    .execute(&mut *connection)
    .await?;
    let count = statement::query_scalar("SELECT count(*) FROM restrictions")
        .fetch_one(connection)
        .await?;
    check_count(count)
}

/// Removes one; false when it is not there.
pub(super) async fn remove(connection: &mut PgConnection, id: &str) -> Result<bool, StoreError> {
    let done = statement::query("DELETE FROM restrictions WHERE id = $1")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

fn bytes(text: &Option<String>) -> Option<Vec<u8>> {
    text.as_ref().map(|text| text.as_bytes().to_vec())
}

fn read(row: &PgRow) -> Result<Restriction, StoreError> {
    Row {
        id: row.try_get(0)?,
        selectors: [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?],
        right_max: row.try_get(4)?,
        times_ms: (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?),
        reason: row.try_get(8)?,
    }
    .read()
}
