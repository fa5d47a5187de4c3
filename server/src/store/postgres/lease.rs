//! The lease under which one node keeps house for all, and the token that ends a former holder's work.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool};

use super::super::StoreError;
use super::statement;
use super::transaction::begin;

/// The only lease there is so far.
const NAME: &str = "housekeeping";

/// Stands for no token: then nothing is fenced, as for commands that work on a cluster at rest.
const NO_TOKEN: i64 = 0;

/// This process's part in the lease.
#[derive(Debug)]
pub(super) struct Lease {
    /// Tells this process from others.
    holder: String,
    token: AtomicI64,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            holder: format!("{:032x}", fastrand::u128(..)),
            token: AtomicI64::new(NO_TOKEN),
        }
    }
}

impl Lease {
    /// Takes the lease, or prolongs it, by the database's clock; false when another process has it.
    pub(super) async fn take(&self, pool: &PgPool, time: Duration) -> Result<bool, StoreError> {
        let mut transaction = begin(pool).await?;
        let token: Option<i64> = statement::query_scalar(
            "INSERT INTO leases AS lease (name, holder, token, expires_at) \
             VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3)) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
               token = lease.token + (lease.holder <> excluded.holder)::int, \
               expires_at = excluded.expires_at \
             WHERE lease.holder = excluded.holder OR lease.expires_at < clock_timestamp() \
             RETURNING token",
        )
        .bind(NAME)
        .bind(&self.holder)
        .bind(time.as_secs_f64())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        if let Some(token) = token {
            self.token.store(token, Ordering::Release);
        }
        Ok(token.is_some())
    }

    /// Makes a transaction hold only while the token is the newest; a new holder waits for its end.
    pub(super) async fn guard(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let token = self.token.load(Ordering::Acquire);
        if token == NO_TOKEN {
            return Ok(());
        }
        let newest: Option<i64> =
            statement::query_scalar("SELECT token FROM leases WHERE name = $1 FOR SHARE")
                .bind(NAME)
                .fetch_optional(connection)
                .await?;
        if newest == Some(token) {
            return Ok(());
        }
        Err(StoreError::Unavailable(
            "another node keeps house by now".to_owned(),
        ))
    }
}
