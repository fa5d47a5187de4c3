//! Commands on the folder of a stopped server.

use std::path::PathBuf;

use driftless_proto::name::DocumentName;
use serde_json::json;

use super::*;
use crate::store::Store;
use crate::store::data_folder::DataFolder;
use crate::store::sqlite::SqliteStore;

/// A folder on which a server ran once.
pub(super) struct Stopped {
    parent: tempfile::TempDir,
}

impl Stopped {
    pub(super) fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let stopped = Self { parent };
        stopped.with_store(async |store| store.close().await.unwrap());
        stopped
    }

    pub(super) fn data(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.parent.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        ran_on(&self.data(), arguments)
    }

    /// Imports bytes through a file.
    pub(super) fn import(&self, name: &str, update: &[u8]) -> Ran {
        let file = self.file("import.update");
        std::fs::write(&file, update).unwrap();
        self.run(&["doc", "import", name, &file, "--json"])
    }

    pub(super) fn with_store(&self, work: impl AsyncFnOnce(&SqliteStore)) {
        let folder = DataFolder::open(&self.data()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = SqliteStore::open(&folder).await.unwrap();
            work(&store).await;
        });
    }
}

/// A Yjs v1 update in which `client` writes `text` at `clock` into the root text `body`.
pub(super) fn typed(client: u8, clock: u8, text: &str) -> Vec<u8> {
    let mut update = vec![1, 1, client, clock, 4, 1, 4];
    update.extend_from_slice(b"body");
    update.push(text.len() as u8);
    update.extend_from_slice(text.as_bytes());
    update.push(0);
    update
}

