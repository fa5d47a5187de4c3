//! `driftless import`: what is written, told and refused, and the exit codes.

use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection};

use super::stopped::{Stopped, typed};
use super::stores::{database, older, ran_quietly};
use super::*;
use crate::store::Store;
use crate::store::data_folder::{DATABASE_FILE_NAME, DataFolder};

/// What `@hocuspocus/extension-sqlite` 4.7 makes.
const SCHEMA: &str = r#"CREATE TABLE IF NOT EXISTS "documents" (
  "name" varchar(255) NOT NULL,
  "data" blob NOT NULL,
  UNIQUE(name)
)"#;

/// Folders for sources, and a data folder that is not there yet.
struct Place {
    parent: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        std::fs::create_dir(parent.path().join("updates")).unwrap();
        Self { parent }
    }

    fn path(&self, name: &str) -> String {
        self.parent.path().join(name).to_str().unwrap().to_owned()
    }

    fn data(&self) -> std::path::PathBuf {
        self.parent.path().join("data")
    }

    fn put(&self, file: &str, update: &[u8]) {
        std::fs::write(self.parent.path().join("updates").join(file), update).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran_on(&self.data(), arguments)
    }

    /// Imports the folder of updates.
    fn import(&self, more: &[&str]) -> Ran {
        let folder = self.path("updates");
        self.run(&[&["import", "updates", &folder, "--json"][..], more].concat())
    }

    fn text(&self, document: &str) -> String {
        let export = ["doc", "export", document, "--format", "text"];
        self.run(&export).text()
    }
}

/// The report, whatever the exit code.
fn report(ran: &Ran) -> Json {
    serde_json::from_slice(&ran.output).unwrap_or_else(|_| panic!("{}", ran.errors))
}

fn numbers(ran: &Ran, names: &[&str]) -> Vec<u64> {
    let report = report(ran);
    let numbers = names.iter().map(|name| report[*name].as_u64().unwrap());
    numbers.collect()
}

#[test]
fn documents_come_over_once_and_a_dry_run_writes_nothing() {
    let place = Place::new();
    place.put("a%2Fb.update", &typed(1, 0, "hello"));
    place.put("c", &typed(2, 0, "other"));
    place.put(".hidden", b"no update");
    let dry = place.import(&["--dry-run"]);
    assert_eq!(dry.code, EXIT_DONE, "{}", dry.errors);
    assert_eq!(numbers(&dry, &["imported", "equal"]), [2, 0]);
    assert!(!place.data().exists());

    let file = place.path("report.json");
    let first = place.import(&["--report", &file]);
    assert_eq!(
        numbers(&first, &["imported", "equal", "differing"]),
        [2, 2, 0]
    );
    let written: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, report(&first));
    assert_eq!(place.text("a/b"), "hello");
    let heads = place.run(&["doc", "list", "--json"]).json();
    let again = place.import(&[]);
    assert_eq!(
        numbers(&again, &["imported", "unchanged", "equal"]),
        [0, 2, 2]
    );
    assert_eq!(place.run(&["doc", "list", "--json"]).json(), heads);

    let folder = place.path("updates");
    let page = place.run(&["import", "updates", &folder]).text();
    assert!(page.contains("imported 0 of 2 documents"), "{page}");
    assert!(page.contains("2 there already"), "{page}");
    assert!(page.contains("2 equal"), "{page}");
}

/// Numbers and notes, without those that only reading back gives.
fn verdicts(ran: &Ran) -> Json {
    let mut report = report(ran);
    for name in ["equal", "contained", "differing", "dry_run"] {
        report.as_object_mut().unwrap().remove(name);
    }
    report
}

#[test]
fn a_dry_run_sees_that_two_names_become_one() {
    // Under one name here: other content, the same, more of it, and what cannot be merged.
    let twins: [(&str, &[u8], &[u8]); 4] = [
        ("other", &typed(1, 0, "one"), &typed(2, 0, "two")),
        ("same", &typed(1, 0, "one"), &typed(1, 0, "one")),
        ("more", &typed(1, 0, "one"), &typed(1, 0, "one more")),
        ("clash", &typed(1, 0, "one"), &typed(1, 0, "eno")),
    ];
    for (name, first, second) in twins {
        for more in [&[][..], &["--merge"]] {
            let place = Place::new();
            place.put(&format!("old%2F{name}"), first);
            place.put(name, second);
            let arguments = [&["--strip-prefix", "old/"][..], more].concat();
            let dry = place.import(&[&arguments[..], &["--dry-run"]].concat());
            assert!(!place.data().exists());
            let real = place.import(&arguments);
            assert_eq!(verdicts(&dry), verdicts(&real), "{name} {more:?}");
            assert_eq!(dry.code, real.code, "{name} {more:?}");
        }
    }
}

