//! What `driftless doctor` looks at in a PostgreSQL server. Reads only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::super::StoreError;
use super::migrate::{check_schema, look};
use super::open::{
    DURABILITY_SETTINGS, PostgresOptions, check_version, connect, fingerprint, setting,
};
use super::statement;
use crate::finding::Finding;

/// Clocks that differ by more mix up the times of changes from several nodes.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(1);

/// What a node does with each table. `cluster` and the record of migrations are only read.
const WRITTEN_TABLES: [&str; 8] = [
    "documents",
    "appends",
    "snapshots",
    "attempts",
    "leases",
    "restrictions",
    "cut_appends",
    "cut_snapshots",
];
const READ_TABLES: [&str; 2] = ["cluster", "driftless_migrations"];

/// What was found out about a database.
#[derive(Debug)]
pub struct PostgresCheckup {
    /// One entry for each thing that was looked at.
    pub findings: Vec<Finding>,
    /// The id of the cluster, if the schema is there.
    pub cluster_id: Option<String>,
    /// What tells the database from a copy of it, where the server tells.
    pub fingerprint: Option<String>,
}

/// Looks at everything that can be looked at; a check that fails is a finding, too.
pub async fn examine(options: &PostgresOptions) -> PostgresCheckup {
    let mut checkup = PostgresCheckup {
        findings: Vec::new(),
        cluster_id: None,
        fingerprint: None,
    };
    match connect(options).await {
        Err(error) => checkup.findings.push(Finding::failed("store", &error)),
        Ok(mut connection) => {
            if let Err(error) = examine_over(&mut connection, options, &mut checkup).await {
                checkup.findings.push(Finding::failed("store", &error));
            }
            // All is said; how the connection ends changes nothing.
            let _ = connection.close().await;
        }
    }
    checkup
}

async fn examine_over(
    connection: &mut PgConnection,
    options: &PostgresOptions,
    checkup: &mut PostgresCheckup,
) -> Result<(), StoreError> {
    check_version(connection).await?;
    let version = setting(connection, "server_version").await?;
    let answers = format!("PostgreSQL {version} answers");
    checkup.findings.push(Finding::ok("store", answers));
    checkup.findings.push(primary(connection).await?);
    checkup
        .findings
        .push(durability(connection, options).await?);
    checkup
        .findings
        .push(connections(connection, options).await?);
    checkup.findings.push(clock(connection).await?);
    let report = match look(connection).await {
        Ok(report) => report,
        Err(error) => {
            checkup.findings.push(Finding::failed("schema", &error));
            return Ok(());
        }
    };
    if report.steps.is_empty() {
        if let Err(error) = check_schema(connection).await {
            checkup.findings.push(Finding::failed("schema", &error));
            return Ok(());
        }
        let text = format!("version {}, what this driftless writes", report.newest);
        checkup.findings.push(Finding::ok("schema", text));
        checkup.findings.push(rights(connection).await?);
    } else {
        let finding = pending(connection, report.steps.len(), report.newest).await?;
        checkup.findings.push(finding);
    }
    if report.found > 0 {
        let id = statement::query_scalar("SELECT id::text FROM cluster");
        checkup.cluster_id = id.fetch_optional(&mut *connection).await.ok().flatten();
        checkup.fingerprint = fingerprint(connection).await;
    }
    Ok(())
}

async fn primary(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let is_standby: bool = statement::query_scalar("SELECT pg_is_in_recovery()")
        .fetch_one(&mut *connection)
        .await?;
    if is_standby {
        return Ok(Finding::refused(
            "primary",
            "the server is a standby and takes no writes; name the primary in --store, or add \
             the host that follows it",
        ));
    }
    if setting(connection, "transaction_read_only").await? == "on" {
        return Ok(Finding::refused(
            "primary",
            "the server takes no writes (default_transaction_read_only is on); turn it off",
        ));
    }
    Ok(Finding::ok("primary", "the server takes writes"))
}

async fn durability(
    connection: &mut PgConnection,
    options: &PostgresOptions,
) -> Result<Finding, StoreError> {
    let mut off = Vec::new();
    for name in DURABILITY_SETTINGS {
        if setting(connection, name).await? == "off" {
            off.push(name);
        }
    }
    let subject = "durability";
    if off.is_empty() {
        let text = format!("{} are on", DURABILITY_SETTINGS.join(", "));
        return Ok(Finding::ok(subject, text));
    }
    let text = format!(
        "the server runs with {} off and may lose changes that were acknowledged; turn it on",
        off.join(", ")
    );
    Ok(if options.allow_unsafe {
        Finding::warning(subject, format!("{text} (allowed by the settings)"))
    } else {
        Finding::refused(subject, text)
    })
}

