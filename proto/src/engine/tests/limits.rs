//! Documents that take no more, stores that are full, documents that were deleted.

use super::super::Writes;
use super::*;
use crate::admission::StateVector;

fn set_writes(writes: Writes) -> Input {
    Input::SetWrites { writes }
}

#[test]
fn a_full_document_takes_deletes_only_and_stays_readable() {
    let mut bench = Bench::new(ReplicaOptions {
        document_bytes_max: 60,
        ..options()
    });
    bench.join([1, 2]);
    let mut writer = peer(1);
    let typed = writer.type_text(&"x".repeat(30));
    assert_eq!(appends(&bench.turn([update(1, &typed)])).len(), 1);
    let mut other = peer(2);
    other.hear(&typed);
    let more = other.type_text(&"y".repeat(30));
    let effects = bench.turn([update(2, &more)]);
    assert!(denied(&effects, 2));
    assert_eq!((appends(&effects).len(), closed(&effects).len()), (0, 0));
    assert!(!denied(&bench.turn([update(2, &more)]), 2), "told once");
    let deleted = writer.delete(0, 29);
    let effects = bench.turn([update(1, &deleted)]);
    assert_eq!(appends(&effects).len(), 1);
    assert_eq!(updates_to(&effects, 2).len(), 1);
    let small = writer.type_text("z");
    assert_eq!(
        appends(&bench.turn([update(1, &small)])).len(),
        1,
        "room again"
    );
    assert_eq!(bench.view(), "xz");
}

#[test]
fn a_backlog_cannot_pass_the_limit_together() {
    let mut bench = Bench::new(ReplicaOptions {
        document_bytes_max: 100,
        ..options()
    });
    bench.join([1]);
    let texts: Vec<_> = (10..20)
        .map(|id| peer(id).type_text(&"x".repeat(30)))
        .collect();
    let effects = bench.turn(texts.iter().map(|text| update(1, text)));
    assert!(denied(&effects, 1));
    let stored: usize = appends(&effects).iter().map(|append| append.2.len()).sum();
    assert!(stored <= 100, "{stored} bytes");
}

#[test]
fn read_only_denies_news_and_takes_what_is_known() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let mut writer = peer(1);
    let first = writer.type_text("a");
    bench.turn([update(1, &first)]);
    bench.turn([set_writes(Writes::ReadOnly("why".into()))]);
    let effects = bench.turn([update(2, &first)]);
    assert!(!denied(&effects, 2), "every peer answers our step 1");
    let effects = bench.turn([update(1, &writer.type_text("b"))]);
    let text = Outbound::Denied {
        reason: "why".into(),
    };
    assert_eq!(to(&effects, 1), [text]);
    assert_eq!(bench.view(), "a");
    assert_eq!(bench.replica.session_count(), 2);
}

#[test]
fn a_full_store_sends_writers_away_and_keeps_readers() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([set_writes(Writes::StoreFull)]);
    let first = peer(1).type_text("a");
    let effects = bench.turn([update(1, &first)]);
    assert_eq!(closed(&effects), [(1, CloseReason::StoreFull)]);
    assert_eq!(appends(&effects), []);
    bench.turn([set_writes(Writes::Open)]);
    assert_eq!(appends(&bench.turn([update(2, &first)])).len(), 1);
}

#[test]
fn an_old_replica_of_a_deleted_document_is_told_at_every_door() {
    let mut old = peer(1);
    let typed = old.type_text("old");
    let mut tombstone = StateVector::default();
    tombstone.raise_to(1, 3);
    let stored = StoredDocument {
        tombstone: Some(tombstone),
        owners: Vec::new(),
        ..StoredDocument::default()
    };
    let inputs = [step1(1, &old), update(1, &typed), step2(1, &typed), {
        let deleted = old.delete(0, 1);
        update(1, &deleted)
    }];
    for input in inputs {
        let mut bench = Bench {
            replica: Replica::load(options(), &stored).unwrap(),
            now_ms: 0,
        };
        bench.turn([attach(1)]);
        let effects = bench.turn([input]);
        assert_eq!(closed(&effects), [(1, CloseReason::Deleted)]);
        assert_eq!(appends(&effects), []);
        let fresh = peer(2).type_text("new");
        bench.turn([attach(2), step1(2, &peer(2))]);
        assert_eq!(appends(&bench.turn([update(2, &fresh)])).len(), 1);
        assert_eq!(bench.view(), "new");
    }
}

#[test]
fn a_denial_that_did_not_fit_is_said_again() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([set_writes(Writes::ReadOnly("why".into()))]);
    let mut writer = peer(1);
    assert!(denied(&bench.turn([update(1, &writer.type_text("a"))]), 1));
    bench.turn([overflow(1, Missed::Reply)]);
    let is_question = |message: &Outbound| matches!(message, Outbound::SyncStep1 { .. });
    assert!(bench.drain(1).iter().any(is_question));
    assert!(denied(&bench.turn([step2(1, &writer.state())]), 1));
}