#[test]
fn what_cannot_be_taken_is_named_and_the_others_go_on() {
    let place = Place::new();
    place.put("good", &typed(1, 0, "hello"));
    place.put("hostile", &[255, 255, 255, 122]);
    place.put("bad%zz", &typed(1, 0, "x"));
    place.put("pending", &typed(1, 7, "late"));
    place.put("empty", &[0, 0]);
    let refused = place.import(&[]);
    assert!(
        refused
            .failed(EXIT_REFUSED)
            .contains("3 documents did not come over")
    );
    assert_eq!(
        numbers(&refused, &["imported", "refused", "empty"]),
        [1, 3, 1]
    );
    let notes = report(&refused)["notes"].clone();
    let told = |name: &str| {
        let mut notes = notes.as_array().unwrap().iter();
        let note = notes.find(|note| note["document"] == name).unwrap();
        note["text"].as_str().unwrap().to_owned()
    };
    assert!(told("hostile").contains("cannot be taken"));
    assert!(told("bad%zz").contains("percent sign"));
    assert!(told("pending").contains("--drop-pending"));
    let again = place.import(&["--drop-pending"]);
    assert_eq!(
        numbers(&again, &["unchanged", "refused", "partial", "empty"]),
        [1, 2, 1, 2]
    );
    let folder = place.path("updates");
    let page = place.run(&["import", "updates", &folder]);
    let page = String::from_utf8_lossy(&page.output).into_owned();
    assert!(page.contains("REFUSED hostile: "), "{page}");
}

#[test]
fn other_content_is_left_alone_unless_it_is_to_be_merged() {
    let place = Place::new();
    place.put("a", &typed(1, 0, "here "));
    place.import(&[]).text();
    place.put("a", &typed(2, 0, "there "));
    let conflict = place.import(&[]);
    assert_eq!(conflict.code, EXIT_REFUSED);
    assert_eq!(numbers(&conflict, &["conflicts", "imported"]), [1, 0]);
    assert_eq!(place.text("a"), "here ");
    let merged = place.import(&["--merge"]);
    assert_eq!(
        numbers(&merged, &["imported", "merged", "equal"]),
        [1, 1, 1]
    );
    assert_eq!(place.text("a").len(), "here there ".len());
    // The source lacks what was there: it is contained.
    assert_eq!(
        numbers(&place.import(&[]), &["unchanged", "contained"]),
        [1, 1]
    );

    // The same ids with other content cannot be merged.
    place.put("a", &typed(1, 0, "othe "));
    let clash = place.import(&["--merge"]);
    assert_eq!(clash.code, EXIT_REFUSED);
    let told = report(&clash)["notes"][0]["text"].to_string();
    assert!(
        told.contains("same ids") && told.contains("--add-prefix"),
        "{told}"
    );
    let renamed = place.import(&["--add-prefix", "old/", "--only", "*"]);
    assert_eq!(numbers(&renamed, &["imported"]), [1]);
    assert_eq!(place.text("old/a"), "othe ");
    let none = place.import(&["--only", "b*"]);
    assert_eq!(numbers(&none, &["left_out", "documents"]), [1, 1]);
    let strip = place.import(&["--strip-prefix", "a", "--dry-run"]);
    assert!(
        report(&strip)["notes"][0]["text"]
            .to_string()
            .contains("empty")
    );
}

#[test]
fn what_grew_in_the_source_is_brought_and_nothing_else() {
    let place = Place::new();
    place.put("a", &typed(1, 0, "one"));
    place.import(&[]).text();
    // Client 2 writes as well; the clients of an update come in descending order.
    let two = [
        &[2, 1, 2, 0][..],
        &typed(2, 0, "two")[4..15],
        &[1, 1, 0][..],
        &typed(1, 0, "one")[4..],
    ]
    .concat();
    place.put("a", &two);
    let caught_up = place.import(&[]);
    assert_eq!(
        numbers(&caught_up, &["imported", "merged", "equal"]),
        [1, 0, 1],
        "{}",
        caught_up.errors
    );
    assert_eq!(place.text("a").len(), 6);
}

