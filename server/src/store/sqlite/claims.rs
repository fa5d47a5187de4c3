//! Owners of client ids: written with the append that brings them, read with the document.

use std::sync::LazyLock;

use driftless_proto::name::DocumentName;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::super::claims::{StoredClaim, owner_bytes};
use super::super::sql::signed;
use super::super::{Claim, StoreError};
use super::rows::RowStatement;

/// The first claim that is stored counts.
static INSERT_CLAIMS: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "INSERT OR IGNORE INTO client_owners (document_id, epoch, client, sequence, owner) VALUES ",
        "(?,?,?,?,?)",
        "",
    )
});

/// A claim and where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewClaim<'a> {
    pub(super) document_id: i64,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) claim: &'a Claim,
}

/// Stores claims in the transaction that is open.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    claims: &[NewClaim<'_>],
) -> Result<(), sqlx::Error> {
    for (sql, chunk) in INSERT_CLAIMS.chunks(claims) {
        let mut query = sqlx::query(sql);
        for new in chunk {
            query = query
                .bind(new.document_id)
                .bind(signed(new.epoch))
                .bind(signed(new.claim.client))
                .bind(signed(new.sequence))
                .bind(owner_bytes(new.claim));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The owners that appends behind `after` brought.
pub(super) async fn owners(
    readers: &SqlitePool,
    document: &DocumentName,
    after: u64,
) -> Result<Vec<Claim>, StoreError> {
    let mut connection = readers.acquire().await?;
    let claims = read(&mut connection, document, after).await?;
    Ok(claims.into_iter().map(|stored| stored.claim).collect())
}

/// The claims of appends behind `after`, in the document's present epoch, by client.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    after: u64,
) -> Result<Vec<StoredClaim>, StoreError> {
    let rows = sqlx::query(
        "SELECT sequence, client, owner FROM client_owners \
         JOIN documents ON documents.id = document_id AND documents.epoch = client_owners.epoch \
         WHERE documents.name = ? AND sequence > ? ORDER BY client",
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
