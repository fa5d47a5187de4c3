//! Conformance: the log of appends.

use crate::store::conformance::*;
use crate::store::{LogEnd, LogLimits, LogStart};

pub(crate) async fn an_unknown_document_is_empty(backend: &impl Backend) {
    let store = backend.store();
    let loaded = store.load(&name("nowhere")).await.unwrap();
    assert_eq!((loaded.epoch, loaded.head), (1, 0));
    assert_eq!(loaded.snapshot, None);
    assert_eq!(loaded.appends, []);
    assert_eq!(loaded.damage, None);
    assert_eq!(loaded.quarantine, None);
    assert_eq!(loaded.tombstone, None);
    let listed = store.list("", None, 10).await.unwrap();
    assert_eq!(listed, [], "loading creates nothing");
}

pub(crate) async fn appends_come_back_as_they_were(backend: &impl Backend) {
    let store = backend.store();
    let mut batch: Vec<Append> = (1..=5).map(|number| append("a", 1, number)).collect();
    batch[2].update = Bytes::new();
    batch[3].update = Bytes::from(vec![0; 300_000]);
    batch[4].origin.identity = Some("zoë \u{1f600}".into());
    store.commit(&batch).await.unwrap();
    let loaded = store.load(&name("a")).await.unwrap();
    assert_eq!((loaded.epoch, loaded.head), (1, 5));
    assert_eq!(loaded.damage, None);
    assert_eq!(loaded.appends.len(), 5);
    for (stored, (sequence, given)) in loaded.appends.iter().zip((1..).zip(&batch)) {
        assert_eq!(stored.sequence, sequence);
        assert_eq!(stored.id, given.id);
        assert_eq!(stored.origin, given.origin);
        assert_eq!(stored.time_ms, given.time_ms);
        assert_eq!(stored.update, given.update);
    }
}

pub(crate) async fn an_empty_batch_is_fine(backend: &impl Backend) {
    assert_eq!(backend.store().commit(&[]).await.unwrap(), []);
}

