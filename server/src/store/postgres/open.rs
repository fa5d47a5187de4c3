//! Connecting to a database: whose it is, that its schema fits, and proof that commits are durable.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

use super::super::StoreError;
use super::super::committer::ASIDE_MAX;
use super::migrate::{apply, check_schema};
use super::statement;

/// The oldest server whose SQL this store speaks.
const SERVER_VERSION_MIN: i32 = 140_000;

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const INVALID_PASSWORD: &str = "28P01";
const INVALID_AUTHORIZATION: &str = "28000";
const INVALID_CATALOG_NAME: &str = "3D000";
const TOO_MANY_CONNECTIONS: &str = "53300";

/// What a commit's durability rests on; `off` gives it up.
pub(super) const DURABILITY_SETTINGS: [&str; 3] =
    ["fsync", "full_page_writes", "synchronous_commit"];

/// What the pool and each connection are told.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Connections at a time, at least two: one a lane commits, the others read.
    pub connections_max: u32,
    /// Commits that may be under way at a time.
    pub lanes: u32,
    /// How long a caller waits for a connection.
    pub acquire_timeout: Duration,
    /// How long a statement may take before the server gives it up.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// A proxy that pools transactions stands before the server.
    pub is_pooled: bool,
    /// Accept a server that may lose what it acknowledged.
    pub allow_unsafe: bool,
}

/// A database that fits.
pub(super) struct Opened {
    pub(super) reading: PgPool,
    pub(super) committing: PgPool,
    pub(super) cluster_id: String,
    pub(super) fingerprint: Option<String>,
}

/// Connects, brings the schema up to date, and checks what durability rests on.
pub(super) async fn open(options: &PostgresOptions) -> Result<Opened, StoreError> {
    let mut connection = connect(options).await?;
    // In one transaction, so that a proxy that pools them gives it one connection.
    let mut transaction = Connection::begin(&mut connection).await?;
    check_version(&mut transaction).await?;
    check_server(&mut transaction, options.allow_unsafe).await?;
    apply(&mut transaction).await?;
    check_schema(&mut transaction).await?;
    let cluster_id: String = statement::query_scalar("SELECT id::text FROM cluster")
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let fingerprint = fingerprint(&mut connection).await;
    connection.close().await?;
    let connect = connect_options(options)?;
    let asides = u32::try_from(ASIDE_MAX).unwrap_or(1);
    let committing = options.lanes * (1 + asides);
    let committing = committing.clamp(1, options.connections_max - 1);
    let pool = PgPoolOptions::new().acquire_timeout(options.acquire_timeout);
    Ok(Opened {
        reading: pool
            .clone()
            .max_connections(options.connections_max - committing)
            .connect_lazy_with(connect.clone()),
        committing: pool
            .max_connections(committing)
            // A commit over a connection that broke meanwhile is tried again anyway.
            .test_before_acquire(false)
            .connect_lazy_with(connect),
        cluster_id,
        fingerprint,
    })
}

/// What tells this database from a copy of it on another server; nothing where that is not told to
/// everyone. A copy of the whole server's files has the same.
pub(super) async fn fingerprint(connection: &mut PgConnection) -> Option<String> {
    let read = statement::query_scalar(
        "SELECT system_identifier::text || '/' || \
           (SELECT oid FROM pg_database WHERE datname = current_database())::text \
         FROM pg_control_system()",
    );
    match read.fetch_one(connection).await {
        Ok(fingerprint) => Some(fingerprint),
        Err(error) => {
            tracing::debug!(%error, "the database cannot be told from a copy of it");
            None
        }
    }
}

/// Connects, and says in the user's words why it cannot.
pub(super) async fn connect(options: &PostgresOptions) -> Result<PgConnection, StoreError> {
    let connect = connect_options(options)?;
    let connecting = PgConnection::connect_with(&connect);
    match tokio::time::timeout(options.acquire_timeout, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(cannot_connect(&error)),
        Err(_) => Err(StoreError::Unavailable(
            "the PostgreSQL server does not answer; check the host and port in --store, and that \
             the server runs"
                .to_owned(),
        )),
    }
}

/// Why there is no connection, with what to do; nothing of the URL is repeated.
fn cannot_connect(error: &sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|it| it.code());
    let hint = match code.as_deref() {
        Some(INVALID_PASSWORD | INVALID_AUTHORIZATION) => "check user and password in --store",
        Some(INVALID_CATALOG_NAME) => "create the database first, or name another in --store",
        Some(TOO_MANY_CONNECTIONS) => "raise max_connections, or lower postgres_connections_max",
        Some(_) => "",
        None => "check the host and port in --store, and that the server runs",
    };
    let told = format!("PostgreSQL cannot be used: {error}; {hint}");
    let told = told.trim_end_matches("; ").to_owned();
    match code.as_deref() {
        Some(INVALID_PASSWORD | INVALID_AUTHORIZATION | INVALID_CATALOG_NAME) => {
            StoreError::Refused(told)
        }
        _ => StoreError::Unavailable(told),
    }
}

fn connect_options(options: &PostgresOptions) -> Result<PgConnectOptions, StoreError> {
    let refused = |_| {
        // The error would repeat the password.
        StoreError::Refused(
            "the store's URL cannot be read; write postgres://user:password@host:5432/database"
                .to_owned(),
        )
    };
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let connect = PgConnectOptions::from_str(&options.url)
        .map_err(refused)?
        .application_name("driftless");
    if options.is_pooled {
        // Such a proxy takes no options of a session; commits bring theirs.
        return Ok(connect);
    }
    Ok(connect.options([
        ("statement_timeout", milliseconds(options.statement_timeout)),
        ("lock_timeout", milliseconds(options.lock_timeout)),
        (
            "idle_in_transaction_session_timeout",
            milliseconds(options.statement_timeout),
        ),
    ]))
}

/// Refuses a server that is too old.
pub(super) async fn check_version(connection: &mut PgConnection) -> Result<(), StoreError> {
    let number = setting(connection, "server_version_num").await?;
    if number.parse().unwrap_or(0) < SERVER_VERSION_MIN {
        let version = setting(connection, "server_version").await?;
        return Err(StoreError::Refused(format!(
            "the server is PostgreSQL {version}; driftless needs 14 or newer; upgrade it, or name \
             another in --store"
        )));
    }
    Ok(())
}

/// Refuses a server that may lose what it acknowledged.
async fn check_server(connection: &mut PgConnection, allow_unsafe: bool) -> Result<(), StoreError> {
    for name in DURABILITY_SETTINGS {
        if setting(connection, name).await? != "off" {
            continue;
        }
        if !allow_unsafe {
            return Err(StoreError::Refused(format!(
                "the server runs with {name} = off and may lose changes that were acknowledged; \
                 turn it on, or allow it with --postgres-allow-unsafe"
            )));
        }
        tracing::warn!("the server runs with {name} = off: acknowledged changes may be lost");
    }
    Ok(())
}

/// A setting of the server, as text.
pub(super) async fn setting(
    connection: &mut PgConnection,
    name: &'static str,
) -> Result<String, StoreError> {
    let value = statement::query_scalar("SELECT current_setting($1)").bind(name);
    Ok(value.fetch_one(connection).await?)
}
