//! The journal: rows are part of the log wherever they are, after crashes and in the middle of rounds.

use std::collections::BTreeMap;

use super::*;
use crate::store::conformance::{append, committed, fill, name, snapshot};
use crate::store::{Append, CommitOutcome, LogLimits, LogStart, StoreError};

/// More documents than a slice takes, with more rows than a round waits for.
const DOCUMENTS: u64 = 150;
const ROWS: u64 = 3_000;

fn document(number: u64) -> String {
    format!("d{:03}", number % DOCUMENTS)
}

async fn count(store: &SqliteStore, table: &'static str) -> i64 {
    let statement = match table {
        "journal" => "SELECT count(*) FROM journal",
        _ => "SELECT count(*) FROM appends",
    };
    let mut connection = super::super::open::open_writer(store.path()).await.unwrap();
    let rows = sqlx::query_scalar(statement)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    rows
}

/// Everything that was committed, once and in order.
async fn assert_whole(store: &SqliteStore) {
    for number in 0..DOCUMENTS {
        let loaded = store.load(&name(&document(number))).await.unwrap();
        assert_eq!((loaded.head, loaded.damage), (ROWS / DOCUMENTS, None));
        let times = loaded.appends.iter().map(|append| append.time_ms - 1_000);
        let expected = (0..ROWS / DOCUMENTS).map(|row| row * DOCUMENTS + number);
        assert!(times.eq(expected), "document {number}");
    }
    let listed = store.list("", None, 1_000).await.unwrap();
    assert_eq!(listed.len() as u64, DOCUMENTS);
    let heads = listed.iter().map(|one| (one.head, one.appends));
    assert!(
        heads
            .into_iter()
            .all(|pair| pair == (ROWS / DOCUMENTS, ROWS / DOCUMENTS))
    );
}

#[tokio::test]
async fn a_round_cut_short_counts_every_row_once() {
    for slices in 0..4 {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(parent.path()).unwrap();
        let store = SqliteStore::open(&folder).await.unwrap();
        let batch: Vec<_> = (0..ROWS)
            .map(|row| append(&document(row), 1, row))
            .collect();
        store.commit(&batch).await.unwrap();
        for _ in 0..slices {
            store.after_commit().await.unwrap();
            assert_whole(&store).await;
        }
        let (waiting, moved) = (
            count(&store, "journal").await,
            count(&store, "appends").await,
        );
        assert_eq!(moved == 0, slices == 0);
        assert_eq!(
            waiting == 0,
            slices == 3,
            "{waiting} rows after {slices} slices"
        );
        // Nobody closed it: the next start finds what a killed process leaves behind.
        drop(store);
        let store = SqliteStore::open(&folder).await.unwrap();
        assert_whole(&store).await;
        let next = store.commit(&[append("d000", 1, 9_999)]).await.unwrap();
        assert_eq!(next, [committed(ROWS / DOCUMENTS + 1)]);
        assert_eq!(store.verify_structure().await.unwrap(), [""; 0]);
        store.close().await.unwrap();
        drop(store);
        let store = SqliteStore::open(&folder).await.unwrap();
        assert_eq!(
            count(&store, "journal").await,
            0,
            "a clean stop leaves nothing behind"
        );
    }
}

#[tokio::test]
async fn commits_are_flushed_again_after_a_slice_that_was_not() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    let batch: Vec<_> = (0..ROWS)
        .map(|row| append(&document(row), 1, row))
        .collect();
    store.commit(&batch).await.unwrap();
    for _ in 0..4 {
        store.after_commit().await.unwrap();
        let mut lease = backend.store.writer.lease_beside_commits().await.unwrap();
        let full = super::super::open::pragma(&mut lease.connection, "PRAGMA synchronous").await;
        assert_eq!(
            lease.finish(full).unwrap(),
            2,
            "the same connection as before"
        );
    }
    assert_eq!(
        count(&backend.store, "journal").await,
        0,
        "slices were moved"
    );
}

#[tokio::test]
async fn a_row_lost_from_the_journal_is_noticed_after_a_failed_flush() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=2).await;
    backend.store.writer.pretend_flush_failed().await;
    let statement = "DELETE FROM journal WHERE sequence = ?2 AND ?1 IS NOT NULL";
    backend.tamper(statement, &name("a"), 2).await;
    let lost = store.commit(&[append("a", 1, 3)]).await;
    assert!(matches!(lost, Err(StoreError::Damaged(_))), "{lost:?}");
}

