//! Conformance: deletes, tombstones, quarantine.

use crate::store::conformance::*;
use crate::store::{LogLimits, LogStart, StoreError};

pub(crate) async fn a_deleted_document_keeps_its_tombstone_only(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=3).await;
    store
        .save_snapshot(&document, 1, &snapshot(2))
        .await
        .unwrap();
    let epoch = store.delete(&document, &[1, 7, 3]).await.unwrap();
    assert_eq!(epoch, 2);
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.epoch, loaded.head), (2, 3));
    assert_eq!(loaded.snapshot, None);
    assert_eq!(loaded.appends, []);
    assert_eq!(loaded.damage, None);
    assert_eq!(loaded.tombstone.as_deref(), Some(&[1, 7, 3][..]));
    for start in [LogStart::After(0), LogStart::NewestSnapshot] {
        let range = store.read_log(&document, start, LogLimits::NONE).await;
        let range = range.unwrap();
        assert_eq!((range.snapshot, range.appends), (None, vec![]));
    }
}

pub(crate) async fn tombstones_merge_over_deletes(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=1).await;
    store.delete(&document, &[2, 1, 5, 2, 7]).await.unwrap();
    store.commit(&[append("a", 2, 2)]).await.unwrap();
    let epoch = store.delete(&document, &[2, 1, 4, 3, 9]).await.unwrap();
    assert_eq!(epoch, 3);
    let tombstone = store.load(&document).await.unwrap().tombstone;
    assert_eq!(tombstone.as_deref(), Some(&[3, 1, 5, 2, 7, 3, 9][..]));
    let refused = store.delete(&document, &[9, 9]).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.epoch, loaded.tombstone), (3, tombstone));
}

pub(crate) async fn deleting_what_is_not_there_says_so(backend: &impl Backend) {
    let store = backend.store();
    let missing = store.delete(&name("nowhere"), &[0]).await;
    assert_eq!(missing, Err(StoreError::NotFound));
    let missing = store.set_quarantine(&name("nowhere"), Some("why")).await;
    assert_eq!(missing, Err(StoreError::NotFound));
    fill(&*store, "a", 1..=1).await;
}

pub(crate) async fn a_document_lives_on_after_its_deletion(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=3).await;
    store.delete(&document, &[0]).await.unwrap();
    // The same id in another epoch is another append.
    let batch = [append("a", 2, 1), append("a", 2, 4)];
    let outcomes = store.commit(&batch).await.unwrap();
    assert_eq!(outcomes, [committed(4), committed(5)], "the head goes on");
    let old = store.save_snapshot(&document, 1, &snapshot(5)).await;
    assert_eq!(old, Ok(false), "a snapshot of the old epoch is refused");
    let old = store.save_base(&document, 1, &snapshot(5)).await;
    assert_eq!(old, Ok(false), "and a base too");
    let loaded = store.load(&document).await.unwrap();
    assert_eq!((loaded.epoch, loaded.head, loaded.damage), (2, 5, None));
    let sequences: Vec<u64> = loaded.appends.iter().map(|one| one.sequence).collect();
    assert_eq!(sequences, [4, 5]);
    assert_eq!(
        store.save_snapshot(&document, 2, &snapshot(4)).await,
        Ok(true)
    );
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(loaded.snapshot, Some(snapshot(4)));
    assert_eq!(loaded.appends.len(), 1);
}

pub(crate) async fn a_quarantined_document_is_read_only(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=2).await;
    store
        .set_quarantine(&document, Some("poison"))
        .await
        .unwrap();
    let loaded = store.load(&document).await.unwrap();
    assert_eq!(loaded.quarantine.as_deref(), Some("poison"));
    assert_eq!(loaded.appends.len(), 2);
    let batch = [append("a", 1, 3), append("b", 1, 3)];
    let outcomes = store.commit(&batch).await.unwrap();
    assert_eq!(outcomes, [CommitOutcome::Quarantined, committed(1)]);
    store.set_quarantine(&document, None).await.unwrap();
    let outcomes = store.commit(&[append("a", 1, 3)]).await.unwrap();
    assert_eq!(outcomes, [committed(3)]);
    assert_eq!(store.load(&document).await.unwrap().quarantine, None);
}
