//! Whose file it is, and the settings that durability rests on.

use sqlx::{ConnectOptions, Connection};

use super::*;
use crate::store::StoreError;
use crate::store::conformance::{append, committed, fill, name};
use crate::store::sqlite::open;

async fn folder_with(statements: &'static str) -> (TempDir, DataFolder) {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(parent.path()).unwrap();
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.database())
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    (parent, folder)
}

/// Opening must fail with words that hold `hint`, and leave the file as it is.
async fn assert_untouched(folder: &DataFolder, hint: &str) {
    let before = std::fs::read(folder.database()).unwrap();
    let error = SqliteStore::open(folder).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains(hint), "{error}");
    assert_eq!(std::fs::read(folder.database()).unwrap(), before);
}

#[tokio::test]
async fn another_programs_database_is_refused_untouched() {
    let (_parent, folder) = folder_with("CREATE TABLE notes (text)").await;
    assert_untouched(&folder, "another program").await;
    let (_parent, folder) = folder_with("PRAGMA application_id = 7").await;
    assert_untouched(&folder, "--data").await;
}

#[tokio::test]
async fn a_folder_whose_making_was_cut_off_is_made() {
    // What the library of migrations writes first.
    let (_parent, folder) = folder_with(
        "CREATE TABLE driftless_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
    )
    .await;
    let store = SqliteStore::open(&folder).await.unwrap();
    store.commit(&[append("a", 1, 1)]).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_untouched() {
    let (_parent, folder) = folder_with(
        "PRAGMA application_id = 1146242644; PRAGMA user_version = 99; CREATE TABLE t (x)",
    )
    .await;
    assert_untouched(&folder, "newer driftless").await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damage() {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(parent.path()).unwrap();
    let content = b"certainly not a database".repeat(100);
    std::fs::write(folder.database(), &content).unwrap();
    let error = SqliteStore::open(&folder).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
    assert_eq!(std::fs::read(folder.database()).unwrap(), content);
}

#[tokio::test]
async fn the_settings_that_durability_needs_hold() {
    let backend = SqliteBackend::start().await;
    let mut connection = backend.raw().await;
    let table = [
        ("PRAGMA synchronous", 2),
        ("PRAGMA foreign_keys", 1),
        ("PRAGMA auto_vacuum", 2),
        ("PRAGMA application_id", open::APPLICATION_ID),
        ("PRAGMA user_version", open::SCHEMA_VERSION),
        ("PRAGMA wal_autocheckpoint", 0),
    ];
    for (statement, expected) in table {
        let value = open::pragma(&mut connection, statement).await.unwrap();
        assert_eq!(value, expected, "{statement}");
    }
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert!(tables.iter().any(|table| table == "driftless_migrations"));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(parent.path()).unwrap();
    let store = SqliteStore::open(&folder).await.unwrap();
    fill(&store, "a", 1..=3).await;
    store.close().await.unwrap();
    let closed = store.commit(&[append("a", 1, 4)]).await;
    assert!(matches!(closed, Err(StoreError::Unavailable(_))));
    drop(store);
    let store = SqliteStore::open(&folder).await.unwrap();
    assert_eq!(store.load(&name("a")).await.unwrap().appends.len(), 3);
    let outcomes = store.commit(&[append("a", 1, 4)]).await.unwrap();
    assert_eq!(outcomes, [committed(4)]);
}

#[tokio::test]
async fn a_cancelled_commit_leaves_the_store_usable() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=1).await;
    for number in 2..40 {
        let batch = [append("a", 1, number), append("b", 1, number)];
        let polls = number % 13;
        let mut commit = store.commit(&batch);
        for _ in 0..polls {
            // Each round lets the connection's thread get one step further, then stops waiting.
            let step = std::time::Duration::from_micros(50);
            if tokio::time::timeout(step, &mut commit).await.is_ok() {
                break;
            }
        }
        drop(commit);
        let again = store.commit(&batch).await.unwrap();
        assert_eq!(again[0], committed(number), "repeated ids are stored once");
    }
    let loaded = store.load(&name("a")).await.unwrap();
    assert_eq!((loaded.appends.len(), loaded.damage), (39, None));
}

#[tokio::test]
async fn a_failed_flush_is_verified_before_the_next_write() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=2).await;
    backend.store.writer.pretend_flush_failed().await;
    fill(&*store, "a", 3..=3).await;
    backend.settle().await;
    backend.store.writer.pretend_flush_failed().await;
    backend
        .tamper(
            "UPDATE documents SET head = ?2 WHERE name = ?1",
            &name("a"),
            1,
        )
        .await;
    let lost = store.commit(&[append("a", 1, 4)]).await;
    assert!(matches!(lost, Err(StoreError::Damaged(_))), "{lost:?}");
    let lost = store.commit(&[append("a", 1, 4)]).await;
    assert!(
        matches!(lost, Err(StoreError::Damaged(_))),
        "and it stays so"
    );
}

#[tokio::test]
async fn freed_space_goes_back_in_steps() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    let mut large = append("a", 1, 1);
    large.update = vec![7; 4 << 20].into();
    store.commit(&[large]).await.unwrap();
    store.after_commit().await.unwrap();
    store.delete(&name("a"), &[0]).await.unwrap();
    let mut steps = 0;
    while store.reclaim_space(1 << 20).await.unwrap() {
        steps += 1;
    }
    assert!(steps >= 3, "bounded steps: {steps}");
    store.close().await.unwrap();
    let length = std::fs::metadata(backend.store.path()).unwrap().len();
    assert!(length < 1 << 20, "{length} bytes remain");
}
