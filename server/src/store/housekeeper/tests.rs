//! Housekeeping keeps every document readable while its log shrinks.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::store::conformance::{Backend, append, committed, fill, name};
use crate::store::sqlite::tests::SqliteBackend;
use crate::store::{LogLimits, LogStart, StatsFilter};

const BOUNDS: LogBounds = LogBounds {
    history_ms: 600_000,
    history_bytes_max: u64::MAX,
    compact_appends: 10,
    compact_bytes: 1_000_000,
};

/// Updates one after the other: what a document "is" can be read off its state.
fn join(base: Option<&[u8]>, appends: &[Bytes]) -> Result<Bytes, String> {
    let mut state = base.unwrap_or_default().to_vec();
    for append in appends {
        assert!(!append.starts_with(b"panic"), "a planned panic");
        if append.starts_with(b"fail") {
            return Err("a planned failure".to_owned());
        }
        state.extend_from_slice(append);
        state.push(b';');
    }
    Ok(state.into())
}

struct Bench {
    backend: SqliteBackend,
    store: Arc<dyn Store>,
    now_ms: Arc<AtomicU64>,
    rounds: Rounds,
}

impl Bench {
    async fn start(bounds: LogBounds) -> Self {
        let backend = SqliteBackend::start().await;
        let store = backend.store();
        let now_ms = Arc::new(AtomicU64::new(0));
        let clock = now_ms.clone();
        let now = move || clock.load(Ordering::Relaxed);
        let rounds = Rounds::new(store.clone(), bounds, Arc::new(now), Arc::new(join));
        Self {
            backend,
            store,
            now_ms,
            rounds,
        }
    }

    async fn round_at(&mut self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        self.rounds.round().await;
    }

    /// The document's state as a load gives it, and what the load had to read.
    async fn loaded(&self, document: &str) -> (Bytes, Option<u64>, usize) {
        let loaded = self.store.load(&name(document)).await.unwrap();
        assert_eq!(loaded.damage, None);
        let base = loaded.snapshot.as_ref();
        let updates: Vec<Bytes> = loaded
            .appends
            .iter()
            .map(|one| one.update.clone())
            .collect();
        let state = join(base.map(|snapshot| &snapshot.state[..]), &updates).unwrap();
        let sequence = base.map(|snapshot| snapshot.sequence);
        (state, sequence, updates.len())
    }

    /// The same state, read through the history, and where that starts.
    async fn history(&self, document: &str) -> (Bytes, Option<u64>, usize) {
        let start = LogStart::After(0);
        let range = self
            .store
            .read_log(&name(document), start, LogLimits::NONE)
            .await;
        let range = range.unwrap();
        assert_eq!(range.damage, None);
        let base = range.snapshot.as_ref();
        let updates: Vec<Bytes> = range.appends.iter().map(|one| one.update.clone()).collect();
        let state = join(base.map(|snapshot| &snapshot.state[..]), &updates).unwrap();
        let sequence = base.map(|snapshot| snapshot.sequence);
        (state, sequence, updates.len())
    }
}

fn state_of(numbers: std::ops::RangeInclusive<u64>) -> Bytes {
    let parts: Vec<String> = numbers.map(|number| format!("update {number};")).collect();
    parts.concat().into()
}

#[tokio::test]
async fn a_long_log_gets_a_snapshot_and_keeps_its_history() {
    let mut bench = Bench::start(BOUNDS).await;
    fill(&*bench.store, "long", 1..=25).await;
    fill(&*bench.store, "short", 1..=10).await;
    bench.round_at(2_000).await;
    assert_eq!(bench.loaded("long").await, (state_of(1..=25), Some(25), 0));
    assert_eq!(bench.history("long").await, (state_of(1..=25), None, 25));
    assert_eq!(bench.loaded("short").await, (state_of(1..=10), None, 10));
    fill(&*bench.store, "long", 26..=30).await;
    bench.round_at(2_000).await;
    assert_eq!(bench.loaded("long").await, (state_of(1..=30), Some(25), 5));
}

