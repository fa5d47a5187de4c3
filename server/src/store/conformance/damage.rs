//! Conformance: damaged data is reported and never silently loaded.

use crate::store::StoreError;
use crate::store::conformance::*;

pub(crate) async fn a_spoilt_append_ends_the_readable_part(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=5).await;
    fill(&*store, "b", 1..=5).await;
    backend.spoil_append(&document, 3).await;
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.head, loaded.appends.len()), (5, 2));
    let damage = loaded.damage.unwrap();
    assert!(damage.contains("append 3"), "{damage}");
    let other = store.load(&name("b")).await.unwrap();
    assert_eq!((other.appends.len(), other.damage), (5, None));
    // A snapshot that covers the damage makes the document whole again.
    store
        .save_snapshot(&document, 1, &snapshot(4))
        .await
        .unwrap();
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.appends.len(), loaded.damage), (1, None));
}

pub(crate) async fn a_missing_append_is_noticed(backend: &impl Backend) {
    let store = backend.store();
    fill(&*store, "a", 1..=5).await;
    backend.remove_append(&name("a"), 2).await;
    let loaded = store.load(&name("a")).await.unwrap();
    assert_eq!(loaded.appends.len(), 1);
    let damage = loaded.damage.unwrap();
    assert!(damage.contains("append 2 is missing"), "{damage}");
}

pub(crate) async fn a_missing_end_is_noticed(backend: &impl Backend) {
    let store = backend.store();
    fill(&*store, "a", 1..=5).await;
    backend.remove_append(&name("a"), 5).await;
    let loaded = store.load(&name("a")).await.unwrap();
    assert_eq!(loaded.appends.len(), 4);
    let damage = loaded.damage.unwrap();
    assert!(damage.contains("the log ends at 4"), "{damage}");
}

pub(crate) async fn a_spoilt_snapshot_gives_way_to_the_log(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=5).await;
    store
        .save_snapshot(&document, 1, &snapshot(4))
        .await
        .unwrap();
    backend
        .spoil_snapshot(&document, SnapshotKind::Latest)
        .await;
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.snapshot, loaded.damage), (None, None));
    assert_eq!(loaded.appends.len(), 5);
}

pub(crate) async fn a_spoilt_snapshot_gives_way_to_the_base(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=5).await;
    store
        .save_snapshot(&document, 1, &snapshot(4))
        .await
        .unwrap();
    store.save_base(&document, 1, &snapshot(2)).await.unwrap();
    store.trim(&document, 100).await.unwrap();
    backend
        .spoil_snapshot(&document, SnapshotKind::Latest)
        .await;
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.snapshot, loaded.damage), (Some(snapshot(2)), None));
    assert_eq!(loaded.appends.len(), 3);
}

pub(crate) async fn nothing_readable_is_an_error_not_an_empty_document(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=5).await;
    store.save_base(&document, 1, &snapshot(4)).await.unwrap();
    store.trim(&document, 100).await.unwrap();
    backend.spoil_snapshot(&document, SnapshotKind::Base).await;
    let loaded = store.load(&document).await;
    assert!(matches!(loaded, Err(StoreError::Damaged(_))), "{loaded:?}");
}
