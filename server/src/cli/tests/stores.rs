//! Commands on stores as a whole: doctor, migrate and copies, with PostgreSQL and Redis beside them.

use serde_json::{Value as Json, json};

use super::stopped::{Stopped, typed};
use super::*;
use crate::bus::redis::check_tests;
use crate::store::data_folder::{DATABASE_FILE_NAME, DataFolder};
use crate::store::postgres::tests::server;

/// Stands in for a password that nobody checks: the servers of the tests trust everyone.
const SECRET: &str = "hunter2-secret";

/// The URL of an empty database, with a password in it.
pub(super) fn database() -> String {
    let url = server::new_database();
    url.replace("postgres@", &format!("postgres:{SECRET}@"))
}

/// Runs a command line, and makes sure that it tells no secret.
pub(super) fn ran_quietly(arguments: &[&str]) -> Ran {
    let ran = ran(arguments);
    let told = String::from_utf8_lossy(&ran.output).into_owned() + &ran.errors;
    assert!(!told.contains("secret"), "{told}");
    ran
}

fn state_of(report: &Json, check: &str) -> Option<String> {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == check)?;
    Some(found["state"].as_str().unwrap().to_owned())
}

#[test]
fn doctor_finds_a_stopped_folder_well() {
    let stopped = Stopped::new();
    let page = stopped.run(&["doctor"]).text();
    assert!(page.contains("no server runs on it"), "{page}");
    assert!(page.contains("synchronous FULL"), "{page}");
    let report = stopped.run(&["doctor", "--json"]).json();
    assert_eq!(
        (&report["problems"], &report["warnings"]),
        (&json!(0), &json!(0))
    );

    let held = DataFolder::open(&stopped.data()).unwrap();
    let page = stopped.run(&["doctor"]).text();
    assert!(page.contains("a server runs on it"), "{page}");
    drop(held);

    let fresh = stopped.file("fresh");
    let page = ran_on(Path::new(&fresh), &["doctor"]).text();
    assert!(page.contains("serve creates it"), "{page}");
    assert!(!Path::new(&fresh).exists());
}

#[test]
fn doctor_tells_what_is_wrong_with_a_folder() {
    let stopped = Stopped::new();
    std::fs::write(stopped.data().join(DATABASE_FILE_NAME), vec![7; 8_192]).unwrap();
    stopped.run(&["doctor"]).failed(EXIT_DAMAGED);
    let file = stopped.file("file");
    std::fs::write(&file, "in the way").unwrap();
    assert!(ran_on(Path::new(&file), &["doctor"]).code != EXIT_DONE);
    let bus = Stopped::new().run(&["doctor", "--bus", "redis://127.0.0.1:1"]);
    assert!(String::from_utf8_lossy(&bus.output).contains("--store postgres://"));
    bus.failed(EXIT_REFUSED);
}

#[test]
fn doctor_looks_at_postgres_and_redis() {
    let stopped = Stopped::new();
    let data = stopped.data();
    let (data, url) = (data.to_str().unwrap(), database());
    let redis = format!("redis://:very-secret@127.0.0.1:{}", check_tests::port());
    let doctor = |bus: &str| {
        let arguments = [
            "doctor", "--json", "--data", data, "--store", &url, "--bus", bus,
        ];
        ran_quietly(&arguments)
    };
    let early = doctor("local:").json();
    assert_eq!(state_of(&early, "schema").as_deref(), Some("warning"));
    assert_eq!(state_of(&early, "bus").as_deref(), Some("warning"));

    ran_quietly(&["migrate", "--store", &url, "--data", data]).text();
    let well = doctor(&redis).json();
    assert_eq!(well["problems"], 0, "{well}");
    for check in [
        "store",
        "primary",
        "durability",
        "connections",
        "schema",
        "rights",
        "bus",
    ] {
        assert_eq!(
            state_of(&well, check).as_deref(),
            Some("ok"),
            "{check} in {well}"
        );
    }
    for check in ["store clock", "bus clock", "bus round trip"] {
        assert!(state_of(&well, check).is_some(), "{check} in {well}");
    }

    let wrong = doctor(&redis.replace("very-secret", "wrong-secret"));
    assert_eq!(wrong.code, EXIT_REFUSED);
    let away = doctor("redis://:very-secret@127.0.0.1:1");
    assert_eq!(away.code, EXIT_UNAVAILABLE);
    let nowhere = format!("postgres://someone:{SECRET}@127.0.0.1:1/none");
    let away = ran_quietly(&["doctor", "--data", data, "--store", &nowhere]);
    assert_eq!(away.code, EXIT_UNAVAILABLE);
}

#[test]
fn migrate_tells_what_it_did() {
    let stopped = Stopped::new();
    let data = stopped.data();
    let (data, url) = (data.to_str().unwrap(), database());
    let migrate = |more: &[&str]| {
        let arguments = ["migrate", "--store", &url, "--data", data];
        ran_quietly(&[&arguments[..], more].concat())
    };
    let dry = migrate(&["--dry-run"]).text();
    assert!(
        dry.contains("would apply 1") && dry.contains("nothing was changed"),
        "{dry}"
    );
    assert_eq!(migrate(&["--dry-run", "--json"]).json()["applied"], false);
    assert!(migrate(&[]).text().contains("applied 1"));
    assert!(migrate(&[]).text().contains("up to date (version 3)"));
    let id = |ran: Ran| ran.json()["new_cluster_id"].as_str().unwrap().to_owned();
    let first = id(migrate(&["--new-cluster-id", "--json"]));
    assert_ne!(first, id(migrate(&["--new-cluster-id", "--json"])));
    migrate(&["--new-cluster-id", "--dry-run"]).failed(EXIT_USAGE);
}

