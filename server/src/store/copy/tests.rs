//! Copies between real stores of both kinds, whole and disturbed.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::time::Duration;

use super::*;
use crate::access::{Restriction, Selection};
use crate::auth::Right;
use crate::store::conformance::{Backend, fill, id, name, snapshot};
use crate::store::postgres::tests::PostgresBackend;
use crate::store::sqlite::tests::SqliteBackend;
use crate::store::{Append, Claim, CommitOutcome, LogLimits, LogStart, Origin, conformance};

/// A document without anything in it.
pub(super) fn empty(document: &str) -> DocumentCopy {
    DocumentCopy {
        name: name(document),
        epoch: 1,
        epoch_start: 0,
        head: 0,
        floor: 0,
        changed_ms: 0,
        quarantine: None,
        tombstone: None,
        base: None,
        latest: None,
        appends: Vec::new(),
        owners: Vec::new(),
    }
}

/// An append with everything derived from its place.
pub(super) fn append(sequence: u64) -> StoredAppend {
    StoredAppend {
        sequence,
        id: id(sequence),
        origin: Origin::default(),
        time_ms: sequence,
        update: Bytes::from_static(b"update"),
    }
}

async fn copied(source: &dyn CopyEnd, target: &dyn CopyEnd) -> (Summary, Vec<Failure>) {
    let progress = Progress::default();
    copy(source, target, &progress).await.unwrap();
    (progress.summary(), progress.failures())
}

/// The numbers of documents that were copied, equal already, and failed.
fn counts(summary: &Summary) -> (u64, u64, u64) {
    (summary.copied, summary.skipped, summary.failed)
}

async fn all_names(store: &dyn CopyEnd) -> Vec<DocumentName> {
    let listed = store.list("", None, 100_000).await.unwrap();
    listed.into_iter().map(|it| it.name).collect()
}

async fn everything(store: &dyn CopyEnd) -> Vec<DocumentCopy> {
    store.prepare().await.unwrap();
    let names = all_names(store).await;
    let exported = store.export_documents(&names).await.unwrap();
    assert_eq!(exported.damaged, []);
    exported.copies
}

/// One document of each kind that there is.
async fn fill_with_all_kinds(store: &dyn CopyEnd) {
    fill(store, "plain", 1..=3).await;
    let owner = |client, owner: Option<&str>| Claim {
        client,
        owner: owner.map(Into::into),
    };
    let claiming = |number, claims| Append {
        claims,
        ..conformance::append("owned", 1, number)
    };
    let owned = [
        claiming(1, vec![owner(7, Some("ada")), owner(8, None)]),
        claiming(2, vec![owner(9, Some("b\0b"))]),
    ];
    store.commit(&owned).await.unwrap();
    fill(store, "snapped", 1..=6).await;
    assert!(
        store
            .save_snapshot(&name("snapped"), 1, &snapshot(4))
            .await
            .unwrap()
    );
    fill(store, "trimmed", 1..=8).await;
    assert!(
        store
            .save_base(&name("trimmed"), 1, &snapshot(5))
            .await
            .unwrap()
    );
    assert!(
        store
            .save_snapshot(&name("trimmed"), 1, &snapshot(7))
            .await
            .unwrap()
    );
    assert!(store.trim(&name("trimmed"), 2).await.unwrap());
    fill(store, "no history", 1..=4).await;
    assert!(
        store
            .save_base(&name("no history"), 1, &snapshot(4))
            .await
            .unwrap()
    );
    while store.trim(&name("no history"), 2).await.unwrap() {}
    fill(store, "deleted", 1..=4).await;
    store.delete(&name("deleted"), &[1, 1, 5]).await.unwrap();
    fill(store, "reborn", 1..=2).await;
    store.delete(&name("reborn"), &[1, 7, 9]).await.unwrap();
    let again = [conformance::append("reborn", 2, 77)];
    store.commit(&again).await.unwrap();
    fill(store, "frozen", 1..=2).await;
    let reason = Some("a test froze it");
    store.set_quarantine(&name("frozen"), reason).await.unwrap();
    fill(store, "ünïcode/☃", 1..=1).await;
}