#[test]
fn deleted_frozen_and_held_documents_stay_as_they_are() {
    let stopped = Stopped::new();
    stopped.import("gone", &typed(1, 0, "x")).text();
    stopped.run(&["doc", "delete", "gone"]).text();
    stopped.import("frozen", &typed(1, 0, "x")).text();
    stopped.with_store(async |store| {
        let name = driftless_proto::name::DocumentName::new("frozen").unwrap();
        store
            .set_quarantine(&name, Some("a test froze it"))
            .await
            .unwrap();
        store.close().await.unwrap();
    });
    let place = Place::new();
    place.put("gone", &typed(1, 0, "x"));
    place.put("frozen", &typed(2, 0, "y"));
    let folder = place.path("updates");
    let import = ["import", "updates", &folder, "--json", "--merge"];
    let refused = stopped.run(&import);
    assert_eq!(refused.code, EXIT_REFUSED);
    let told = report(&refused)["notes"].to_string();
    assert!(
        told.contains("a test froze it") && told.contains("does not come back"),
        "{told}"
    );

    let held = DataFolder::open(&stopped.data()).unwrap();
    let told = stopped.run(&import);
    assert!(told.failed(EXIT_REFUSED).contains("stop that server first"));
    drop(held);
    older(&stopped.data().join(DATABASE_FILE_NAME));
    let dry = stopped.run(&[&import[..], &["--dry-run"]].concat());
    assert!(dry.failed(EXIT_REFUSED).contains("driftless migrate"));
}

fn run_sql(url: &str, statements: &[(&str, &[&[u8]])]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if url.starts_with("sqlite:") {
            let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
            let mut connection =
                sqlx::SqliteConnection::connect_with(&options.create_if_missing(true))
                    .await
                    .unwrap();
            for (statement, values) in statements {
                let mut query = sqlx::query(AssertSqlSafe(*statement));
                for value in *values {
                    query = query.bind(value.to_vec());
                }
                query.execute(&mut connection).await.unwrap();
            }
            connection.close().await.unwrap();
        } else {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            for (statement, values) in statements {
                let mut query = sqlx::query(AssertSqlSafe(*statement));
                for value in *values {
                    query = query.bind(value.to_vec());
                }
                query.execute(&mut connection).await.unwrap();
            }
            connection.close().await.unwrap();
        }
    });
}