#[test]
fn migrate_of_a_folder_looks_without_touching() {
    let stopped = Stopped::new();
    let page = stopped.run(&["migrate"]).text();
    assert!(page.contains("up to date"), "{page}");
    let told = stopped.run(&["migrate", "--new-cluster-id"]);
    assert!(told.failed(EXIT_REFUSED).contains("no cluster"));
    let file = stopped.data().join(DATABASE_FILE_NAME);
    older(&file);
    let before = std::fs::read(&file).unwrap();
    let dry = stopped.run(&["migrate", "--dry-run", "--json"]).json();
    assert_eq!((&dry["found"], &dry["newest"]), (&json!(4), &json!(5)));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert!(
        stopped
            .run(&["migrate"])
            .text()
            .contains("applied 5: client owners")
    );
    let nowhere = stopped.file("nowhere");
    ran_on(Path::new(&nowhere), &["migrate"]).failed(EXIT_NOT_FOUND);
    assert!(!Path::new(&nowhere).exists());
}

/// Takes a database back to the schema before the newest, as far as a look goes.
pub(super) fn older(file: &Path) {
    use sqlx::Connection;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let path = format!("sqlite://{}", file.display());
        let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
        for statement in [
            "DROP TABLE client_owners",
            "DELETE FROM driftless_migrations WHERE version = 5",
            "PRAGMA user_version = 4",
        ] {
            sqlx::query(statement)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection.close().await.unwrap();
    });
}

fn written() -> Stopped {
    let stopped = Stopped::new();
    stopped.import("a", &typed(1, 0, "one ")).text();
    stopped.import("a", &typed(2, 0, "two ")).text();
    stopped.import("b", &typed(3, 0, "three")).text();
    stopped.import("gone", &typed(4, 0, "x")).text();
    stopped.run(&["doc", "delete", "gone"]).text();
    stopped
}

#[test]
fn a_folder_is_copied_to_postgres_and_back() {
    let stopped = written();
    let data = stopped.data();
    let (data, url) = (data.to_str().unwrap(), database());
    let from = format!("sqlite:{data}");
    let there = ["store", "copy", "--json", "--from", &from, "--to", &url];
    let first = ran_quietly(&there).json();
    assert_eq!((&first["copied"], &first["equal"]), (&json!(3), &json!(0)));
    let again = ran_quietly(&there).json();
    assert_eq!((&again["copied"], &again["equal"]), (&json!(0), &json!(3)));
    // The same by the environment, where no other user sees the password.
    let environment = vec![("DRIFTLESS_STORE", &*url.clone().leak())];
    let arguments = ["store", "copy", "--data", data];
    let page = ran_with(&arguments, &environment, b"").text();
    assert!(page.contains("copied 0 of 3 documents"), "{page}");

    let elsewhere = stopped.file("elsewhere");
    let to = format!("sqlite:{elsewhere}");
    ran_quietly(&["store", "copy", "--from", &url, "--to", &to]).text();
    for command in ["export", "show"] {
        let run = |data: &Path| ran_on(data, &["doc", command, "a"]).output;
        assert_eq!(
            run(Path::new(&elsewhere)),
            run(&stopped.data()),
            "{command}"
        );
    }
    let listed = |data: &Path| ran_on(data, &["doc", "list", "--json"]).json();
    assert_eq!(listed(Path::new(&elsewhere)), listed(&stopped.data()));
}

#[test]
fn copies_that_cannot_be_are_told_with_a_code() {
    let stopped = written();
    let data = stopped.data();
    let (data, url) = (data.to_str().unwrap(), database());
    let from = format!("sqlite:{data}");
    let copy = |from: &str, to: &str| ran_quietly(&["store", "copy", "--from", from, "--to", to]);
    copy(&from, &from).failed(EXIT_USAGE);
    copy(&url, &url).failed(EXIT_USAGE);
    copy(&from, &format!("mysql://me:{SECRET}@host/db")).failed(EXIT_USAGE);
    copy("sqlite:/no/such/folder", &url).failed(EXIT_NOT_FOUND);
    let away = format!("postgres://me:{SECRET}@127.0.0.1:1/db");
    copy(&from, &away).failed(EXIT_UNAVAILABLE);
    let held = DataFolder::open(&stopped.data()).unwrap();
    assert!(copy(&from, &url).failed(EXIT_REFUSED).contains("in use"));
    drop(held);

    let other = Stopped::new();
    other.import("a", &typed(9, 0, "another")).text();
    let other_data = other.data();
    copy(&format!("sqlite:{}", other_data.display()), &url).text();
    let refused = copy(&from, &url);
    assert_eq!(refused.code, EXIT_REFUSED, "{}", refused.errors);
    let page = String::from_utf8_lossy(&refused.output).into_owned();
    assert!(
        page.contains("NOT COPIED a: ") && page.contains("copied 2 of 3"),
        "{page}"
    );
}

#[test]
fn a_damaged_document_fails_the_copy_of_it_alone() {
    let stopped = written();
    super::upkeep::spoil(&stopped, 2);
    let (data, url) = (stopped.data(), database());
    let from = format!("sqlite:{}", data.display());
    let ran = ran_quietly(&["store", "copy", "--json", "--from", &from, "--to", &url]);
    assert!(
        ran.failed(EXIT_DAMAGED)
            .contains("1 documents were not copied")
    );
    let report: Json = serde_json::from_slice(&ran.output).unwrap();
    assert_eq!(
        (&report["copied"], &report["failed"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(report["failures"][0]["document"], "a");
    assert_eq!(report["failures"][0]["kind"], "damaged");
}
