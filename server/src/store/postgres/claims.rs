//! Owners of client ids: written by the function that stores the append that brings them.

use driftless_proto::name::DocumentName;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgPool};

use super::super::claims::StoredClaim;
use super::super::sql::signed;
use super::super::{Append, Claim, StoreError};
use super::statement;
use super::transaction::begin_snapshot;

/// The claims of a batch, each with the place of its append, from 1.
pub(super) fn of_batch(batch: &[Append]) -> Vec<(i64, &Claim)> {
    let of_append = |(append, place): (_, i64)| -> Vec<(i64, &Claim)> {
        let append: &Append = append;
        append.claims.iter().map(|claim| (place, claim)).collect()
    };
    batch.iter().zip(1..).flat_map(of_append).collect()
}

/// The owners that appends behind `after` brought.
pub(super) async fn owners(
    pool: &PgPool,
    document: &DocumentName,
    after: u64,
) -> Result<Vec<Claim>, StoreError> {
    let mut transaction = begin_snapshot(pool).await?;
    let claims = read(&mut transaction, document, after).await?;
    Ok(claims.into_iter().map(|stored| stored.claim).collect())
}

/// The claims of appends behind `after`, in the document's present epoch, by client.
pub(super) async fn read(
    connection: &mut PgConnection,
    document: &DocumentName,
    after: u64,
) -> Result<Vec<StoredClaim>, StoreError> {
    let rows = statement::query(
        "SELECT sequence, client, owner FROM client_owners \
         JOIN documents ON documents.id = document_id AND documents.epoch = client_owners.epoch \
         WHERE documents.name = $1 AND sequence > $2 ORDER BY client",
    )
    .bind(document.as_str().as_bytes())
    .bind(signed(after))
    .fetch_all(connection)
    .await?;
    let claim = rows
        .iter()
        .map(|row| StoredClaim::read(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    claim.collect()
}