#[tokio::test]
async fn a_full_disk_hides_nothing_that_waits_in_the_journal() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=5).await;
    let mut other = backend.raw().await;
    // Whoever would have to write waits in vain, as on a full disk.
    super::super::writer::begin(&mut other).await.unwrap();
    assert_eq!(store.load(&name("a")).await.unwrap().appends.len(), 5);
    let limits = LogLimits {
        appends_max: 2,
        ..LogLimits::NONE
    };
    let range = store
        .read_log(&name("a"), LogStart::After(2), limits)
        .await
        .unwrap();
    let sequences: Vec<u64> = range.appends.iter().map(|append| append.sequence).collect();
    assert_eq!((range.head, sequences), (5, vec![3, 4]));
    assert_eq!(store.inspect(&name("a")).await.unwrap().findings, [""; 0]);
    assert_eq!(store.list("", None, 10).await.unwrap()[0].head, 5);
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_schema_before_is_taken_over() {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(parent.path()).unwrap();
    let store = SqliteStore::open(&folder).await.unwrap();
    fill(&store, "a", 1..=3).await;
    store.close().await.unwrap();
    drop(store);
    let mut raw = super::super::open::open_writer(&folder.database())
        .await
        .unwrap();
    let downgrade = "DROP TABLE journal; PRAGMA user_version = 2; \
         DELETE FROM driftless_migrations WHERE version = 3;";
    sqlx::raw_sql(downgrade).execute(&mut raw).await.unwrap();
    let trigger = include_str!("../../../../migrations/sqlite/0002_append_updates_document.sql");
    sqlx::raw_sql(trigger).execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let store = SqliteStore::open(&folder).await.unwrap();
    fill(&store, "a", 4..=5).await;
    store.writer.settle().await.unwrap();
    let loaded = store.load(&name("a")).await.unwrap();
    assert_eq!(
        (loaded.head, loaded.appends.len(), loaded.damage),
        (5, 5, None)
    );
}

/// What the store must answer, kept beside it.
#[derive(Default)]
struct Model {
    epoch: u64,
    head: u64,
    snapshot: u64,
    /// Times of the appends of this epoch, by sequence.
    times_ms: BTreeMap<u64, u64>,
}

struct Play {
    rng: fastrand::Rng,
    folder: DataFolder,
    store: SqliteStore,
    models: BTreeMap<String, Model>,
    number: u64,
}

impl Play {
    async fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..45 => self.commit(1..20).await,
            45..50 => self.commit(2_000..2_500).await,
            50..75 => self.store.after_commit().await.unwrap(),
            75..90 => self.look().await,
            90..93 => self.save_snapshot().await,
            93..95 => self.delete().await,
            95..97 => self.store.writer.pretend_flush_failed().await,
            _ => self.reopen().await,
        }
    }

    fn any(&mut self) -> String {
        format!("d{}", self.rng.u32(0..100))
    }

    async fn commit(&mut self, rows: std::ops::Range<usize>) {
        let rows = self.rng.usize(rows);
        let mut batch: Vec<Append> = Vec::new();
        for _ in 0..rows {
            let document = self.any();
            let epoch = self.models.get(&document).map_or(1, |model| model.epoch);
            self.number += 1;
            batch.push(append(&document, epoch, self.number));
        }
        let outcomes = self.store.commit(&batch).await.unwrap();
        for (append, outcome) in batch.iter().zip(outcomes) {
            let model = self.models.entry(append.document.to_string()).or_default();
            model.epoch = append.epoch;
            model.head += 1;
            assert_eq!(outcome, committed(model.head));
            model.times_ms.insert(model.head, append.time_ms);
        }
        if self.rng.u32(0..10) == 0 {
            // A lost reply: the same again is told the same.
            for outcome in self.store.commit(&batch).await.unwrap() {
                assert!(matches!(outcome, CommitOutcome::Committed { .. }));
            }
        }
    }

    async fn look(&mut self) {
        let document = self.any();
        let Some(model) = self.models.get(&document) else {
            return;
        };
        let loaded = self.store.load(&name(&document)).await.unwrap();
        assert_eq!(
            (loaded.epoch, loaded.head, loaded.damage),
            (model.epoch, model.head, None)
        );
        let times: Vec<_> = loaded
            .appends
            .iter()
            .map(|one| (one.sequence, one.time_ms))
            .collect();
        let behind = model.times_ms.range(model.snapshot + 1..);
        let expected: Vec<_> = behind
            .map(|(sequence, time_ms)| (*sequence, *time_ms))
            .collect();
        assert_eq!(times, expected, "{document}");
    }

    async fn save_snapshot(&mut self) {
        let document = self.any();
        let Some(model) = self.models.get_mut(&document) else {
            return;
        };
        if model.times_ms.is_empty() {
            return;
        }
        let (document, state) = (name(&document), snapshot(model.head));
        let saved = self.store.save_snapshot(&document, model.epoch, &state);
        assert_eq!(saved.await, Ok(true));
        model.snapshot = model.head;
    }

    async fn delete(&mut self) {
        let document = self.any();
        let Some(model) = self.models.get_mut(&document) else {
            return;
        };
        model.epoch = self.store.delete(&name(&document), &[0]).await.unwrap();
        model.times_ms.clear();
        model.snapshot = model.head;
    }

    async fn reopen(&mut self) {
        if self.rng.bool() {
            self.store.close().await.unwrap();
        }
        self.store = SqliteStore::open(&self.folder).await.unwrap();
    }
}

#[tokio::test]
async fn any_order_of_commits_rounds_and_crashes_keeps_the_logs() {
    for _ in 0..4 {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(parent.path()).unwrap();
        let store = SqliteStore::open(&folder).await.unwrap();
        let mut play = Play {
            rng: fastrand::Rng::with_seed(seed),
            folder,
            store,
            models: BTreeMap::new(),
            number: 0,
        };
        for _ in 0..250 {
            play.step().await;
        }
        for document in play.models.keys() {
            let found = play.store.inspect(&name(document)).await.unwrap();
            assert_eq!(
                (found.findings, found.head),
                (vec![], play.models[document].head)
            );
        }
        assert_eq!(play.store.verify_structure().await.unwrap(), [""; 0]);
    }
}
