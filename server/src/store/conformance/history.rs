//! Conformance: snapshots and the horizon of history.

use crate::store::conformance::*;
use crate::store::{LogLimits, LogRange, LogStart, StatsFilter};

async fn log_after(store: &dyn Store, document: &str, after: u64) -> LogRange {
    let start = LogStart::After(after);
    let range = store
        .read_log(&name(document), start, LogLimits::NONE)
        .await;
    range.unwrap()
}

fn sequences(range: &LogRange) -> Vec<u64> {
    range.appends.iter().map(|append| append.sequence).collect()
}

pub(crate) async fn a_snapshot_shortens_the_load(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=5).await;
    assert_eq!(
        store.save_snapshot(&document, 1, &snapshot(3)).await,
        Ok(true)
    );
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(loaded.snapshot, Some(snapshot(3)));
    assert_eq!(loaded.appends.len(), 2);
    assert_eq!((loaded.head, loaded.damage), (5, None));
    assert_eq!(
        store.save_snapshot(&document, 1, &snapshot(5)).await,
        Ok(true)
    );
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(
        (loaded.snapshot, loaded.appends),
        (Some(snapshot(5)), vec![])
    );
    let history = log_after(&*store, "a", 0).await;
    assert_eq!(history.snapshot, None);
    assert_eq!(sequences(&history), [1, 2, 3, 4, 5], "the log is kept");
}

pub(crate) async fn a_snapshot_must_fit_the_log(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    let unknown = store.save_snapshot(&document, 1, &snapshot(0)).await;
    assert_eq!(unknown, Ok(false), "of an unknown document");
    fill(&*store, "a", 1..=2).await;
    let ahead = store.save_snapshot(&document, 1, &snapshot(3)).await;
    assert_eq!(ahead, Ok(false), "beyond the head");
    let epoch = store.save_snapshot(&document, 2, &snapshot(2)).await;
    assert_eq!(epoch, Ok(false), "of another epoch");
    assert_eq!(store.save_base(&document, 1, &snapshot(3)).await, Ok(false));
    assert_eq!(store.save_base(&document, 2, &snapshot(2)).await, Ok(false));
    assert_eq!(store.load(&document).await.unwrap().snapshot, None);
}

pub(crate) async fn an_older_snapshot_does_not_replace_a_newer(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=5).await;
    store
        .save_snapshot(&document, 1, &snapshot(4))
        .await
        .unwrap();
    assert_eq!(
        store.save_snapshot(&document, 1, &snapshot(3)).await,
        Ok(false)
    );
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(loaded.snapshot, Some(snapshot(4)));
    store.save_base(&document, 1, &snapshot(3)).await.unwrap();
    assert_eq!(store.save_base(&document, 1, &snapshot(2)).await, Ok(false));
    assert_eq!(store.save_base(&document, 1, &snapshot(3)).await, Ok(false));
}

pub(crate) async fn below_the_horizon_the_base_answers(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=8).await;
    store
        .save_snapshot(&document, 1, &snapshot(6))
        .await
        .unwrap();
    assert_eq!(store.save_base(&document, 1, &snapshot(3)).await, Ok(true));
    let mut steps = 0;
    loop {
        for after in [0, 2] {
            let below = log_after(&*store, "a", after).await;
            assert_eq!(below.snapshot, Some(snapshot(3)), "after {after}");
            assert_eq!(sequences(&below), [4, 5, 6, 7, 8], "after {after}");
        }
        let above = log_after(&*store, "a", 4).await;
        assert_eq!(above.snapshot, None);
        assert_eq!(sequences(&above), [5, 6, 7, 8]);
        let loaded = store.load(&document).await.unwrap();
        assert_eq!(loaded.snapshot, Some(snapshot(6)));
        assert_eq!((loaded.appends.len(), loaded.damage), (2, None));
        steps += 1;
        if !store.trim(&document, 2).await.unwrap() {
            break;
        }
    }
    assert_eq!(steps, 2, "two rows, then one");
    let outcomes = store.commit(&[append("a", 1, 9)]).await.unwrap();
    assert_eq!(outcomes, [committed(9)]);
}

pub(crate) async fn the_horizon_may_pass_the_latest_snapshot(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=6).await;
    store
        .save_snapshot(&document, 1, &snapshot(2))
        .await
        .unwrap();
    store.save_base(&document, 1, &snapshot(6)).await.unwrap();
    while store.trim(&document, 100).await.unwrap() {}
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(
        (loaded.snapshot, loaded.appends),
        (Some(snapshot(6)), vec![])
    );
    assert_eq!((loaded.head, loaded.damage), (6, None));
    store.save_base(&document, 1, &snapshot(6)).await.unwrap();
    store.commit(&[append("a", 1, 7)]).await.unwrap();
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.head, loaded.appends.len()), (7, 1));
}

pub(crate) async fn sizes_are_told_for_housekeeping(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    let any = StatsFilter {
        uncovered_appends: 0,
        uncovered_bytes: u64::MAX,
        oldest_before_ms: 0,
        kept_bytes: 0,
    };
    let none = StatsFilter {
        uncovered_appends: 5,
        uncovered_bytes: 5 * 8,
        oldest_before_ms: 1_001,
        kept_bytes: 5 * 8,
    };
    fill(&*store, "a", 1..=5).await;
    store
        .save_snapshot(&document, 1, &snapshot(4))
        .await
        .unwrap();
    store.save_base(&document, 1, &snapshot(1)).await.unwrap();
    let page = store.scan_stats(&any, 0).await.unwrap();
    assert_eq!((page.stats.len(), page.next), (1, None));
    let stats = &page.stats[0];
    assert_eq!(
        (&stats.document, stats.epoch, stats.head),
        (&document, 1, 5)
    );
    assert_eq!((stats.uncovered_appends, stats.uncovered_bytes), (1, 8));
    assert_eq!((stats.kept_appends, stats.kept_bytes), (4, 4 * 8));
    assert_eq!(stats.oldest_ms, Some(1_002));
    assert!(stats.has_dead_rows);
    store.trim(&document, 100).await.unwrap();
    assert_eq!(store.scan_stats(&none, 0).await.unwrap().stats, []);
    fill(&*store, "b", 1..=6).await;
    let stats = store.scan_stats(&none, 0).await.unwrap().stats;
    assert_eq!(stats.len(), 1);
    assert_eq!(
        (&stats[0].document, stats[0].uncovered_bytes),
        (&name("b"), 48)
    );
    store.set_quarantine(&name("b"), Some("why")).await.unwrap();
    assert_eq!(store.scan_stats(&none, 0).await.unwrap().stats, []);
}
