//! The beginning of transactions, in a task of its own.
//!
//! A future that is dropped while it waits for the answer to BEGIN leaves a connection in the pool
//! that is in a transaction without knowing it (sqlx 0.9): whoever takes it next reads the past, or
//! may not write. Here BEGIN is always waited for; what nobody wants any more is rolled back.

use sqlx::postgres::PgPool;
use sqlx::{Postgres, Transaction};

use super::super::StoreError;

/// A transaction whose statements all see the database at one moment.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Begins a transaction that writes.
pub(super) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    let pool = pool.clone();
    waited_for(async move { pool.begin().await }).await
}

/// Begins a transaction that sees the database at one moment.
pub(super) async fn begin_snapshot(
    pool: &PgPool,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    let pool = pool.clone();
    waited_for(async move { pool.begin_with(SNAPSHOT).await }).await
}

async fn waited_for(
    beginning: impl Future<Output = Result<Transaction<'static, Postgres>, sqlx::Error>>
    + Send
    + 'static,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    match tokio::spawn(beginning).await {
        Ok(begun) => Ok(begun?),
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}
