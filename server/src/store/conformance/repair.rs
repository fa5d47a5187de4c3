//! Conformance: inspection and repair.

use crate::store::conformance::*;
use crate::store::{LogLimits, LogStart, StoreError};

pub(crate) async fn inspection_finds_nothing_in_good_documents(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    let missing = store.inspect(&document).await;
    assert_eq!(missing, Err(StoreError::NotFound));
    fill(&*store, "a", 1..=6).await;
    store
        .save_snapshot(&document, 1, &snapshot(4))
        .await
        .unwrap();
    store.save_base(&document, 1, &snapshot(2)).await.unwrap();
    store.trim(&document, 100).await.unwrap();
    let found = store.inspect(&document).await.unwrap();
    assert_eq!(found.findings, [""; 0]);
    assert_eq!((found.epoch, found.head, found.good_until), (1, 6, 6));
    let expected = [
        (SnapshotKind::Latest, snapshot(4)),
        (SnapshotKind::Base, snapshot(2)),
    ];
    assert_eq!(found.snapshots, expected);
    let repair = store.repair(&document, None).await.unwrap();
    assert_eq!((repair.head_before, repair.head), (6, 6));
    assert_eq!((repair.appends_cut, repair.snapshots_cut), (0, 0));
    store.delete(&document, &[0]).await.unwrap();
    let found = store.inspect(&document).await.unwrap();
    assert_eq!((found.epoch, found.good_until), (2, 6));
    assert_eq!(found.findings, [""; 0]);
    assert_eq!(store.verify_structure().await.unwrap(), [""; 0]);
}

/// The document is whole, readable and writable.
async fn assert_sound(store: &dyn Store, document: &str) {
    let document_name = name(document);
    let found = store.inspect(&document_name).await.unwrap();
    assert_eq!(found.findings, [""; 0], "{document}");
    let before = store.load(&document_name).await.unwrap();
    assert_eq!(before.damage, None, "{document}");
    let next = append(document, 1, 900 + before.head);
    let outcomes = store.commit(&[next]).await.unwrap();
    assert_eq!(outcomes, [committed(before.head + 1)], "{document}");
    let after = store.load(&document_name).await.unwrap();
    assert_eq!(after.appends.len(), before.appends.len() + 1, "{document}");
    let start = LogStart::After(0);
    let history = store.read_log(&document_name, start, LogLimits::NONE).await;
    assert_eq!(history.unwrap().damage, None, "{document}");
}

pub(crate) async fn repair_cuts_a_damaged_end(backend: &impl Backend) {
    let store = backend.store();
    fill(&*store, "a", 1..=8).await;
    fill(&*store, "other", 1..=8).await;
    backend.spoil_append(&name("a"), 6).await;
    let found = store.inspect(&name("a")).await.unwrap();
    assert_eq!((found.head, found.good_until), (8, 5));
    assert!(found.findings[0].contains("append 6"), "{found:?}");
    let repair = store.repair(&name("a"), None).await.unwrap();
    assert_eq!(
        (repair.head_before, repair.head, repair.appends_cut),
        (8, 5, 3)
    );
    assert_sound(&*store, "a").await;
    assert_sound(&*store, "other").await;
    assert_eq!(store.load(&name("other")).await.unwrap().head, 9);
}

pub(crate) async fn repair_moves_the_horizon_over_damaged_history(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=8).await;
    store
        .save_snapshot(&document, 1, &snapshot(5))
        .await
        .unwrap();
    store.save_base(&document, 1, &snapshot(1)).await.unwrap();
    store.trim(&document, 100).await.unwrap();
    backend.spoil_append(&document, 3).await;
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(loaded.damage, None, "loads are not concerned");
    let found = store.inspect(&document).await.unwrap();
    assert_eq!((found.good_until, found.findings.len()), (8, 1));
    let repair = store.repair(&document, None).await.unwrap();
    assert_eq!(
        (repair.head, repair.appends_cut, repair.snapshots_cut),
        (8, 4, 1)
    );
    assert_sound(&*store, "a").await;
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(loaded.snapshot, Some(snapshot(5)));
}

pub(crate) async fn repair_drops_a_damaged_snapshot(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=8).await;
    store
        .save_snapshot(&document, 1, &snapshot(5))
        .await
        .unwrap();
    backend
        .spoil_snapshot(&document, SnapshotKind::Latest)
        .await;
    let repair = store.repair(&document, None).await.unwrap();
    assert_eq!(
        (repair.head, repair.appends_cut, repair.snapshots_cut),
        (8, 0, 1)
    );
    assert_sound(&*store, "a").await;
    let again = store.save_snapshot(&document, 1, &snapshot(6)).await;
    assert_eq!(again, Ok(true));
    assert_sound(&*store, "a").await;
}

pub(crate) async fn repair_of_nothing_intact_is_refused(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=8).await;
    store.save_base(&document, 1, &snapshot(5)).await.unwrap();
    store.trim(&document, 100).await.unwrap();
    backend.spoil_snapshot(&document, SnapshotKind::Base).await;
    let found = store.inspect(&document).await.unwrap();
    assert!(found.findings.len() >= 2, "{found:?}");
    let repair = store.repair(&document, None).await;
    assert!(matches!(repair, Err(StoreError::Refused(_))), "{repair:?}");
    let after = store.inspect(&document).await.unwrap();
    assert_eq!(after, found, "nothing was touched");
}