#[test]
fn what_is_imported_is_listed_shown_and_exported() {
    let stopped = Stopped::new();
    assert_eq!(stopped.run(&["doc", "list", "--json"]).json(), json!([]));
    let imported = stopped.import("notes/a", &typed(1, 0, "hello"));
    assert_eq!(imported.json(), json!({ "head": 1, "changed": true }));
    let again = stopped.import("notes/a", &typed(1, 0, "hello"));
    assert_eq!(again.json(), json!({ "head": 1, "changed": false }));
    stopped.import("other", &typed(1, 0, "x")).text();

    let listed = stopped.run(&["doc", "list", "notes/", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["document"], "notes/a");
    let table = stopped.run(&["doc", "list"]).text();
    assert!(
        table.contains("notes/a") && table.contains("other"),
        "{table}"
    );

    let shown = stopped.run(&["doc", "show", "notes/a", "--json"]).json();
    assert_eq!((&shown["head"], &shown["epoch"]), (&json!(1), &json!(1)));
    assert_eq!(shown["state_bytes"], typed(1, 0, "hello").len());
    assert_eq!(shown["live"], json!(null));
    let page = stopped.run(&["doc", "show", "notes/a"]).text();
    assert!(page.contains("head        1 (epoch 1)"), "{page}");

    let export = |format: &str| stopped.run(&["doc", "export", "notes/a", "--format", format]);
    assert_eq!(export("update").output, typed(1, 0, "hello"));
    assert_eq!(export("json").json(), json!({ "body": "hello" }));
    assert_eq!(export("text").text(), "hello");
}

#[test]
fn an_export_replaces_a_file_at_once_and_can_be_imported_again() {
    let stopped = Stopped::new();
    stopped.import("a", &typed(1, 0, "kept")).text();
    let file = stopped.file("a.update");
    std::fs::write(&file, "old").unwrap();
    let told = stopped
        .run(&["doc", "export", "a", "-o", &file, "--json"])
        .json();
    let state = std::fs::read(&file).unwrap();
    assert_eq!(told, json!({ "file": file, "bytes": state.len() }));
    stopped.run(&["doc", "import", "b", &file]).text();
    let text = stopped.run(&["doc", "export", "b", "--format", "text", "--root", "body"]);
    assert_eq!(text.text(), "kept");

    let nowhere = stopped.file("no/such/folder/a.update");
    let failed = stopped.run(&["doc", "export", "a", "-o", &nowhere]);
    assert!(failed.failed(EXIT_FAILED).contains("cannot be written"));
    let unknown = stopped.run(&["doc", "export", "a", "--format", "text", "--root", "title"]);
    assert!(unknown.failed(EXIT_REFUSED).contains("`body`"));
}

#[test]
fn an_update_can_come_from_standard_input() {
    let stopped = Stopped::new();
    let data = stopped.data();
    let arguments = ["doc", "import", "a", "-", "--data", data.to_str().unwrap()];
    let piped = ran_with(&arguments, &Variables::new(), &typed(1, 0, "piped"));
    assert_eq!(piped.text(), "imported; the head is now 1\n");
    let missing = stopped.run(&["doc", "import", "a", &stopped.file("none")]);
    missing.failed(EXIT_NOT_FOUND);
}

#[test]
fn nothing_hostile_or_partial_is_taken_in() {
    let stopped = Stopped::new();
    stopped.import("a", &typed(1, 0, "hello")).text();
    let brick = [
        1, 2, 3, 11, 2, 3, 11, 39, 1, 1, 109, 4, 110, 127, 115, 116, 1, 40, 0, 3, 11, 1, 122, 1,
        125, 1, 0,
    ];
    let mut nested = vec![1, 1, 5, 0, 8, 1, 1, 97, 1];
    nested.extend([117, 1].repeat(8_000));
    nested.extend([126, 0]);
    let bomb = [255, 255, 255, 122];
    for hostile in [&b""[..], b"hello", &brick, &nested, &bomb] {
        stopped.import("a", hostile).failed(EXIT_REFUSED);
        stopped.import("new", hostile).failed(EXIT_REFUSED);
    }
    let gap = stopped.import("a", &typed(1, 9, "later"));
    assert!(gap.failed(EXIT_REFUSED).contains("whole state"));
    let shown = stopped.run(&["doc", "show", "a", "--json"]).json();
    assert_eq!(shown["head"], 1);
    stopped.run(&["doc", "show", "new"]).failed(EXIT_NOT_FOUND);
}

#[test]
fn imports_obey_the_limits_of_live_edits() {
    let stopped = Stopped::new();
    let small = vec![
        ("DRIFTLESS_DOCUMENT_BYTES_MAX", "64KiB"),
        ("DRIFTLESS_FRAME_BYTES_MAX", "128KiB"),
    ];
    let data = stopped.data();
    let arguments = ["doc", "import", "a", "-", "--data", data.to_str().unwrap()];
    let frame = ran_with(&arguments, &small, &vec![0; (128 << 10) + 1]);
    assert!(
        frame
            .failed(EXIT_REFUSED)
            .contains("frame_bytes_max (128KiB)")
    );

    let mut large = vec![1, 1, 1, 0, 4, 1, 4];
    large.extend_from_slice(b"body");
    let length = 70_000_u32;
    large.extend([
        length as u8 | 128,
        (length >> 7) as u8 | 128,
        (length >> 14) as u8,
    ]);
    large.extend(vec![b'x'; length as usize]);
    large.push(0);
    let full = ran_with(&arguments, &small, &large);
    assert!(full.failed(EXIT_REFUSED).contains("size limit"));
    ran_with(&arguments, &Variables::new(), &large).text();
}

#[test]
fn a_deleted_document_does_not_come_back() {
    let stopped = Stopped::new();
    stopped.import("a", &typed(1, 0, "gone")).text();
    let deleted = stopped.run(&["doc", "delete", "a", "--json"]).json();
    assert_eq!(deleted, json!({ "epoch": 2 }));
    stopped.run(&["doc", "delete", "a"]).failed(EXIT_NOT_FOUND);
    stopped.run(&["doc", "export", "a"]).failed(EXIT_NOT_FOUND);
    let listed = stopped.run(&["doc", "list", "--json"]).json();
    assert_eq!(listed[0]["deleted"], true);

    let old = stopped.import("a", &typed(1, 0, "gone"));
    assert!(old.failed(EXIT_REFUSED).contains("another name"));
    stopped.import("b", &typed(1, 0, "gone")).text();
    stopped.import("a", &typed(2, 0, "new")).text();
    let text = stopped.run(&["doc", "export", "a", "--format", "text"]);
    assert_eq!(text.text(), "new");
}

#[test]
fn a_quarantined_document_is_readable_until_it_is_released() {
    let stopped = Stopped::new();
    stopped.import("a", &typed(1, 0, "hello")).text();
    stopped.with_store(async |store| {
        let name = DocumentName::new("a").unwrap();
        store
            .set_quarantine(&name, Some("a test froze it"))
            .await
            .unwrap();
        store.close().await.unwrap();
    });
    let refused = stopped.import("a", &typed(2, 0, "more"));
    assert!(refused.failed(EXIT_REFUSED).contains("a test froze it"));
    let page = stopped.run(&["doc", "show", "a"]).text();
    assert!(page.contains("state       quarantined"), "{page}");
    let text = stopped.run(&["doc", "export", "a", "--format", "text"]);
    assert_eq!(text.text(), "hello");

    stopped.run(&["doc", "release", "a"]).text();
    stopped.import("a", &typed(2, 0, "more")).text();
}

#[test]
fn names_that_are_not_there_are_told_as_such() {
    let stopped = Stopped::new();
    stopped.import("ab", &typed(1, 0, "x")).text();
    for command in ["show", "export", "delete", "verify", "repair", "release"] {
        let told = stopped.run(&["doc", command, "a"]);
        assert!(
            told.failed(EXIT_NOT_FOUND).contains("doc list"),
            "{command}"
        );
    }
    let long = "a".repeat(513);
    let told = stopped.run(&["doc", "show", &long]);
    assert!(told.failed(EXIT_REFUSED).contains("513 bytes"));
}
