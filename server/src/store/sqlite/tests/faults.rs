//! Faults on real files: killed processes, corrupt pages, disks that take nothing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use sqlx::Row;

use super::*;
use crate::store::conformance::{append, committed, fill, name};
use crate::store::{CommitOutcome, StoreError};

/// Lies in the working directory of the process that is going to be killed; it writes there.
const CHILD_MARK: &str = "this-process-will-be-killed";

/// The documents that the killed process writes to in turn.
const CHILD_DOCUMENTS: u64 = 3;

/// Commits until it is killed, and says after each commit what is durable.
async fn commit_until_killed() {
    let folder = DataFolder::open(Path::new(".")).unwrap();
    let store = SqliteStore::open(&folder).await.unwrap();
    let start = store.load(&name("d0")).await.unwrap().head;
    for round in start.. {
        let batch: Vec<_> = (0..CHILD_DOCUMENTS * 2)
            .map(|number| {
                let document = format!("d{}", number % CHILD_DOCUMENTS);
                append(&document, 1, round * 100 + number)
            })
            .collect();
        let outcomes = store.commit(&batch).await.unwrap();
        store.after_commit().await.unwrap();
        for (append, outcome) in batch.iter().zip(outcomes) {
            let CommitOutcome::Committed { sequence } = outcome else {
                panic!("{outcome:?}");
            };
            println!(
                "committed {} {sequence} {}",
                append.document, append.time_ms
            );
        }
    }
}

#[tokio::test]
async fn a_killed_process_keeps_every_commit_it_reported() {
    if Path::new(CHILD_MARK).exists() {
        return commit_until_killed().await;
    }
    const KILLS: usize = 5;
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join(CHILD_MARK), b"").unwrap();
    let mut reported: HashMap<(String, u64), u64> = HashMap::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg(concat!(
                "store::sqlite::tests::faults::",
                "a_killed_process_keeps_every_commit_it_reported"
            ))
            .current_dir(parent.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            // libtest begins a line of its own without ending it.
            let Some((_, words)) = line.split_once("committed ") else {
                continue;
            };
            let words: Vec<&str> = words.split(' ').collect();
            let [document, sequence, time_ms] = words[..] else {
                continue;
            };
            let Ok(time_ms) = time_ms.parse() else {
                continue;
            };
            reported.insert((document.to_owned(), sequence.parse().unwrap()), time_ms);
            seen += 1;
            if seen == 60 + kill * 7 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 60, "the child wrote {seen} lines only");
    }
    let folder = DataFolder::open(parent.path()).unwrap();
    let store = SqliteStore::open(&folder).await.unwrap();
    assert_eq!(store.verify_structure().await.unwrap(), [""; 0]);
    for ((document, sequence), time_ms) in reported {
        let loaded = store.load(&name(&document)).await.unwrap();
        assert_eq!(loaded.damage, None);
        let append = &loaded.appends[sequence as usize - 1];
        assert_eq!((append.sequence, append.time_ms), (sequence, time_ms));
    }
}

