//! Order, no loss, no duplication, whatever the store does.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::*;
use crate::store::conformance::{Backend, append, committed, name};
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::sqlite::tests::SqliteBackend;

/// Far more than anything here takes: only a hang gets this far.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq)]
enum Heard {
    Committed(u64, u64),
    Refused(u64, CommitRefusal),
}

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Heard>>);

impl Ear {
    fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl CommitListener for Ear {
    fn on_committed(&self, version: u64, committed: &[Committed<'_>]) {
        let newest = committed.last().unwrap().sequence;
        self.0
            .lock()
            .unwrap()
            .push(Heard::Committed(version, newest));
    }

    fn on_refused(&self, version: u64, refusal: CommitRefusal) {
        self.0
            .lock()
            .unwrap()
            .push(Heard::Refused(version, refusal));
    }
}

/// A listener that fails on every word.
#[derive(Debug)]
struct PanickingEar;

impl CommitListener for PanickingEar {
    fn on_committed(&self, _: u64, _: &[Committed<'_>]) {
        panic!("a planned panic of a listener");
    }

    fn on_refused(&self, _: u64, _: CommitRefusal) {
        panic!("a planned panic of a listener");
    }
}

struct Bench {
    _backend: SqliteBackend,
    store: Arc<FaultyStore>,
    committer: Committer,
    ears: HashMap<String, Arc<Ear>>,
}

impl Bench {
    async fn start() -> Self {
        Self::with(quick()).await
    }

    async fn with(options: CommitterOptions) -> Self {
        let backend = SqliteBackend::start().await;
        let store = Arc::new(FaultyStore::new(backend.store()));
        Self {
            committer: Committer::start(store.clone(), options),
            _backend: backend,
            store,
            ears: HashMap::new(),
        }
    }

    fn submit(&mut self, document: &str, number: u64) {
        let listener = self.ears.entry(document.to_owned()).or_default().clone();
        let append = append(document, 1, number);
        let pending = PendingAppend {
            append,
            version: number,
            listener,
        };
        assert!(self.committer.submit(pending));
    }

    async fn idle(&self, document: &str) {
        let document = name(document);
        let idle = self.committer.wait_idle(&document);
        tokio::time::timeout(PATIENCE, idle).await.unwrap();
    }

    fn heard(&self, document: &str) -> Vec<Heard> {
        self.ears[document].heard()
    }

    /// The numbers of the appends that the store holds of a document, in order.
    async fn stored(&self, document: &str) -> Vec<u64> {
        let loaded = self.store.load(&name(document)).await.unwrap();
        assert_eq!(loaded.damage, None);
        let times = loaded.appends.iter().map(|append| append.time_ms - 1_000);
        times.collect()
    }
}

/// Retries without the waits of real outages.
fn quick() -> CommitterOptions {
    CommitterOptions {
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(20),
        ..CommitterOptions::default()
    }
}

fn full() -> StoreError {
    StoreError::DiskFull("no space".to_owned())
}

#[tokio::test]
async fn appends_gather_while_a_commit_runs() {
    let mut bench = Bench::start().await;
    bench.store.hold_commits(true);
    bench.submit("a", 1);
    tokio::task::yield_now().await;
    for number in 2..=100 {
        bench.submit(if number % 2 == 0 { "a" } else { "b" }, number);
    }
    assert_eq!(bench.committer.status().queued_appends, 100);
    bench.store.hold_commits(false);
    bench.idle("a").await;
    bench.idle("b").await;
    let sizes: Vec<usize> = bench.store.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 99]);
    let heard = bench.heard("a");
    assert_eq!(heard, [Heard::Committed(1, 1), Heard::Committed(100, 51)]);
    assert_eq!(bench.heard("b"), [Heard::Committed(99, 49)], "once a batch");
    let status = bench.committer.status();
    assert_eq!((status.queued_appends, status.queued_bytes), (0, 0));
    assert_eq!(status.last_batch_appends, 99);
    assert_eq!(status.health, CommitterHealth::Healthy);
}

#[tokio::test]
async fn errors_that_pass_lose_and_repeat_nothing() {
    let mut bench = Bench::start().await;
    bench.store.plan_faults([
        Fault::Fail(full()),
        Fault::LoseReply(StoreError::Unavailable("gone".to_owned())),
        Fault::Fail(StoreError::FlushFailed("fsync".to_owned())),
        Fault::Panic,
        Fault::LoseReply(full()),
        Fault::Delay(Duration::from_millis(10)),
    ]);
    for number in 1..=50 {
        bench.submit("a", number);
        bench.submit("b", number);
        if number % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    bench.idle("a").await;
    bench.idle("b").await;
    for document in ["a", "b"] {
        let all: Vec<u64> = (1..=50).collect();
        assert_eq!(bench.stored(document).await, all);
        let heard = bench.heard(document);
        assert_eq!(heard.last(), Some(&Heard::Committed(50, 50)));
        let only_committed = heard.iter().all(|one| matches!(one, Heard::Committed(..)));
        assert!(only_committed, "{heard:?}");
    }
}

#[tokio::test]
async fn an_outage_shows_and_ends() {
    let mut bench = Bench::start().await;
    bench.store.set_outage(Some(full()));
    bench.submit("a", 1);
    while bench.store.batches().len() < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.submit("b", 2);
    let status = bench.committer.status();
    let CommitterHealth::Retrying { since, error } = &status.health else {
        panic!("not retrying");
    };
    // Three waits lie between four attempts: 1, 2 and 4 ms.
    assert!(*since >= Duration::from_millis(7), "{since:?}");
    assert_eq!(*error, full());
    assert!(status.to_string().contains("disk is full"), "{status}");
    assert_eq!(bench.heard("a"), [], "no word before it is durable");
    bench.store.set_outage(None);
    bench.idle("a").await;
    bench.idle("b").await;
    assert_eq!(bench.heard("a"), [Heard::Committed(1, 1)]);
    assert_eq!(bench.committer.status().health, CommitterHealth::Healthy);
}

#[tokio::test]
async fn a_document_that_cannot_be_stored_stops_no_other() {
    let mut bench = Bench::start().await;
    let damage = StoreError::Damaged("page 7".to_owned());
    bench.store.spoil_document(name("d3"), damage.clone());
    bench.store.hold_commits(true);
    for number in 1..=40 {
        bench.submit(&format!("d{}", number % 8), number);
    }
    bench.store.hold_commits(false);
    for document in 0..8 {
        bench.idle(&format!("d{document}")).await;
    }
    for document in (0..8u64).filter(|document| *document != 3) {
        let expected: Vec<u64> = (1..=40).filter(|number| number % 8 == document).collect();
        assert_eq!(bench.stored(&format!("d{document}")).await, expected);
    }
    let refusal = CommitRefusal::Failed(damage);
    let expected = [3, 11, 19, 27, 35].map(|version| Heard::Refused(version, refusal.clone()));
    assert_eq!(bench.heard("d3"), expected);
    assert_eq!(bench.committer.status().queued_appends, 0);
}

#[tokio::test]
async fn refusals_are_told_before_commits() {
    let mut bench = Bench::start().await;
    bench.store.commit(&[append("a", 1, 90)]).await.unwrap();
    bench.store.delete(&name("a"), &[0]).await.unwrap();
    bench.store.commit(&[append("b", 1, 91)]).await.unwrap();
    bench
        .store
        .set_quarantine(&name("b"), Some("why"))
        .await
        .unwrap();
    bench.store.hold_commits(true);
    bench.submit("a", 1);
    bench.submit("b", 2);
    let listener = bench.ears["a"].clone();
    let pending = PendingAppend {
        append: append("a", 2, 3),
        version: 3,
        listener,
    };
    assert!(bench.committer.submit(pending));
    bench.store.hold_commits(false);
    bench.idle("a").await;
    bench.idle("b").await;
    let changed = CommitRefusal::EpochChanged { current: 2 };
    let expected = [Heard::Refused(1, changed), Heard::Committed(3, 2)];
    assert_eq!(bench.heard("a"), expected);
    let expected = [Heard::Refused(2, CommitRefusal::Quarantined)];
    assert_eq!(bench.heard("b"), expected);
}

#[tokio::test]
async fn a_panicking_listener_hurts_only_itself() {
    let mut bench = Bench::start().await;
    let pending = PendingAppend {
        append: append("a", 1, 1),
        version: 1,
        listener: Arc::new(PanickingEar),
    };
    assert!(bench.committer.submit(pending));
    bench.submit("b", 2);
    bench.idle("a").await;
    bench.idle("b").await;
    bench.submit("b", 3);
    bench.idle("b").await;
    assert_eq!(bench.stored("a").await, [1]);
    assert_eq!(bench.stored("b").await, [2, 3]);
}

#[tokio::test]
async fn a_full_queue_says_so_and_still_takes_what_was_accepted() {
    let options = CommitterOptions {
        queue_bytes_max: 1_000,
        ..quick()
    };
    let mut bench = Bench::with(options).await;
    bench.store.hold_commits(true);
    for number in 1..=3 {
        assert!(bench.committer.has_room(&name("a")));
        bench.submit("a", number);
    }
    bench.submit("a", 4);
    assert!(!bench.committer.has_room(&name("a")));
    bench.submit("a", 5);
    bench.store.hold_commits(false);
    bench.idle("a").await;
    assert!(bench.committer.has_room(&name("a")));
    assert_eq!(bench.stored("a").await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn large_appends_make_small_batches() {
    let mut bench = Bench::start().await;
    bench.store.hold_commits(true);
    let listener: Arc<Ear> = Arc::default();
    for number in 1..=5u64 {
        let mut append = append("a", 1, number);
        append.update = vec![0; 3 << 20].into();
        let pending = PendingAppend {
            append,
            version: number,
            listener: listener.clone(),
        };
        assert!(bench.committer.submit(pending));
    }
    bench.submit("b", 6);
    bench.store.hold_commits(false);
    bench.idle("b").await;
    let sizes: Vec<usize> = bench.store.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2, 2]);
}

#[tokio::test]
async fn edits_gather_behind_a_commit_and_the_first_one_waits_for_nothing() {
    let queue = super::queue::Shared::new(0, 1 << 20);
    let begun = tokio::time::Instant::now();
    for waited in [Duration::ZERO, LINGER_MAX] {
        let pending = PendingAppend {
            append: append("a", 1, 1),
            version: 1,
            listener: Arc::<Ear>::default(),
        };
        assert!(queue.submit(pending));
        let batch = queue.next_batch(begun + waited).await.unwrap();
        assert_eq!(Vec::len(&batch), 1);
        assert!(begun.elapsed() >= waited);
    }
}

#[tokio::test]
async fn waiting_for_idle_means_a_load_sees_everything() {
    let mut bench = Bench::start().await;
    bench.idle("a").await;
    for number in 1..=20 {
        bench.submit("a", number);
        bench.idle("a").await;
        assert_eq!(bench.stored("a").await.len() as u64, number);
    }
}

#[tokio::test]
async fn shutdown_commits_everything_queued_and_takes_no_more() {
    let mut bench = Bench::with(CommitterOptions {
        linger: LINGER_MAX,
        ..quick()
    })
    .await;
    for number in 1..=5_000 {
        bench.submit("a", number);
    }
    bench.committer.shutdown(PATIENCE).await.unwrap();
    assert_eq!(bench.stored("a").await.len(), 5_000);
    let pending = PendingAppend {
        append: append("a", 1, 1),
        version: 1,
        listener: bench.ears["a"].clone(),
    };
    assert!(!bench.committer.submit(pending));
    bench.committer.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn shutdown_says_what_it_could_not_commit() {
    let mut bench = Bench::start().await;
    bench.store.set_outage(Some(full()));
    bench.submit("a", 1);
    bench.submit("a", 2);
    let unfinished = bench.committer.shutdown(Duration::from_millis(50)).await;
    assert_eq!(unfinished, Err(Unfinished { appends: 2 }));
}

#[tokio::test]
async fn a_dropped_committer_leaves_no_task() {
    let backend = SqliteBackend::start().await;
    let store = Arc::new(FaultyStore::new(backend.store()));
    let committer = Committer::start(store.clone(), CommitterOptions::default());
    drop(committer);
    let begun = std::time::Instant::now();
    while Arc::strong_count(&store) > 1 {
        assert!(begun.elapsed() < PATIENCE, "the task still holds the store");
        tokio::task::yield_now().await;
    }
    let outcome = store.commit(&[append("a", 1, 1)]).await.unwrap();
    assert_eq!(outcome, [committed(1)]);
}

#[tokio::test]
async fn a_lane_that_waits_holds_up_only_its_own_documents() {
    // `a` and `b` differ in the last byte, so that with two lanes they are in different ones.
    let lanes = |lanes| CommitterOptions { lanes, ..quick() };
    let mut bench = Bench::with(lanes(2)).await;
    bench
        .store
        .spoil_document(name("a"), StoreError::Unavailable("not now".to_owned()));
    bench.submit("a", 1);
    bench.submit("b", 2);
    bench.idle("b").await;
    assert_eq!(bench.stored("b").await, [2]);
    assert_eq!(bench.committer.status().queued_appends, 1);
    assert!(!bench.committer.status().is_healthy());
}
