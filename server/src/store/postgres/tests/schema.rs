//! Migrations: a look changes nothing, several at once are one, and nodes need no rights to the schema.

use sqlx::{Connection, PgConnection};

use super::{options, server};
use crate::finding::Grade;
use crate::store::conformance::{fill, name};
use crate::store::postgres::{PostgresStore, examine, migrate, new_cluster_id};
use crate::store::{Store, StoreError};

/// How many there are.
const MIGRATIONS: usize = 3;

async fn execute(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn tables(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_dry_run_lists_and_leaves_no_trace() {
    let url = server::new_database();
    let looked = migrate(&options(url.clone()), true).await.unwrap();
    assert_eq!((looked.found, looked.steps.len()), (0, MIGRATIONS));
    assert_eq!(tables(&url).await, 0);
    let applied = migrate(&options(url.clone()), false).await.unwrap();
    assert_eq!(applied, looked);
    let again = migrate(&options(url.clone()), true).await.unwrap();
    assert_eq!((again.found, again.steps.len()), (MIGRATIONS as i64, 0));
}

#[tokio::test]
async fn several_at_once_migrate_once() {
    let url = server::new_database();
    let options = options(url);
    let runs = (0..8).map(|_| migrate(&options, false));
    let reports = futures_util::future::join_all(runs).await;
    let applied = reports.into_iter().map(|it| it.unwrap().steps.len());
    assert_eq!(applied.sum::<usize>(), MIGRATIONS);
}

#[tokio::test]
async fn newer_and_foreign_schemas_are_refused() {
    for (change, wanted) in [
        (
            "INSERT INTO driftless_migrations VALUES (9999, '\\x00')",
            "newer driftless",
        ),
        (
            "UPDATE driftless_migrations SET checksum = '\\x00' WHERE version = 1",
            "migration 1 is another",
        ),
        ("UPDATE cluster SET schema_version = 99", "newer driftless"),
    ] {
        let url = server::new_database();
        migrate(&options(url.clone()), false).await.unwrap();
        execute(&url, change).await;
        for dry_run in [true, false] {
            let error = migrate(&options(url.clone()), dry_run).await.unwrap_err();
            let told = error.to_string();
            assert!(
                matches!(error, StoreError::Refused(_)) && told.contains(wanted),
                "{told}"
            );
        }
        let opened = PostgresStore::open(&options(url.clone())).await;
        assert!(opened.unwrap_err().to_string().contains(wanted));
        let checkup = examine(&options(url)).await;
        let problem = checkup
            .findings
            .iter()
            .find(|it| it.grade == Grade::Refused);
        assert_eq!(problem.unwrap().subject, "schema");
    }
}

/// A URL of the same database for a role that may only read and write rows.
async fn rows_only(url: &str, role: &str) -> String {
    execute(
        url,
        &format!(
            "CREATE ROLE {role} LOGIN; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
             REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC; \
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}"
        ),
    )
    .await;
    url.replace("postgres@", &format!("{role}@"))
}

#[tokio::test]
async fn a_node_needs_no_rights_to_an_up_to_date_schema() {
    let url = server::new_database();
    migrate(&options(url.clone()), false).await.unwrap();
    let node = rows_only(&url, "rows_only").await;
    let store = PostgresStore::open(&options(node.clone())).await.unwrap();
    fill(&store, "a", 1..=3).await;
    store.delete(&name("a"), &[0]).await.unwrap();
    store.close().await.unwrap();
    let checkup = examine(&options(node.clone())).await;
    let problems = checkup.findings.iter().filter(|it| it.grade.is_problem());
    assert_eq!(problems.count(), 0, "{:?}", checkup.findings);
    assert!(checkup.cluster_id.is_some());

    execute(&url, "REVOKE DELETE ON appends FROM rows_only").await;
    execute(
        &url,
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM rows_only",
    )
    .await;
    let findings = examine(&options(node)).await.findings;
    let rights = findings.iter().find(|it| it.subject == "rights").unwrap();
    assert!(rights.text.contains("DELETE on appends"), "{rights:?}");
    assert!(
        rights.text.contains("EXECUTE on append_batch"),
        "{rights:?}"
    );
    assert_eq!(rights.grade, Grade::Refused);
}

#[tokio::test]
async fn without_rights_a_missing_schema_is_told_with_what_to_do() {
    let url = server::new_database();
    let node = rows_only(&url, "rows_only_early").await;
    let looked = migrate(&options(node.clone()), true).await.unwrap();
    assert_eq!(looked.steps.len(), MIGRATIONS);
    let error = PostgresStore::open(&options(node.clone()))
        .await
        .unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, StoreError::Refused(_)), "{told}");
    assert!(told.contains("driftless migrate"), "{told}");
    let findings = examine(&options(node)).await.findings;
    let schema = findings.iter().find(|it| it.subject == "schema").unwrap();
    assert_eq!(schema.grade, Grade::Refused);
}

#[tokio::test]
async fn a_copy_gets_an_id_of_its_own() {
    let url = server::new_database();
    let before = PostgresStore::open(&options(url.clone())).await.unwrap();
    let id = new_cluster_id(&options(url.clone())).await.unwrap();
    let after = PostgresStore::open(&options(url)).await.unwrap();
    assert_ne!(before.cluster_id(), id);
    assert_eq!(after.cluster_id(), id);
    assert!(after.fingerprint().is_some());
    assert_eq!(after.fingerprint(), before.fingerprint());
}
