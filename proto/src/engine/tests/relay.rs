//! Who hears what, when, and as how many frames.

use super::*;

#[test]
fn a_backlog_leaves_as_one_frame_and_is_stored_by_session() {
    let mut bench = Bench::new(options());
    bench.join([1, 2, 3]);
    let (first, second) = (peer(1).type_text("a"), peer(2).type_text("b"));
    let effects = bench.turn([update(1, &first), update(2, &second)]);
    let stored: Vec<_> = appends(&effects)
        .into_iter()
        .map(|it| (it.0, it.1))
        .collect();
    assert_eq!(stored, [(1, 1), (2, 2)]);
    for session in 1..=3 {
        let heard = updates_to(&effects, session);
        assert_eq!(heard.len(), 1, "session {session}");
        let mut listener = peer(9);
        listener.hear(&heard[0]);
        assert_eq!(listener.text().len(), 2);
    }
}

#[test]
fn what_a_session_sent_in_a_row_is_one_append() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let (mut ada, mut ben) = (peer(1), peer(2));
    let (first, second) = (ada.type_text("a"), ada.type_text("b"));
    ben.hear(&first);
    ben.hear(&second);
    let third = ben.type_text("c");
    ada.hear(&third);
    let fourth = ada.type_text("d");
    let effects = bench.turn([
        update(1, &first),
        update(1, &second),
        update(2, &third),
        update(1, &fourth),
        probe(1, 9),
    ]);
    let stored = appends(&effects);
    let by: Vec<_> = stored.iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(by, [(2, 1), (3, 2), (4, 1)]);
    let mut reader = peer(9);
    for (expected, (_, _, update)) in ["ab", "abc", "abcd"].iter().zip(&stored) {
        reader.hear(update);
        assert_eq!(
            &reader.text(),
            expected,
            "each one builds on those before it"
        );
    }
    assert_eq!(saved(&bench.commit(3), 1), None);
    assert_eq!(saved(&bench.commit(4), 1), Some(9));
}

#[test]
fn the_only_author_hears_no_echo() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let mut writer = peer(1);
    let (first, second) = (writer.type_text("a"), writer.type_text("b"));
    let effects = bench.turn([update(1, &first), update(1, &second)]);
    assert_eq!(updates_to(&effects, 1).len(), 0);
    assert_eq!(updates_to(&effects, 2).len(), 1);
}

#[test]
fn with_relay_durable_nothing_is_shown_before_its_commit() {
    let mut bench = Bench::new(durable());
    bench.join([1, 2]);
    let first = peer(1).type_text("a");
    let effects = bench.turn([update(1, &first)]);
    assert_eq!(to(&effects, 2), []);
    let effects = bench.turn([attach(3), step1(3, &peer(3))]);
    assert_eq!(to(&effects, 3), [], "neither step 1 nor step 2");
    let effects = bench.commit(1);
    assert_eq!(updates_to(&effects, 2), [first]);
    assert!(asks(&effects, 3));
    assert_eq!(updates_to(&effects, 3).len(), 1);
}

#[test]
fn with_relay_durable_a_question_of_the_same_turn_waits_too() {
    let mut bench = Bench::new(durable());
    bench.join([1]);
    let first = peer(1).type_text("a");
    // The vector that is sent already holds what this very turn brings.
    let effects = bench.turn([update(1, &first), attach(2)]);
    assert!(!asks(&effects, 2));
    assert!(asks(&bench.commit(1), 2));
}

#[test]
fn with_relay_durable_parts_of_a_large_state_wait_one_by_one() {
    let chunked = ReplicaOptions {
        chunk_bytes: 30,
        ..durable()
    };
    let mut bench = Bench::new(chunked);
    bench.join([1]);
    for client in 10..20 {
        let text = peer(client).type_text("some text of a client");
        bench.turn([update(1, &text)]);
    }
    let effects = bench.turn([attach(2), step1(2, &peer(2))]);
    assert!(!wants_drained(&effects, 2), "the first part waits");
    let effects = bench.commit(10);
    assert_eq!(updates_to(&effects, 2).len(), 1);
    assert!(wants_drained(&effects, 2));
}

#[test]
fn bytes_received_before_a_close_are_stored() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let first = peer(1).type_text("a");
    let bad = Bytes::from_static(&[9, 9, 9]);
    let effects = bench.turn([update(1, &first), update(1, &bad)]);
    assert_eq!(closed(&effects).len(), 1);
    assert_eq!(appends(&effects).len(), 1);
    assert_eq!(updates_to(&effects, 2), [first]);
    assert_eq!(bench.turn([update(1, &peer(3).type_text("c"))]).len(), 0);
}