async fn arrives_whole(source: &dyn CopyEnd, target: &dyn CopyEnd) {
    fill_with_all_kinds(source).await;
    let (summary, failures) = copied(source, target).await;
    assert_eq!(failures, []);
    assert_eq!(counts(&summary), (9, 0, 0));
    assert_eq!(everything(target).await, everything(source).await);
    let again = copied(source, target).await.0;
    assert_eq!(counts(&again), (0, 9, 0));
    assert_eq!(again.done_bytes, again.total_bytes);
    let (ours, theirs) = (
        source.list("", None, 99).await,
        target.list("", None, 99).await,
    );
    assert_eq!(ours, theirs);
    for document in all_names(source).await {
        assert_eq!(source.load(&document).await, target.load(&document).await);
        let owners = [source, target].map(|store| store.client_owners(&document, 0));
        let [ours, theirs] = futures_util::future::join_all(owners)
            .await
            .try_into()
            .unwrap();
        assert_eq!(ours, theirs);
        let start = LogStart::After(0);
        let ours = source.read_log(&document, start, LogLimits::NONE).await;
        assert_eq!(
            target.read_log(&document, start, LogLimits::NONE).await,
            ours
        );
        let inspected = target.inspect(&document).await.unwrap();
        assert_eq!(inspected.findings, Vec::<String>::new(), "{document}");
    }
    goes_on(target).await;
}

/// What was copied is written to as before.
async fn goes_on(target: &dyn CopyEnd) {
    let batch = [
        conformance::append("trimmed", 1, 500),
        conformance::append("no history", 1, 501),
        conformance::append("deleted", 2, 502),
        conformance::append("deleted", 1, 503),
        conformance::append("frozen", 1, 504),
    ];
    let outcomes = target.commit(&batch).await.unwrap();
    let expected = [
        conformance::committed(9),
        conformance::committed(5),
        conformance::committed(5),
        CommitOutcome::EpochChanged { current: 2 },
        CommitOutcome::Quarantined,
    ];
    assert_eq!(outcomes, expected);
    assert!(
        target
            .save_base(&name("trimmed"), 1, &snapshot(9))
            .await
            .unwrap()
    );
    assert_eq!(target.load(&name("trimmed")).await.unwrap().head, 9);
}

#[tokio::test]
async fn sqlite_to_postgres_arrives_whole() {
    let (source, target) = (SqliteBackend::start().await, PostgresBackend::start().await);
    arrives_whole(&*source.end(), &*target.end()).await;
}

#[tokio::test]
async fn postgres_to_sqlite_arrives_whole() {
    let (source, target) = (PostgresBackend::start().await, SqliteBackend::start().await);
    arrives_whole(&*source.end(), &*target.end()).await;
}

#[tokio::test]
async fn postgres_to_postgres_arrives_whole() {
    let (source, target) = (
        PostgresBackend::start().await,
        PostgresBackend::start().await,
    );
    arrives_whole(&*source.end(), &*target.end()).await;
}

/// Many small documents.
async fn fill_many(store: &dyn CopyEnd, documents: u64) {
    for first in (0..documents).step_by(500) {
        let range = first..documents.min(first + 500);
        let batch: Vec<_> = range
            .map(|number| conformance::append(&format!("many/{number}"), 1, number))
            .collect();
        store.commit(&batch).await.unwrap();
    }
}

