//! Statements without a name: a name that one connection prepared is not there, or is another's, behind a
//! proxy that pools transactions, and without a cache nobody would ever remove it from the server.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryScalar};
use sqlx::{Decode, FromRow, Postgres, SqlSafeStr, Type};

/// A statement with results, or none.
pub(super) fn query<'q>(sql: impl SqlSafeStr) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

/// A statement with one value a row.
pub(super) fn query_scalar<'q, T>(sql: impl SqlSafeStr) -> QueryScalar<'q, Postgres, T, PgArguments>
where
    (T,): for<'r> FromRow<'r, PgRow>,
    T: Type<Postgres> + for<'r> Decode<'r, Postgres>,
{
    sqlx::query_scalar(sql).persistent(false)
}