/// A closed database of forty documents, and two neighbours of the pages that hold their logs.
async fn closed_database() -> (TempDir, DataFolder, [usize; 2]) {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(parent.path()).unwrap();
    let store = SqliteStore::open(&folder).await.unwrap();
    for document in 0..40 {
        fill(&store, &format!("d{document:02}"), 1..=60).await;
    }
    let mut connection = super::super::open::open_writer(store.path()).await.unwrap();
    let pages = sqlx::query(
        "SELECT pageno FROM dbstat WHERE name = 'appends' AND pagetype = 'leaf' ORDER BY path",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let middle = pages.len() / 2;
    let pages = [middle, middle + 1].map(|at| pages[at].try_get::<i64, _>(0).unwrap() as usize);
    connection.close().await.unwrap();
    store.close().await.unwrap();
    (parent, folder, pages)
}

fn harm(folder: &DataFolder, harm: impl FnOnce(&mut [u8])) {
    let mut bytes = std::fs::read(folder.database()).unwrap();
    harm(&mut bytes);
    std::fs::write(folder.database(), bytes).unwrap();
}

/// Loads all documents: harmed ones say so, all others are whole and stay writable.
async fn assert_harm_is_contained(folder: &DataFolder) {
    let store = SqliteStore::open(folder).await.unwrap();
    let (mut harmed, mut whole) = (0, 0);
    for document in 0..40 {
        let document = format!("d{document:02}");
        match store.load(&name(&document)).await {
            Ok(loaded) if loaded.damage.is_none() => {
                let numbers = loaded.appends.iter().map(|append| append.time_ms - 1_000);
                assert_eq!(numbers.collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
                let outcomes = store.commit(&[append(&document, 1, 61)]).await;
                assert_eq!(outcomes, Ok(vec![committed(61)]));
                whole += 1;
            }
            Ok(loaded) => {
                assert!(loaded.appends.len() < 60);
                let found = store.inspect(&name(&document)).await.unwrap();
                assert!(!found.findings.is_empty());
                harmed += 1;
            }
            Err(StoreError::Damaged(_)) => harmed += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(harmed >= 1, "the harm was not noticed");
    assert!(whole >= 35, "{harmed} documents are harmed");
    assert_ne!(store.verify_structure().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_page_of_garbage_harms_only_the_documents_on_it() {
    let (_parent, folder, [page, _]) = closed_database().await;
    harm(&folder, |bytes| {
        bytes[(page - 1) * 4_096..page * 4_096].fill(0xa5)
    });
    assert_harm_is_contained(&folder).await;
}

#[tokio::test]
async fn a_page_of_zeroes_harms_only_the_documents_on_it() {
    let (_parent, folder, [page, _]) = closed_database().await;
    harm(&folder, |bytes| {
        bytes[(page - 1) * 4_096..page * 4_096].fill(0)
    });
    assert_harm_is_contained(&folder).await;
}

#[tokio::test]
async fn a_log_that_takes_no_more_rows_stops_no_other_document() {
    let (_parent, folder, pages) = closed_database().await;
    harm(&folder, |bytes| {
        for page in pages {
            bytes[(page - 1) * 4_096..page * 4_096].fill(0xa5);
        }
    });
    let store = SqliteStore::open(&folder).await.unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("d{number:02}")).collect();
    // Without a load nobody knows of the damage, and the journal takes everything.
    let numbered = names.iter().zip(100..);
    let batch: Vec<_> = numbered
        .map(|(name, number)| append(name, 1, number))
        .collect();
    assert_eq!(store.commit(&batch).await, Ok(vec![committed(61); 40]));
    let mut number = 200..;
    for _ in 0..2 {
        store.writer.settle().await.unwrap();
        let listed = store.list("", None, 100).await.unwrap();
        let frozen: Vec<_> = listed
            .iter()
            .filter(|one| one.quarantine.is_some())
            .collect();
        assert!((1..=4).contains(&frozen.len()), "{frozen:?}");
        for one in &frozen {
            assert_eq!(one.head, 61, "what was acknowledged is kept");
            let loaded = store.load(&one.name).await;
            assert!(loaded.is_ok_and(|loaded| loaded.damage.is_some()));
            let refused = store
                .commit(&[append(one.name.as_str(), 1, number.next().unwrap())])
                .await;
            assert_eq!(refused, Ok(vec![CommitOutcome::Quarantined]));
            let release = store.set_quarantine(&one.name, None).await;
            assert!(
                matches!(release, Err(StoreError::Refused(_))),
                "{release:?}"
            );
        }
        for one in listed.iter().filter(|one| one.quarantine.is_none()) {
            assert_eq!(store.load(&one.name).await.unwrap().head, one.head);
        }
    }
    // After a restart it is the same, and a deletion makes a fresh start of it.
    drop(store);
    let store = SqliteStore::open(&folder).await.unwrap();
    fill(&store, "d00", 300..=300).await;
    let listed = store.list("", None, 100).await.unwrap();
    let frozen = listed.iter().find(|one| one.quarantine.is_some()).unwrap();
    assert_eq!(store.delete(&frozen.name, &[0]).await, Ok(2));
    let again = store.commit(&[append(frozen.name.as_str(), 2, 400)]).await;
    assert_eq!(
        again,
        Ok(vec![committed(62)]),
        "numbers are not given twice"
    );
}

#[tokio::test]
async fn a_flipped_bit_in_an_update_is_found_and_repaired() {
    let (_parent, folder, [page, _]) = closed_database().await;
    harm(&folder, |bytes| {
        let page = &mut bytes[(page - 1) * 4_096..page * 4_096];
        let text = b"update 3";
        // Some of what matches may be remnants of moved rows: harm all of it.
        for at in 0..page.len() - text.len() {
            if page[at..].starts_with(text) {
                page[at] ^= 1;
            }
        }
    });
    let store = SqliteStore::open(&folder).await.unwrap();
    assert_eq!(store.verify_structure().await.unwrap(), [""; 0]);
    let mut harmed = Vec::new();
    for document in 0..40 {
        let document = name(&format!("d{document:02}"));
        if store.load(&document).await.unwrap().damage.is_some() {
            harmed.push(document);
        }
    }
    assert!((1..=4).contains(&harmed.len()), "{harmed:?}");
    for document in harmed {
        let repair = store.repair(&document, None).await.unwrap();
        assert_eq!(repair.appends_cut, 60 - repair.head, "{repair:?}");
        let loaded = store.load(&document).await.unwrap();
        let appends = loaded.appends.len() as u64;
        assert_eq!((loaded.damage, appends), (None, repair.head));
        assert!(appends < 60);
    }
}

/// Runs a statement on the connection that the next commit will use.
async fn prepare_writer(backend: &SqliteBackend, statement: &'static str) {
    let mut lease = backend.store.writer.lease().await.unwrap();
    let done = sqlx::query(statement).execute(&mut lease.connection).await;
    lease.finish(done).unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_whole_batches_and_takes_them_later() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=2).await;
    // SQLite raises the limit to the present size: not one more page is to be had.
    prepare_writer(&backend, "PRAGMA max_page_count = 1").await;
    let mut batch = [append("a", 1, 3), append("b", 1, 4)];
    batch[1].update = vec![1; 100_000].into();
    let refused = store.commit(&batch).await;
    assert!(
        matches!(refused, Err(StoreError::DiskFull(_))),
        "{refused:?}"
    );
    assert_eq!(
        store.load(&name("a")).await.unwrap().head,
        2,
        "nothing of it is stored"
    );
    let outcomes = store.commit(&batch).await.unwrap();
    assert_eq!(outcomes, [committed(3), committed(1)]);
    assert_eq!(store.inspect(&name("b")).await.unwrap().findings, [""; 0]);
}

#[tokio::test]
async fn a_read_only_disk_is_told_and_comes_back() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=2).await;
    prepare_writer(&backend, "PRAGMA query_only = ON").await;
    let refused = store.commit(&[append("a", 1, 3)]).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull(_)), "{error:?}");
    assert!(error.to_string().contains("writable"), "{error}");
    assert_eq!(store.load(&name("a")).await.unwrap().appends.len(), 2);
    fill(&*store, "a", 3..=3).await;
}

#[tokio::test]
async fn another_writers_lock_is_a_passing_error() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=1).await;
    prepare_writer(&backend, "PRAGMA busy_timeout = 0").await;
    let mut other = backend.raw().await;
    super::super::writer::begin(&mut other).await.unwrap();
    let refused = store.commit(&[append("a", 1, 2)]).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(
        store.load(&name("a")).await.unwrap().appends.len(),
        1,
        "reads go on"
    );
    other.close().await.unwrap();
    fill(&*store, "a", 2..=2).await;
}

#[tokio::test]
async fn more_than_the_database_can_hold_is_refused_for_good() {
    let backend = SqliteBackend::start().await;
    let mut connection = backend.raw().await;
    let too_big = sqlx::query("SELECT zeroblob(2000000000)")
        .fetch_one(&mut connection)
        .await;
    let error = StoreError::from(too_big.unwrap_err());
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
}
