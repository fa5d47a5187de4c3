//! SQLite's result codes, told as store errors.

use super::super::StoreError;

// https://www.sqlite.org/rescode.html
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;

const IOERR_SHORT_READ: i32 = 522;
const IOERR_WRITE: i32 = 778;
const IOERR_FSYNC: i32 = 1034;
const IOERR_DIR_FSYNC: i32 = 1290;
const IOERR_TRUNCATE: i32 = 1546;
const IOERR_CLOSE: i32 = 4106;
const IOERR_DATA: i32 = 8202;
const IOERR_CORRUPTFS: i32 = 8458;

/// The primary code is the low byte of the extended one.
const PRIMARY_MASK: i32 = 0xff;

/// SQLite's extended result code of an error, if it comes from SQLite.
pub(super) fn result_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// True when stored data is unreadable or wrong, as against out of reach.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(store_error(error), StoreError::Damaged(_))
}

/// What the error means for the caller of a store.
pub(in super::super) fn store_error(error: &sqlx::Error) -> StoreError {
    let text = error.to_string();
    match error {
        sqlx::Error::Io(io) => return io_error(io, text),
        // A value of the wrong type, or a null where none is written: not what was stored.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            return StoreError::Damaged(text);
        }
        _ => {}
    }
    let Some(code) = result_code(error) else {
        return StoreError::Unavailable(text);
    };
    match code {
        IOERR_FSYNC | IOERR_DIR_FSYNC | IOERR_WRITE | IOERR_TRUNCATE | IOERR_CLOSE => {
            StoreError::FlushFailed(text)
        }
        IOERR_SHORT_READ | IOERR_DATA | IOERR_CORRUPTFS => StoreError::Damaged(text),
        _ => match code & PRIMARY_MASK {
            FULL | READONLY => StoreError::DiskFull(text),
            // A broken constraint means that rows contradict what was read before: an index and
            // its table disagree.
            CORRUPT | NOTADB | CONSTRAINT => StoreError::Damaged(text),
            // Trying again with the same bytes never helps.
            TOOBIG => StoreError::Refused(format!("more than the database can hold: {text}")),
            BUSY | LOCKED | CANTOPEN | IOERR => StoreError::Unavailable(text),
            // What is not known to be about the data is taken to pass: retrying loses nothing.
            _ => StoreError::Unavailable(text),
        },
    }
}

fn io_error(error: &std::io::Error, text: String) -> StoreError {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | ReadOnlyFilesystem => StoreError::DiskFull(text),
        _ => StoreError::Unavailable(text),
    }
}
