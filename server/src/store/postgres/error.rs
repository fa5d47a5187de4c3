//! PostgreSQL's error codes, told as store errors.

use super::super::StoreError;

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const DATA_CORRUPTED: &str = "XX001";
const INDEX_CORRUPTED: &str = "XX002";
const READ_ONLY_TRANSACTION: &str = "25006";
const DISK_FULL: &str = "53100";
const PROGRAM_LIMIT_EXCEEDED: &str = "54";

/// True when stored data is unreadable or wrong, as against out of reach.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(store_error(error), StoreError::Damaged(_))
}

/// What the error means for the caller of a store.
pub(in super::super) fn store_error(error: &sqlx::Error) -> StoreError {
    let text = error.to_string();
    if matches!(
        error,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)
    ) {
        return StoreError::Damaged(text);
    }
    let code = error.as_database_error().and_then(|it| it.code());
    let Some(code) = code.as_deref() else {
        return StoreError::Unavailable(text);
    };
    match code {
        DATA_CORRUPTED | INDEX_CORRUPTED => StoreError::Damaged(text),
        DISK_FULL => StoreError::DiskFull(text),
        // A standby, or a server that was told to take no writes: it passes with a failover.
        READ_ONLY_TRANSACTION => StoreError::Unavailable(text),
        _ if code.starts_with(PROGRAM_LIMIT_EXCEEDED) => {
            StoreError::Refused(format!("more than the database can hold: {text}"))
        }
        // What is not known to be about the data is taken to pass, rights and missing tables among
        // it, which a person mends: retrying loses nothing.
        _ => StoreError::Unavailable(text),
    }
}
