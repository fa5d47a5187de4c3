//! Opening the database: whose file it is, which settings it needs, and proof that they hold.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};

use super::super::StoreError;
use super::super::schema::{Recorded, SchemaReport, compare};

/// "DRFT" in the file's header.
pub(super) const APPLICATION_ID: i64 = 0x4452_4654;

/// The schema this build writes; each migration sets it as SQLite's `user_version`.
pub(super) const SCHEMA_VERSION: i64 = 5;

/// Reads run beside the writer; more than this many only compete for the disk.
const READERS_MAX: u32 = 4;

/// How long a read may wait for one of the readers before the store counts as unavailable.
const READER_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long to wait for another process's lock (a backup tool, a shell) before giving up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer's page cache (negative: KiB): the tails of a thousand busy documents stay in memory.
const WRITER_CACHE: &str = "-65536";

/// A reader's page cache (negative: KiB).
const READER_CACHE: &str = "-8192";

/// Bytes that the write-ahead log's file keeps between checkpoints; a burst beyond is given back.
const WAL_KEPT_BYTES: &str = "67108864";

/// `PRAGMA synchronous` as a number: commits are flushed to disk.
const SYNCHRONOUS_FULL: i64 = 2;

/// `PRAGMA auto_vacuum` as a number: freed pages are given back in steps.
pub(super) const AUTO_VACUUM_INCREMENTAL: i64 = 2;

/// The embedded schema, recorded in a table of our own.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/sqlite");
    migrator.dangerous_set_table_name("driftless_migrations");
    migrator
}

/// Checks the file, brings its schema up to date, and returns the readers.
pub(super) async fn open(path: &Path) -> Result<SqlitePool, StoreError> {
    if path.exists() {
        check_owner(path).await?;
    }
    let creating = writer_options(path)
        .create_if_missing(true)
        // Takes effect on a new file only; setting it takes the write lock, so others do not.
        .auto_vacuum(SqliteAutoVacuum::Incremental);
    let mut writer = connect_writer(creating).await?;
    migrator()
        .run(&mut writer)
        .await
        .map_err(|error| migration_error(path, error))?;
    check_auto_vacuum(&mut writer).await?;
    writer.close().await?;
    let readers = careful(path)
        .pragma("query_only", "ON")
        .pragma("cache_size", READER_CACHE);
    Ok(SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(READER_WAIT_MAX)
        .test_before_acquire(false)
        .connect_lazy_with(readers))
}

/// Opens the one connection that writes, and proves that its commits are durable.
pub(super) async fn open_writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    connect_writer(writer_options(path)).await
}

async fn connect_writer(options: SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let mut connection = options.connect().await?;
    check_durable(&mut connection).await?;
    Ok(connection)
}

/// What the schema of a file is at; the file stays as it is, to the byte.
pub(super) async fn look(path: &Path) -> Result<SchemaReport, StoreError> {
    let mut connection = open_to_look(path).await?;
    check_owner_of(&mut connection, path).await?;
    let recorded = recorded(&mut connection).await?;
    connection.close().await?;
    compare(&path.display().to_string(), &recorded, &migrator())
}

async fn recorded(connection: &mut SqliteConnection) -> Result<Recorded, StoreError> {
    let is_there: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'driftless_migrations'",
    )
    .fetch_one(&mut *connection)
    .await?;
    if is_there == 0 {
        return Ok(Recorded::new());
    }
    let rows = sqlx::query("SELECT version, checksum FROM driftless_migrations")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Opens a database so that not even its write-ahead log is moved into it when that is closed.
pub(super) async fn open_to_look(path: &Path) -> Result<SqliteConnection, StoreError> {
    Ok(as_it_is(path).read_only(true).connect().await?)
}

/// Opens a database file for reading as it is, with no settings applied.
pub(super) async fn open_untouched(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = as_it_is(path).pragma("query_only", "ON");
    Ok(options.connect().await?)
}

/// Opens the database to copy it: the copy is written through the same connection.
pub(super) async fn open_for_backup(path: &Path) -> Result<SqliteConnection, StoreError> {
    Ok(as_it_is(path).connect().await?)
}

fn as_it_is(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

/// What every connection of the store is told: to trust the file as little as possible. None of it
/// needs a lock, so that readers can always be opened.
fn careful(path: &Path) -> SqliteConnectOptions {
    as_it_is(path)
        .foreign_keys(true)
        .pragma("cell_size_check", "ON")
        .pragma("trusted_schema", "OFF")
        .pragma("temp_store", "MEMORY")
}

fn writer_options(path: &Path) -> SqliteConnectOptions {
    careful(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Checkpoints run between commits (`checkpoint.rs`), never inside one.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", WAL_KEPT_BYTES)
        // macOS: make a flush reach the medium, not only the drive's cache. No effect elsewhere.
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
        .pragma("cache_size", WRITER_CACHE)
}

/// Refuses a file that another program or a newer version wrote, before anything touches it.
pub(super) async fn check_owner(path: &Path) -> Result<(), StoreError> {
    let mut connection = open_untouched(path).await?;
    check_owner_of(&mut connection, path).await?;
    Ok(connection.close().await?)
}

async fn check_owner_of(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let application_id = pragma(connection, "PRAGMA application_id").await?;
    let version = pragma(connection, "PRAGMA user_version").await?;
    // The table of migrations comes first, before the mark: a process that was killed between the two
    // leaves it alone.
    let objects: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> 'driftless_migrations'",
    )
    .fetch_one(&mut *connection)
    .await?;
    if application_id != APPLICATION_ID && (objects > 0 || application_id != 0) {
        return Err(StoreError::Refused(format!(
            "{} is a database of another program; nothing was changed in it; choose another \
             folder with --data",
            path.display()
        )));
    }
    if version > SCHEMA_VERSION {
        return Err(StoreError::Refused(format!(
            "{} was written by a newer driftless (schema {version}, this one knows \
             {SCHEMA_VERSION}); nothing was changed in it; start the newer version, or restore a \
             backup made by this one",
            path.display()
        )));
    }
    Ok(())
}

/// Reads back what the promise "acknowledged means durable" rests on.
async fn check_durable(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    if journal != "wal" {
        return Err(StoreError::Refused(format!(
            "the database cannot keep a write-ahead log here (journal mode is `{journal}`); put \
             the data folder on a local disk"
        )));
    }
    let synchronous = pragma(connection, "PRAGMA synchronous").await?;
    let foreign_keys = pragma(connection, "PRAGMA foreign_keys").await?;
    if synchronous != SYNCHRONOUS_FULL || foreign_keys != 1 {
        return Err(StoreError::Refused(format!(
            "this build of SQLite does not take the settings that durability needs (synchronous \
             is {synchronous}, foreign_keys is {foreign_keys}); use an official build of driftless"
        )));
    }
    Ok(())
}

/// Freed space is given back only by databases created for it; say so rather than fail.
async fn check_auto_vacuum(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    if pragma(connection, "PRAGMA auto_vacuum").await? != AUTO_VACUUM_INCREMENTAL {
        tracing::warn!(
            "the database does not give freed space back to the file system; a backup and restore \
             makes one that does"
        );
    }
    Ok(())
}

/// Reads a pragma whose value is a number.
pub(super) async fn pragma(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(statement).fetch_one(connection).await
}

fn migration_error(path: &Path, error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Refused(format!(
            "the schema of {} is not one this driftless made ({other}); start the version that \
             wrote it, or restore a backup",
            path.display()
        )),
    }
}
