//! Replicas that fail, and what takes their place.

use super::*;
use crate::admission::Advance;

#[test]
fn a_replica_that_failed_names_the_suspects_and_says_nothing_more() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.replica.state.break_crdt();
    let (first, second) = (peer(1).type_text("a"), peer(2).type_text("b"));
    let effects = bench.turn([update(1, &first), update(2, &second)]);
    let Some(Effect::Poisoned { suspects }) = effects.last() else {
        panic!("not poisoned: {effects:?}");
    };
    let named: Vec<_> = suspects
        .iter()
        .map(|it| (it.session.0, it.update.clone()))
        .collect();
    assert_eq!(named, [(1, first.clone()), (2, second)]);
    assert_eq!(suspects[0].advances[0].client, 1);
    assert_eq!(appends(&effects), [], "nothing of the turn was stored");
    assert!(bench.turn([update(1, &first), attach(3)]).is_empty());
    assert_eq!(bench.replica.encode_state(), None);
}

#[test]
fn banned_structs_are_refused_and_others_taken() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let guilty = Advance {
        client: 7,
        from: 0,
        to: 3,
    };
    bench.replica.ban(guilty);
    let effects = bench.turn([update(1, &peer(7).type_text("abc"))]);
    assert_eq!(closed(&effects), [(1, CloseReason::Refused)]);
    let effects = bench.turn([update(2, &peer(8).type_text("abc"))]);
    assert_eq!(appends(&effects).len(), 1);
}

#[test]
fn an_adopted_session_is_asked_and_sent_the_whole_state() {
    let mut writer = peer(1);
    let committed = writer.type_text("committed ");
    let relayed = writer.type_text("relayed");
    let stored = StoredDocument {
        appends: vec![committed],
        ..StoredDocument::default()
    };
    let mut bench = Bench {
        replica: Replica::load(options(), &stored).unwrap(),
        now_ms: 0,
    };
    let mut effects = Vec::new();
    for session in [1, 2] {
        bench.replica.adopt(
            SessionId(session),
            PROBING,
            None,
            &Arrears::default(),
            &mut effects,
        );
    }
    assert!(asks(&effects, 1) && wants_drained(&effects, 1));
    // What only clients still have comes back with their answers.
    let effects = bench.turn([step2(1, &writer.state())]);
    assert_eq!(appends(&effects).len(), 1);
    assert_eq!(appends(&effects)[0].2, relayed, "only what is new");
    let mut reader = peer(3);
    for update in updates(bench.drain(2)) {
        reader.hear(&update);
    }
    assert_eq!(reader.text(), "committed relayed");
}

#[test]
fn an_adopted_session_is_not_acknowledged_before_it_answered() {
    let mut writer = peer(1);
    let stored = StoredDocument {
        appends: vec![writer.type_text("committed")],
        ..StoredDocument::default()
    };
    let mut bench = Bench {
        replica: Replica::load(options(), &stored).unwrap(),
        now_ms: 0,
    };
    bench.replica.adopt(
        SessionId(1),
        PROBING,
        None,
        &Arrears::default(),
        &mut Vec::new(),
    );
    // The former replica took this with it; a delete of older text does not tell.
    writer.type_text("lost");
    let deleted = writer.delete(0, 1);
    bench.turn([update(1, &deleted), probe(1, 5)]);
    assert_eq!(saved(&bench.commit(1), 1), None);
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(saved(&bench.commit(2), 1), Some(5));
}

#[test]
fn stored_bytes_make_a_whole_replica_or_none() {
    let mut writer = peer(1);
    let (first, second) = (writer.type_text("a"), writer.type_text("b"));
    let table = [
        (vec![first.clone(), second.clone()], None),
        (vec![second.clone()], Some(0)),
        (vec![first.clone(), Bytes::from_static(&[7])], Some(1)),
    ];
    for (appends, wanted) in table {
        let stored = StoredDocument {
            appends,
            ..StoredDocument::default()
        };
        let failed_at = match Replica::load(options(), &stored) {
            Ok(_) => None,
            Err(super::super::LoadError::Append { index }) => Some(index),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(failed_at, wanted);
    }
}
