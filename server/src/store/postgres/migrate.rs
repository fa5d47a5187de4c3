//! Bringing the database's schema up to date: at the start of a node, or ahead of a roll-out.

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::super::StoreError;
use super::super::schema::{Recorded, SchemaReport, compare};
use super::open::{PostgresOptions, check_version, connect};
use super::statement;

/// The schema this build writes.
pub(super) const SCHEMA_VERSION: i32 = 1;

/// "DRFTmigr": migrations of ten nodes that start at once run one after the other. A lock of the
/// transaction, since a session's is lost behind a proxy that pools transactions.
const MIGRATION_LOCK: i64 = 0x4452_4654_6d69_6772;

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// How the database is called in messages.
const DATABASE: &str = "the database";

/// The embedded schema. Applied by [`apply`]: the lock of sqlx's own migrator is a session's.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// Brings the schema up to date, or with `dry_run` only tells what is missing.
pub async fn migrate(options: &PostgresOptions, dry_run: bool) -> Result<SchemaReport, StoreError> {
    let mut connection = connect(options).await?;
    check_version(&mut connection).await?;
    let report = if dry_run {
        look(&mut connection).await?
    } else {
        apply(&mut connection).await?
    };
    if report.found > 0 || !dry_run {
        check_schema(&mut connection).await?;
    }
    connection.close().await?;
    Ok(report)
}

/// Gives the database a new cluster id, for a copy that is to live beside its original. The schema
/// must be there. Returns the id.
pub async fn new_cluster_id(options: &PostgresOptions) -> Result<String, StoreError> {
    let mut connection = connect(options).await?;
    let changed: Result<String, _> =
        statement::query_scalar("UPDATE cluster SET id = gen_random_uuid() RETURNING id::text")
            .fetch_one(&mut connection)
            .await;
    let id = changed.map_err(|error| rights_error(&error))?;
    connection.close().await?;
    Ok(id)
}

/// What the schema is at. Changes nothing, and takes no more rights than to read.
pub(super) async fn look(connection: &mut PgConnection) -> Result<SchemaReport, StoreError> {
    compare(DATABASE, &recorded(connection).await?, &MIGRATIONS)
}

/// Applies the migrations that are missing, all in one transaction under a lock of it. While none
/// is missing nothing is written, so that a role without rights to the schema can start a node.
pub(super) async fn apply(connection: &mut PgConnection) -> Result<SchemaReport, StoreError> {
    let report = look(connection).await?;
    if report.steps.is_empty() {
        return Ok(report);
    }
    let applied = apply_missing(connection).await;
    applied.map_err(|error| match error {
        Unapplied::Told(error) => error,
        Unapplied::Database(error) => rights_error(&error),
    })
}

/// Refuses a schema that only a newer version can write to.
pub(super) async fn check_schema(connection: &mut PgConnection) -> Result<(), StoreError> {
    let version: i32 = statement::query_scalar("SELECT schema_version FROM cluster")
        .fetch_one(connection)
        .await?;
    if version > SCHEMA_VERSION {
        return Err(StoreError::Refused(format!(
            "the database was written by a newer driftless (schema {version}, this one knows \
             {SCHEMA_VERSION}); start the newer version"
        )));
    }
    Ok(())
}

/// Why a migration did not happen.
enum Unapplied {
    Told(StoreError),
    Database(sqlx::Error),
}

impl From<StoreError> for Unapplied {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

impl From<sqlx::Error> for Unapplied {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

async fn apply_missing(connection: &mut PgConnection) -> Result<SchemaReport, Unapplied> {
    let mut transaction = Connection::begin(connection).await?;
    let lock_timeout: String = statement::query_scalar("SELECT current_setting('lock_timeout')")
        .fetch_one(&mut *transaction)
        .await?;
    // Who waits here waits for another node's migration, and it may take as long as it takes.
    limit(&mut transaction, "0", "0").await?;
    statement::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *transaction)
        .await?;
    // Locks of tables are another matter: while one waits for them, all behind it wait, too.
    limit(&mut transaction, "0", &lock_timeout).await?;
    let recorded = recorded(&mut transaction).await?;
    let report = compare(DATABASE, &recorded, &MIGRATIONS)?;
    if recorded.is_empty() {
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS driftless_migrations (version bigint PRIMARY KEY, \
             checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        .execute(&mut *transaction)
        .await?;
    }
    let is_missing = |version| report.steps.iter().any(|step| step.version == version);
    for migration in MIGRATIONS.iter().filter(|it| is_missing(it.version)) {
        sqlx::raw_sql(migration.sql.clone())
            .execute(&mut *transaction)
            .await?;
        statement::query("INSERT INTO driftless_migrations (version, checksum) VALUES ($1, $2)")
            .bind(migration.version)
            .bind(&*migration.checksum)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(report)
}

/// Sets how long statements and waits for locks may take, until the transaction ends.
async fn limit(
    connection: &mut PgConnection,
    statement_timeout: &str,
    lock_timeout: &str,
) -> Result<(), sqlx::Error> {
    statement::query(
        "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)",
    )
    .bind(statement_timeout)
    .bind(lock_timeout)
    .execute(connection)
    .await?;
    Ok(())
}

async fn recorded(connection: &mut PgConnection) -> Result<Recorded, StoreError> {
    // Asked through a table, whose lock brings the news of what others created meanwhile: alone,
    // `to_regclass` may answer from what this connection knew before it waited.
    let is_there: bool = statement::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('driftless_migrations'))",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !is_there {
        return Ok(Recorded::new());
    }
    let rows = statement::query("SELECT version, checksum FROM driftless_migrations")
        .fetch_all(connection)
        .await
        .map_err(|error| rights_error(&error))?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Rights that are missing do not come back by themselves: say whose they must be.
fn rights_error(error: &sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|it| it.code());
    if code.as_deref() != Some(INSUFFICIENT_PRIVILEGE) {
        return super::store_error(error);
    }
    StoreError::Refused(format!(
        "the role in --store may not do this: {error}; run `driftless migrate` with a role that \
         owns the database, and grant the nodes' role what `driftless doctor` names"
    ))
}