async fn connections(
    connection: &mut PgConnection,
    options: &PostgresOptions,
) -> Result<Finding, StoreError> {
    let row = statement::query(
        "SELECT least(current_setting('max_connections')::int - \
             current_setting('superuser_reserved_connections')::int, \
           (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user), \
           (SELECT nullif(datconnlimit, -1) FROM pg_database \
             WHERE datname = current_database()))",
    )
    .fetch_one(connection)
    .await?;
    let available = i64::from(row.try_get::<i32, _>(0)?);
    let wanted = i64::from(options.connections_max);
    let subject = "connections";
    let told = format!("postgres_connections_max is {wanted}, the server allows {available}");
    Ok(if wanted > available {
        let advice = "lower the one, or raise max_connections or the role's limit";
        Finding::refused(subject, format!("{told}; {advice}"))
    } else if wanted * 2 > available {
        let advice = "a second node would not fit; lower the one, or raise max_connections";
        Finding::warning(subject, format!("{told}; {advice}"))
    } else {
        Finding::ok(subject, format!("{told} to all nodes together"))
    })
}

async fn clock(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let before = SystemTime::now();
    let theirs_ms: i64 =
        statement::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            .fetch_one(connection)
            .await?;
    let waited = before.elapsed().unwrap_or_default();
    let middle = before + waited / 2;
    let ours = middle.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ours_ms = i64::try_from(ours.as_millis()).unwrap_or(i64::MAX);
    Ok(clock_finding(
        "store clock",
        theirs_ms.saturating_sub(ours_ms),
    ))
}

/// What a difference of clocks means; `ahead_ms`: how far the other one is ahead of this machine's.
pub(crate) fn clock_finding(subject: &'static str, ahead_ms: i64) -> Finding {
    let told = format!("differs by {} ms from this machine's", ahead_ms.abs());
    if u128::from(ahead_ms.unsigned_abs()) > CLOCK_DIFFERENCE_MAX.as_millis() {
        let advice = "let both follow the same time server (NTP)";
        return Finding::warning(subject, format!("{told}; {advice}"));
    }
    Finding::ok(subject, told)
}

/// Whether this role may apply the migrations that are missing.
async fn pending(
    connection: &mut PgConnection,
    count: usize,
    newest: i64,
) -> Result<Finding, StoreError> {
    let may: Option<bool> =
        statement::query_scalar("SELECT has_schema_privilege(current_schema(), 'CREATE')")
            .fetch_one(connection)
            .await?;
    let told = format!("{count} migrations up to version {newest} are missing");
    Ok(match may {
        Some(true) => Finding::warning(
            "schema",
            format!("{told}; `driftless migrate` or the next start of a node applies them"),
        ),
        _ => Finding::refused(
            "schema",
            format!(
                "{told}, and this role may not create tables; run `driftless migrate` with a \
                 role that owns the database"
            ),
        ),
    })
}

async fn rights(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let missing: Vec<String> = statement::query_scalar(
        "SELECT wanted.privilege || ' on ' || wanted.name FROM ( \
             SELECT name, privilege FROM unnest($1::text[]) AS name, \
               unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege \
             UNION ALL SELECT name, 'SELECT' FROM unnest($2::text[]) AS name) AS wanted \
         WHERE NOT has_table_privilege(wanted.name, wanted.privilege) \
         UNION ALL SELECT 'EXECUTE on append_batch' FROM pg_proc \
         WHERE proname = 'append_batch' AND pg_function_is_visible(oid) \
           AND NOT has_function_privilege(oid, 'EXECUTE')",
    )
    .bind(&WRITTEN_TABLES[..])
    .bind(&READ_TABLES[..])
    .fetch_all(connection)
    .await?;
    if missing.is_empty() {
        return Ok(Finding::ok(
            "rights",
            "the role may do all that a node does",
        ));
    }
    let text = format!(
        "the role lacks {}; let the database's owner GRANT it",
        missing.join(", ")
    );
    Ok(Finding::refused("rights", text))
}