#[tokio::test]
async fn expired_history_moves_into_the_base() {
    let mut bench = Bench::start(BOUNDS).await;
    // Append number n is made at 1,000 + n ms.
    fill(&*bench.store, "a", 1..=25).await;
    bench.round_at(600_000 + 60_000 + 1_000).await;
    assert_eq!(bench.history("a").await, (state_of(1..=25), None, 25));
    // Now the first is an eighth of the history (75 s) over its time: what is over it at all goes.
    let now_ms = 600_000 + 75_000 + 1_002;
    bench.round_at(now_ms).await;
    assert_eq!(bench.history("a").await, (state_of(1..=25), Some(25), 0));
    assert_eq!(bench.loaded("a").await, (state_of(1..=25), Some(25), 0));
    let mut young = append("a", 1, 26);
    young.time_ms = now_ms;
    assert_eq!(bench.store.commit(&[young]).await, Ok(vec![committed(26)]));
    bench.round_at(now_ms + 600_000).await;
    assert_eq!(bench.history("a").await, (state_of(1..=26), Some(25), 1));
    let line = bench.store.list("a", None, 1).await.unwrap().remove(0);
    assert_eq!((line.appends, line.head), (1, 26));
    let everything = StatsFilter {
        uncovered_appends: 0,
        uncovered_bytes: u64::MAX,
        oldest_before_ms: u64::MAX,
        kept_bytes: 0,
    };
    let stats = bench.store.scan_stats(&everything, 0).await.unwrap().stats;
    assert!(!stats[0].has_dead_rows, "the rows are gone, too");
}

#[tokio::test]
async fn history_beyond_its_bytes_goes_oldest_first() {
    let bounds = LogBounds {
        history_bytes_max: 160,
        ..BOUNDS
    };
    let mut bench = Bench::start(bounds).await;
    // Updates of 9 bytes: 20 make 180, which is cut to 120.
    fill(&*bench.store, "a", 10..=29).await;
    bench.round_at(2_000).await;
    assert_eq!(bench.history("a").await, (state_of(10..=29), Some(7), 13));
    assert_eq!(bench.loaded("a").await.0, state_of(10..=29));
}

#[tokio::test]
async fn no_history_keeps_only_the_state() {
    let bounds = LogBounds {
        history_ms: 0,
        ..BOUNDS
    };
    let mut bench = Bench::start(bounds).await;
    fill(&*bench.store, "a", 1..=25).await;
    bench.round_at(3_600_000).await;
    assert_eq!(bench.history("a").await, (state_of(1..=25), Some(25), 0));
}

#[tokio::test]
async fn a_document_that_cannot_be_built_stops_no_other() {
    let mut bench = Bench::start(BOUNDS).await;
    for (document, update) in [("fails", "fail"), ("panics", "panic")] {
        fill(&*bench.store, document, 1..=20).await;
        let mut bad = append(document, 1, 21);
        bad.update = Bytes::from(update);
        bench.store.commit(&[bad]).await.unwrap();
    }
    fill(&*bench.store, "spoilt", 1..=25).await;
    bench.backend.spoil_append(&name("spoilt"), 20).await;
    fill(&*bench.store, "well", 1..=25).await;
    bench.round_at(2_000).await;
    assert_eq!(bench.loaded("well").await.1, Some(25));
    for document in ["fails", "panics", "spoilt"] {
        let loaded = bench.store.load(&name(document)).await.unwrap();
        assert_eq!(loaded.snapshot, None, "{document}");
    }
    assert_eq!(
        bench
            .store
            .load(&name("panics"))
            .await
            .unwrap()
            .appends
            .len(),
        21
    );
}

#[tokio::test]
async fn a_deleted_log_is_removed_even_if_the_delete_was_cut_short() {
    let mut bench = Bench::start(BOUNDS).await;
    fill(&*bench.store, "a", 1..=5).await;
    bench.backend.settle().await;
    let statement = "UPDATE documents SET epoch = 2, epoch_start = head, floor_sequence = head, \
         covered_sequence = head WHERE name = ?1 AND head >= ?2";
    bench.backend.tamper(statement, &name("a"), 5).await;
    bench.round_at(2_000).await;
    let mut raw = bench.backend.raw().await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM appends")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn the_task_works_and_stops() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=25).await;
    let options = HousekeeperOptions {
        compact_appends: 10,
        pause: Duration::from_millis(1),
        ..HousekeeperOptions::default()
    };
    let housekeeper = Housekeeper::start(store.clone(), options, || 2_000, join);
    let begun = std::time::Instant::now();
    while store.load(&name("a")).await.unwrap().snapshot.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    housekeeper.stop().await;
    let holders = Arc::strong_count(&store);
    assert_eq!(holders, 2, "this test and its backend");
}
