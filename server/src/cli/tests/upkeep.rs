//! Backups, restores, verification and repair on the folder of a stopped server.

use driftless_proto::name::DocumentName;
use serde_json::json;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::stopped::{Stopped, typed};
use super::*;
use crate::store::data_folder::DATABASE_FILE_NAME;
use crate::store::{Append, Claim, Origin, Store};

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
    log_claiming(stopped, update, &[]);
}

/// The same, and gives client ids to identities.
fn log_claiming(stopped: &Stopped, update: Vec<u8>, owners: &[(u64, Option<&str>)]) {
    let claim = |&(client, owner): &(u64, Option<&str>)| Claim {
        client,
        owner: owner.map(Into::into),
    };
    stopped.with_store(async |store| {
        let append = Append {
            document: DocumentName::new("a").unwrap(),
            epoch: 1,
            id: fastrand::u128(..).to_be_bytes(),
            origin: Origin::default(),
            time_ms: 1,
            update: update.clone().into(),
            after: None,
            claims: owners.iter().map(claim).collect(),
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

/// What `doc show a` prints where client ids belong to somebody.
fn shown_bound(stopped: &Stopped, more: &[&str]) -> Ran {
    let data = stopped.data();
    let data = ["doc", "show", "a", "--data", data.to_str().unwrap()];
    let environment = vec![("DRIFTLESS_CLIENT_IDS", "bound")];
    ran_with(&[&data[..], more].concat(), &environment, b"")
}

#[test]
fn a_document_with_bound_client_ids_tells_whose_they_are() {
    let stopped = Stopped::new();
    let mut owners: Vec<(u64, Option<&str>)> = (1..=300).map(|it| (it, Some("robot"))).collect();
    owners.extend([(700, Some("a\u{202e}da")), (900, None)]);
    log_claiming(&stopped, typed(1, 0, "x"), &owners);
    let owners = shown_bound(&stopped, &["--json"]).json()["owners"].clone();
    let first: Vec<u64> = (1..=10).collect();
    let expected = json!({
        "identities": 3,
        "client_ids": 302,
        "listed": [
            { "identity": null, "client_ids": 1, "listed": [900] },
            { "identity": "a\u{202e}da", "client_ids": 1, "listed": [700] },
            { "identity": "robot", "client_ids": 300, "listed": first },
        ],
    });
    assert_eq!(owners, expected);
    let page = shown_bound(&stopped, &[]).text();
    for line in [
        "client ids  302 (owners: 3)\n",
        "  (nobody): 900\n",
        "  a\\u{202e}da: 700\n",
        "  robot: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 290 more\n",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
    let page = shown_bound(&written(), &[]).text();
    assert!(page.contains("client ids  none has an owner\n"), "{page}");
}

#[test]
fn where_client_ids_are_free_nobody_is_listed() {
    let stopped = Stopped::new();
    log_claiming(&stopped, typed(1, 0, "x"), &[(1, Some("ada"))]);
    let shown = stopped.run(&["doc", "show", "a", "--json"]).json();
    assert_eq!(shown.get("owners"), Some(&json!(null)));
    let page = stopped.run(&["doc", "show", "a"]).text();
    assert!(!page.contains("client ids"), "{page}");
}

#[test]
fn a_document_of_many_identities_lists_some_and_counts_the_others() {
    let stopped = Stopped::new();
    let names: Vec<String> = (0..150).map(|it| format!("user {it:03}")).collect();
    let identities = names.iter().map(|it| Some(it.as_str()));
    let owners: Vec<_> = (1..).zip(identities).collect();
    log_claiming(&stopped, typed(1, 0, "x"), &owners);
    let owners = shown_bound(&stopped, &["--json"]).json()["owners"].clone();
    assert_eq!(owners["identities"], 150);
    assert_eq!(owners["listed"].as_array().unwrap().len(), 100);
    let page = shown_bound(&stopped, &[]).text();
    assert!(page.contains("user 099: 100\n"), "{page}");
    assert!(page.contains("  … and 50 more\n"), "{page}");
    assert!(!page.contains("user 100"), "{page}");
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