/// Runs a copy until some documents are copied, and drops it there.
async fn stopped_after(source: &dyn CopyEnd, target: &dyn CopyEnd, documents: u64) {
    let progress = Progress::default();
    let enough = async {
        while progress.summary().copied < documents {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    };
    tokio::select! {
        done = copy(source, target, &progress) => panic!("not stopped: {done:?}"),
        () = enough => {}
    }
}

async fn goes_on_after_a_stop(source: &dyn CopyEnd, target: &dyn CopyEnd) {
    fill_many(source, 2_000).await;
    fill_with_all_kinds(source).await;
    for documents in [1, 300] {
        stopped_after(source, target, documents).await;
    }
    let before = all_names(target).await.len() as u64;
    assert!((300..2_009).contains(&before), "{before}");
    let (summary, failures) = copied(source, target).await;
    assert_eq!(failures, []);
    assert_eq!(summary.copied + summary.skipped, 2_009);
    assert!(summary.skipped >= 300, "{summary:?}");
    assert_eq!(everything(target).await, everything(source).await);
}

#[tokio::test]
async fn a_copy_to_postgres_that_was_stopped_goes_on() {
    let (source, target) = (SqliteBackend::start().await, PostgresBackend::start().await);
    goes_on_after_a_stop(&*source.end(), &*target.end()).await;
}

#[tokio::test]
async fn a_copy_to_sqlite_that_was_stopped_goes_on() {
    let (source, target) = (PostgresBackend::start().await, SqliteBackend::start().await);
    goes_on_after_a_stop(&*source.end(), &*target.end()).await;
}

/// Runs a test of both directions.
async fn both_ways<F: Future<Output = ()>>(
    test: impl Fn(std::sync::Arc<dyn CopyEnd>, std::sync::Arc<dyn CopyEnd>) -> F,
) {
    let (source, target) = (SqliteBackend::start().await, PostgresBackend::start().await);
    test(source.end(), target.end()).await;
    let (source, target) = (PostgresBackend::start().await, SqliteBackend::start().await);
    test(source.end(), target.end()).await;
}

#[tokio::test]
async fn a_later_copy_brings_what_is_new() {
    both_ways(async |source, target| {
        fill_with_all_kinds(&*source).await;
        copied(&*source, &*target).await;
        fill(&*source, "plain", 4..=9).await;
        source.set_quarantine(&name("frozen"), None).await.unwrap();
        assert!(
            source
                .save_snapshot(&name("snapped"), 1, &snapshot(6))
                .await
                .unwrap()
        );
        fill(&*source, "new", 1..=2).await;
        let (summary, failures) = copied(&*source, &*target).await;
        assert_eq!(failures, []);
        assert_eq!(counts(&summary), (4, 6, 0));
        assert_eq!(everything(&*target).await, everything(&*source).await);
    })
    .await;
}

#[tokio::test]
async fn what_only_the_target_holds_is_never_overwritten() {
    both_ways(async |source, target| {
        fill_with_all_kinds(&*source).await;
        fill(&*target, "plain", 1..=3).await;
        fill(&*target, "plain", 90..=90).await;
        fill(&*target, "snapped", 61..=63).await;
        fill(&*target, "deleted", 1..=2).await;
        fill(&*target, "its own", 1..=2).await;
        let before = everything(&*target).await;
        let (summary, failures) = copied(&*source, &*target).await;
        assert_eq!(counts(&summary), (6, 0, 3));
        let told: Vec<_> = failures
            .iter()
            .map(|it| (it.document.as_str(), it.kind))
            .collect();
        let conflict = |name| (name, FailureKind::Conflict);
        assert_eq!(told, ["deleted", "plain", "snapped"].map(conflict));
        assert!(failures[1].text.contains("newer"), "{failures:?}");
        assert!(failures[2].text.contains("other content"), "{failures:?}");
        let after = everything(&*target).await;
        for kept in before {
            assert!(after.contains(&kept), "{kept:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn damaged_documents_are_named_and_the_others_copied() {
    let (source, target) = (SqliteBackend::start().await, PostgresBackend::start().await);
    let store = source.end();
    fill_with_all_kinds(&*store).await;
    source.spoil_append(&name("plain"), 2).await;
    source.remove_append(&name("snapped"), 6).await;
    source
        .spoil_snapshot(&name("trimmed"), SnapshotKind::Base)
        .await;
    let (summary, failures) = copied(&*store, &*target.end()).await;
    assert_eq!(counts(&summary), (6, 0, 3));
    let told: Vec<_> = failures
        .iter()
        .map(|it| (it.document.as_str(), it.kind))
        .collect();
    let damaged = |name| (name, FailureKind::Damaged);
    assert_eq!(told, ["plain", "snapped", "trimmed"].map(damaged));
    assert!(failures[0].text.contains("doc repair"), "{failures:?}");
    let arrived = all_names(&*target.end()).await;
    assert!(!arrived.contains(&name("plain")), "{arrived:?}");
}

#[tokio::test]
async fn a_document_that_changed_since_the_look_is_left_alone() {
    both_ways(async |source, target| {
        fill(&*source, "a", 1..=2).await;
        fill(&*target, "a", 1..=1).await;
        source.prepare().await.unwrap();
        let copies = source.export_documents(&[name("a")]).await.unwrap().copies;
        for replaces in [None, Some((1, 0)), Some((2, 1))] {
            let copy = copies[0].clone();
            let left = target.import_documents(&[Import { copy, replaces }]).await;
            assert_eq!(left.unwrap(), [name("a")]);
        }
        assert_eq!(target.load(&name("a")).await.unwrap().head, 1);
    })
    .await;
}

#[tokio::test]
async fn restrictions_come_along_and_none_is_lost() {
    let (source, target) = (SqliteBackend::start().await, PostgresBackend::start().await);
    let (source, target) = (source.end(), target.end());
    let restriction = |id: &str, right_max| Restriction {
        id: id.to_owned(),
        on: Selection {
            document: Some("team/*".to_owned()),
            ..Selection::default()
        },
        right_max,
        since_ms: 5,
        until_ms: None,
        issued_before_ms: None,
        reason: String::new(),
    };
    let ours = [restriction("a", Right::Read), restriction("b", Right::None)];
    source.put_restrictions(&ours).await.unwrap();
    let theirs = [
        restriction("b", Right::Comment),
        restriction("c", Right::None),
    ];
    target.put_restrictions(&theirs).await.unwrap();
    for _ in 0..2 {
        let (summary, _) = copied(&*source, &*target).await;
        assert_eq!(summary.restrictions, 2);
        let [a, b] = ours.clone();
        let [_, c] = theirs.clone();
        assert_eq!(target.restrictions().await.unwrap(), [a, b, c]);
    }
}
