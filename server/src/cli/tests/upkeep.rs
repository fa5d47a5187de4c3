//! Backups, restores, verification and repair on the folder of a stopped server.

use driftless_proto::name::DocumentName;
use serde_json::json;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::stopped::{Stopped, typed};
use super::*;
use crate::store::data_folder::DATABASE_FILE_NAME;
use crate::store::{Append, Origin, Store};

/// Spoils what is stored under a sequence number, as a bad disk would.
pub(super) fn spoil(stopped: &Stopped, sequence: i64) {
    let database = stopped.data().join(DATABASE_FILE_NAME);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let path = format!("sqlite://{}", database.display());
        let mut connection = SqliteConnection::connect(&path).await.unwrap();
        let spoilt = sqlx::query("UPDATE appends SET content = x'00ff' WHERE sequence = ?")
            .bind(sequence)
            .execute(&mut connection)
            .await
            .unwrap();
        assert_eq!(spoilt.rows_affected(), 1);
        connection.close().await.unwrap();
    });
}

fn written() -> Stopped {
    let stopped = Stopped::new();
    stopped.import("a", &typed(1, 0, "one ")).text();
    stopped.import("a", &typed(2, 0, "two ")).text();
    stopped.import("a", &typed(3, 0, "three")).text();
    stopped
}

#[test]
fn sound_data_verifies_with_code_0() {
    let stopped = written();
    let verified = stopped.run(&["doc", "verify", "--json"]).json();
    let sound = json!({ "documents": 1, "appends": 3, "damaged": 0, "damages": [] });
    assert_eq!(verified, sound);
    let page = stopped.run(&["doc", "verify", "a"]).text();
    assert_eq!(page, "read 1 documents with 3 appends: all is well\n");
    let repaired = stopped.run(&["doc", "repair", "a"]).text();
    assert_eq!(repaired, "nothing to repair; the head is 3\n");
}

#[test]
fn damage_is_found_cut_and_released() {
    let stopped = written();
    spoil(&stopped, 3);
    let verified = stopped.run(&["doc", "verify", "--json"]);
    assert!(verified.failed(EXIT_DAMAGED).contains("doc repair"));
    let told: serde_json::Value = serde_json::from_slice(&verified.output).unwrap();
    assert_eq!(told["damages"][0]["document"], "a");

    let shown = stopped.run(&["doc", "show", "a", "--json"]).json();
    assert!(shown["damage"].is_string(), "{shown}");
    let readable = stopped
        .run(&["doc", "export", "a", "--format", "text"])
        .text();
    assert!(
        readable.contains("one") && !readable.contains("three"),
        "{readable}"
    );
    stopped.import("a", &typed(4, 0, "x")).failed(EXIT_REFUSED);
    stopped.run(&["doc", "release", "a"]).failed(EXIT_REFUSED);

    let repaired = stopped.run(&["doc", "repair", "a", "--json"]).json();
    assert_eq!(
        (&repaired["head_before"], &repaired["head"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(repaired["dropped_appends"], 1);
    stopped.run(&["doc", "verify"]).text();
    stopped.run(&["doc", "release", "a"]).text();
    stopped.import("a", &typed(4, 0, "x")).text();
}

/// Logs an update as if it had been admitted, with the right checksum.
fn log_unchecked(stopped: &Stopped, update: Vec<u8>) {
    stopped.with_store(async |store| {
        let append = Append {
            document: DocumentName::new("a").unwrap(),
            epoch: 1,
            id: fastrand::u128(..).to_be_bytes(),
            origin: Origin::default(),
            time_ms: 1,
            update: update.clone().into(),
            after: None,
            claims: Vec::new(),
        };
        store.commit(&[append]).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn an_intact_append_that_does_not_apply_is_cut_with_all_that_follows() {
    let stopped = written();
    log_unchecked(&stopped, typed(4, 7, "builds on nothing"));
    log_unchecked(&stopped, typed(5, 0, "fine"));
    let verified = stopped.run(&["doc", "verify", "a"]);
    assert!(verified.failed(EXIT_DAMAGED).contains("doc repair"));
    stopped.run(&["doc", "release", "a"]).failed(EXIT_REFUSED);
    let repaired = stopped.run(&["doc", "repair", "a", "--json"]).json();
    let expected = json!({
        "head_before": 5, "head": 3, "dropped_appends": 2, "dropped_snapshots": 0
    });
    assert_eq!(repaired, expected);
    stopped.run(&["doc", "verify", "a"]).text();
    stopped.import("a", &typed(4, 0, "x")).text();
}

#[test]
fn a_backup_restores_to_a_new_folder_and_overwrites_nothing() {
    let stopped = written();
    let file = stopped.file("backup.db");
    let made = stopped.run(&["backup", &file, "--json"]).json();
    let size = std::fs::metadata(&file).unwrap().len();
    assert_eq!(made, json!({ "bytes": size }));
    let again = stopped.run(&["backup", &file]);
    assert!(again.failed(EXIT_REFUSED).contains("never overwrites"));

    stopped.run(&["restore", &file]).failed(EXIT_REFUSED);
    let elsewhere = stopped.file("elsewhere");
    let elsewhere = Path::new(&elsewhere);
    let told = ran_on(elsewhere, &["restore", &file]).text();
    assert!(told.contains("start the server with --data"), "{told}");
    let state = |data: &Path| ran_on(data, &["doc", "export", "a"]).output;
    assert_eq!(state(elsewhere), state(&stopped.data()));
}

#[test]
fn what_is_no_backup_is_not_restored() {
    let stopped = Stopped::new();
    let elsewhere = stopped.file("elsewhere");
    let elsewhere = Path::new(&elsewhere);
    let missing = stopped.file("none.db");
    ran_on(elsewhere, &["restore", &missing]).failed(EXIT_NOT_FOUND);
    assert!(!elsewhere.exists(), "nothing is created for nothing");
    let text = stopped.file("text.db");
    std::fs::write(&text, "not a database at all").unwrap();
    let told = ran_on(elsewhere, &["restore", &text]);
    assert!(told.code != EXIT_DONE && !told.errors.is_empty());
    ran_on(elsewhere, &["doc", "list"]).failed(EXIT_NOT_FOUND);
}