#[test]
fn a_hocuspocus_file_is_read_by_its_table_and_columns() {
    let place = Place::new();
    let file = place.path("db.sqlite");
    let (one, two) = (typed(1, 0, "one"), typed(2, 0, "two"));
    let put = "INSERT INTO documents VALUES (CAST(?1 AS TEXT), ?2)";
    run_sql(
        &format!("sqlite:{file}"),
        &[
            (SCHEMA, &[]),
            (put, &[b"a", &one]),
            (put, &[b"\xff", &one]),
            (put, &["ü/b".as_bytes(), &two]),
            ("INSERT INTO documents VALUES ('text', 'no bytes')", &[]),
            (r#"CREATE TABLE "my ""log""" (id INTEGER, state BLOB)"#, &[]),
            (r#"INSERT INTO "my ""log""" VALUES (7, ?1)"#, &[&one]),
            (r#"INSERT INTO "my ""log""" VALUES (7, ?1)"#, &[&two]),
            (r#"INSERT INTO "my ""log""" VALUES (8, NULL)"#, &[]),
        ],
    );
    let import = |more: &[&str]| {
        place.run(
            &[
                &["import", "hocuspocus", "--json", "--sqlite", &file][..],
                more,
            ]
            .concat(),
        )
    };
    let all = import(&[]);
    assert_eq!(all.code, EXIT_REFUSED);
    assert_eq!(
        numbers(&all, &["source_documents", "imported", "refused", "equal"]),
        [4, 2, 2, 2]
    );
    let told = report(&all)["notes"].to_string();
    assert!(
        told.contains("not valid UTF-8") && told.contains("of type text"),
        "{told}"
    );
    assert_eq!(place.text("ü/b"), "two");
    let log = import(&[
        "--table",
        "my \"log\"",
        "--name-column",
        "id",
        "--data-column",
        "state",
    ]);
    assert_eq!(
        numbers(&log, &["imported", "empty", "equal"]),
        [1, 1, 1],
        "{}",
        log.errors
    );
    assert_eq!(place.text("7").len(), 6);

    let told = import(&["--data-column", "state"]);
    assert!(told.failed(EXIT_REFUSED).contains("the columns name, data"));
    assert!(
        import(&["--table", "none"])
            .failed(EXIT_REFUSED)
            .contains("--table")
    );
    let other = |file: &str| place.run(&["import", "hocuspocus", "--sqlite", file]);
    other(&place.path("none")).failed(EXIT_NOT_FOUND);
    std::fs::write(place.path("page"), vec![b'x'; 4_096]).unwrap();
    assert!(
        other(&place.path("page"))
            .failed(EXIT_REFUSED)
            .contains("no SQLite database")
    );
    place.run(&["import", "hocuspocus"]).failed(EXIT_USAGE);
}

#[test]
fn a_hocuspocus_file_with_many_names_is_read_page_by_page() {
    let place = Place::new();
    let file = place.path("db.sqlite");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) \
                INSERT INTO documents SELECT CASE i WHEN 0 THEN '' ELSE 'doc ' || i END, ?1 FROM n";
    run_sql(
        &format!("sqlite:{file}"),
        &[(SCHEMA, &[]), (fill, &[&typed(1, 0, "x")])],
    );
    let ran = place.run(&["import", "hocuspocus", "--json", "--sqlite", &file]);
    assert_eq!(
        numbers(&ran, &["documents", "imported", "equal", "refused"]),
        [1_201, 1_200, 1_200, 1]
    );
}

/// A database with a table of the application's own, and another one for a store.
struct Databases {
    from: String,
    to: String,
}

const IDS: [&str; 2] = [
    "00000000-0000-0000-0000-000000000001",
    "00000000-0000-0000-0000-000000000002",
];

/// Where the documents are in it.
const TABLE: [&str; 4] = ["--table", "app.Docs", "--name-column", "id"];

impl Databases {
    fn new() -> Self {
        let from = database();
        let put = "INSERT INTO app.\"Docs\" SELECT (convert_from($1, 'UTF8'))::uuid, $2";
        let create = "CREATE TABLE app.\"Docs\" (id uuid, state bytea, note text)";
        let (one, two) = (typed(1, 0, "one"), typed(2, 0, "two"));
        run_sql(
            &from,
            &[
                ("CREATE SCHEMA app", &[]),
                (create, &[]),
                (put, &[IDS[0].as_bytes(), &one]),
                (put, &[IDS[1].as_bytes(), &one]),
                (put, &[IDS[1].as_bytes(), &two]),
                ("INSERT INTO app.\"Docs\" VALUES (NULL, NULL)", &[]),
            ],
        );
        let to = database();
        Self { from, to }
    }

    fn import(&self, from: &str, more: &[&str]) -> Ran {
        let base = ["import", "hocuspocus", "--json", "--store", &self.to];
        ran_quietly(&[&base[..], &["--postgres", from], more].concat())
    }
}

#[test]
fn a_hocuspocus_table_in_postgres_is_imported_into_postgres() {
    let databases = Databases::new();
    let import = |more: &[&str]| {
        let columns = ["--data-column", "state"];
        databases.import(&databases.from, &[&TABLE[..], &columns, more].concat())
    };
    let dry = import(&["--dry-run"]);
    assert_eq!(numbers(&dry, &["imported"]), [2], "{}", dry.errors);
    let first = import(&[]);
    let names = ["imported", "equal", "refused"];
    assert_eq!(numbers(&first, &names), [2, 2, 0], "{}", first.errors);
    let again = import(&["--dry-run"]);
    let names = ["imported", "unchanged", "equal"];
    assert_eq!(numbers(&again, &names), [0, 2, 2], "{}", again.errors);
    let data = Place::new().path("data");
    let list = [
        "doc",
        "list",
        "--json",
        "--store",
        &databases.to,
        "--data",
        &data,
    ];
    assert_eq!(ran_quietly(&list).json()[1]["document"], json!(IDS[1]));
}

#[test]
fn databases_that_cannot_be_read_are_told_without_secrets() {
    let databases = Databases::new();
    let note = [&TABLE[..], &["--data-column", "note"]].concat();
    let told = databases.import(&databases.from, &note);
    assert!(
        told.failed(EXIT_REFUSED)
            .contains("of type text, not bytea")
    );
    let told = databases.import(&databases.from, &[]);
    assert!(told.failed(EXIT_REFUSED).contains("no table `documents`"));
    let table = [
        ("mysql://me:hunter2-secret@host/db", EXIT_REFUSED),
        (
            "postgres://me:hunter2-secret@127.0.0.1:1/db",
            EXIT_UNAVAILABLE,
        ),
        ("postgres://me:hunter2-secret@[", EXIT_REFUSED),
    ];
    for (url, code) in table {
        databases.import(url, &[]).failed(code);
    }
}
