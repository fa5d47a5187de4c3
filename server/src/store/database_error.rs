//! Errors of databases as store errors: each backend reads its own codes.

use sqlx::postgres::PgDatabaseError;

use super::{StoreError, postgres, sqlite};

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let told = error.as_database_error();
        let is_postgres = told.is_some_and(|it| it.try_downcast_ref::<PgDatabaseError>().is_some());
        // What no database said reads alike for both: a broken connection, a value of a wrong type.
        if is_postgres {
            postgres::store_error(&error)
        } else {
            sqlite::store_error(&error)
        }
    }
}