pub(crate) async fn sequences_are_contiguous_over_many_documents(backend: &impl Backend) {
    let store = backend.store();
    let mut expected = std::collections::HashMap::<u64, u64>::new();
    for round in 0..3u64 {
        let batch: Vec<Append> = (0..1_500u64)
            .map(|number| {
                let document = number * number % 97;
                append(&format!("d{document}"), 1, round * 10_000 + number)
            })
            .collect();
        let outcomes = store.commit(&batch).await.unwrap();
        for (number, outcome) in (0..1_500u64).zip(outcomes) {
            let head = expected.entry(number * number % 97).or_default();
            *head += 1;
            assert_eq!(outcome, committed(*head));
        }
    }
    for (document, head) in expected {
        let loaded = store.load(&name(&format!("d{document}"))).await.unwrap();
        assert_eq!(loaded.head, head);
        let sequences: Vec<u64> = loaded.appends.iter().map(|one| one.sequence).collect();
        assert_eq!(sequences, (1..=head).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_repeated_id_is_stored_once(backend: &impl Backend) {
    let store = backend.store();
    fill(&*store, "a", 1..=3).await;
    fill(&*store, "b", 7..=8).await;
    // A repeat after a lost reply, with new appends before, between and behind the old ones.
    let batch = [
        append("b", 1, 4),
        append("a", 1, 1),
        append("a", 1, 9),
        append("a", 1, 3),
        append("b", 1, 7),
        append("c", 1, 1),
    ];
    let expected = [
        committed(3),
        committed(1),
        committed(4),
        committed(3),
        committed(1),
        committed(1),
    ];
    assert_eq!(store.commit(&batch).await.unwrap(), expected);
    assert_eq!(store.commit(&batch).await.unwrap(), expected, "and again");
    let loaded = store.load(&name("a")).await.unwrap();
    assert_eq!(loaded.head, 4);
    assert_eq!(loaded.appends.len(), 4);
    assert_eq!(loaded.appends[3].id, id(9));
    assert_eq!(store.load(&name("b")).await.unwrap().head, 3);
}

pub(crate) async fn a_repeat_within_a_batch_is_stored_once(backend: &impl Backend) {
    let store = backend.store();
    let batch = [
        append("a", 1, 1),
        append("a", 1, 2),
        append("a", 1, 1),
        append("b", 1, 1),
    ];
    assert_eq!(
        store.commit(&batch).await.unwrap(),
        [committed(1), committed(2), committed(1), committed(1)]
    );
    assert_eq!(store.load(&name("a")).await.unwrap().appends.len(), 2);
}

pub(crate) async fn an_append_of_another_epoch_is_refused(backend: &impl Backend) {
    let store = backend.store();
    let changed = |current| CommitOutcome::EpochChanged { current };
    let batch = [append("a", 2, 1), append("b", 1, 2), append("a", 3, 3)];
    assert_eq!(
        store.commit(&batch).await.unwrap(),
        [changed(1), committed(1), changed(1)]
    );
    assert_eq!(store.load(&name("a")).await.unwrap().head, 0);
    store.delete(&name("b"), &[0]).await.unwrap();
    let batch = [append("b", 1, 4), append("b", 2, 5), append("b", 3, 6)];
    assert_eq!(
        store.commit(&batch).await.unwrap(),
        [changed(2), committed(2), changed(2)]
    );
}

pub(crate) async fn concurrent_commits_and_loads_see_prefixes(backend: &impl Backend) {
    const WRITERS: u64 = 4;
    const BATCHES: u64 = 10;
    let store = backend.store();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..BATCHES {
                let number = writer * 1_000 + round * 10;
                let batch = [append("a", 1, number), append("a", 1, number + 1)];
                let outcomes = store.commit(&batch).await.unwrap();
                let loaded = store.load(&name("a")).await.unwrap();
                let CommitOutcome::Committed { sequence } = outcomes[1] else {
                    panic!("{outcomes:?}");
                };
                assert!(loaded.head >= sequence, "a commit is readable at once");
                assert_eq!(loaded.damage, None);
                assert_eq!(loaded.appends.len() as u64, loaded.head);
                assert_eq!(loaded.appends[sequence as usize - 1].id, batch[1].id);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let head = store.load(&name("a")).await.unwrap().head;
    assert_eq!(head, WRITERS * BATCHES * 2);
}

pub(crate) async fn names_are_bytes(backend: &impl Backend) {
    let store = backend.store();
    let long = "é".repeat(256);
    let names = [
        "a",
        "A",
        "a/b",
        "a//b",
        "/",
        "a ",
        "é",
        "e\u{301}",
        "a\0b",
        "a%",
        "..",
        "'; DROP TABLE documents; --",
        &long,
    ];
    for (number, document) in (1..).zip(names) {
        let outcome = store.commit(&[append(document, 1, number)]).await.unwrap();
        assert_eq!(outcome, [committed(1)], "{document:?}");
    }
    for (number, document) in (1..).zip(names) {
        let loaded = store.load(&name(document)).await.unwrap();
        assert_eq!(loaded.appends.len(), 1, "{document:?}");
        assert_eq!(loaded.appends[0].id, id(number), "{document:?}");
    }
}

pub(crate) async fn log_reads_keep_to_their_limits(backend: &impl Backend) {
    let store = backend.store();
    fill(&*store, "a", 1..=9).await;
    let document = name("a");
    let bytes = |count: u64| count * "update 1".len() as u64;
    let table = [
        (0, 3, u64::MAX, 1..=3),
        (3, 3, u64::MAX, 4..=6),
        (7, 3, u64::MAX, 8..=9),
        (0, 100, bytes(4), 1..=4),
        (0, 100, bytes(4) - 1, 1..=3),
        (0, 100, 1, 1..=1),
    ];
    for (after, appends_max, bytes_max, expected) in table {
        let limits = LogLimits {
            appends_max,
            bytes_max,
        };
        let start = LogStart::After(after);
        let range = store.read_log(&document, start, limits).await.unwrap();
        let sequences: Vec<u64> = range.appends.iter().map(|one| one.sequence).collect();
        assert_eq!(sequences, expected.collect::<Vec<_>>(), "after {after}");
        assert_eq!((range.head, range.damage), (9, None));
    }
    for after in [9, 10, 1_000] {
        let start = LogStart::After(after);
        let range = store.read_log(&document, start, LogLimits::NONE).await;
        let range = range.unwrap();
        assert_eq!(range.appends, [], "after {after}");
        assert_eq!((range.head, range.damage), (9, None), "after {after}");
    }
}

pub(crate) async fn log_ends_are_told_in_the_order_asked(backend: &impl Backend) {
    let store = backend.store();
    fill(&*store, "a", 1..=3).await;
    fill(&*store, "b", 4..=4).await;
    fill(&*store, "gone", 5..=6).await;
    store.delete(&name("gone"), &[0]).await.unwrap();
    let asked = ["b", "unknown", "a", "gone"].map(name);
    let ends = store.log_ends(&asked).await.unwrap();
    let end = |epoch, head, number: Option<u64>| LogEnd {
        epoch,
        head,
        id: number.map(id),
    };
    let expected = [
        end(1, 1, Some(4)),
        end(1, 0, None),
        end(1, 3, Some(3)),
        end(2, 2, None),
    ];
    assert_eq!(ends, expected);
    assert_eq!(store.log_ends(&[]).await.unwrap(), []);
}
