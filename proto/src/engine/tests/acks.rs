//! When "saved" is said, and when it is withheld.

use super::*;

#[test]
fn an_ack_waits_for_the_commit_of_what_was_sent_before() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    let first = peer(1).type_text("a");
    let effects = bench.turn([update(1, &first), probe(1, 7)]);
    assert_eq!(appends(&effects), [(1, 1, first)]);
    assert_eq!(saved(&effects, 1), None);
    assert_eq!(saved(&bench.commit(1), 1), Some(7));
}

#[test]
fn an_ack_of_a_duplicate_waits_for_the_commit_of_the_original() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let first = peer(1).type_text("a");
    bench.turn([update(1, &first)]);
    let effects = bench.turn([update(2, &first), probe(2, 3)]);
    assert_eq!(appends(&effects), []);
    assert_eq!(saved(&effects, 2), None);
    assert_eq!(saved(&bench.commit(1), 2), Some(3));
}

#[test]
fn a_probe_in_time_of_silence_is_answered_with_what_is_saved() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    bench.turn([update(1, &peer(1).type_text("a")), probe(1, 7)]);
    assert_eq!(saved(&bench.wait(999), 1), None);
    assert_eq!(bench.replica.next_deadline_ms(), Some(1_000));
    assert_eq!(saved(&bench.wait(1), 1), Some(0));
    assert_eq!(saved(&bench.commit(1), 1), Some(7));
}

#[test]
fn nothing_is_acknowledged_before_the_peer_answered_step_1() {
    let mut bench = Bench::new(options());
    let mut writer = peer(1);
    let offline = writer.type_text("offline");
    bench.turn([attach(1), step1(1, &writer), probe(1, 1)]);
    assert_eq!(saved(&bench.wait(1_000), 1), Some(0));
    let effects = bench.turn([step2(1, &offline)]);
    assert_eq!(saved(&effects, 1), None);
    assert_eq!(saved(&bench.commit(1), 1), Some(1));
}

#[test]
fn a_gap_withholds_the_ack_until_its_part_is_here() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    let mut writer = peer(1);
    let first = writer.type_text("a");
    let second = writer.type_text("b");
    let effects = bench.turn([update(1, &second), probe(1, 2)]);
    assert!(asks(&effects, 1), "asked for what is missing");
    assert_eq!(saved(&bench.commit(1), 1), None);
    bench.turn([update(1, &first)]);
    assert_eq!(saved(&bench.commit(1), 1), None, "only a part is here");
    let effects = bench.turn([step2(1, &writer.state())]);
    assert_eq!(appends(&effects).len(), 1);
    assert_eq!(saved(&bench.commit(2), 1), Some(2));
    assert_eq!(bench.view(), "ab");
}

#[test]
fn a_gap_is_asked_for_again_when_the_vector_moved_at_most_once_a_second() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let mut writer = peer(1);
    writer.type_text("a");
    let second = writer.type_text("b");
    assert!(asks(&bench.turn([update(1, &second)]), 1));
    assert!(!asks(&bench.wait(2_000), 1), "nothing moved");
    let mut other = peer(2);
    assert!(asks(&bench.turn([update(2, &other.type_text("x"))]), 1));
    assert!(!asks(&bench.turn([update(2, &other.type_text("y"))]), 1));
    assert_eq!(bench.replica.next_deadline_ms(), Some(3_000));
    assert!(asks(&bench.wait(1_000), 1));
}

#[test]
fn deletes_behind_a_gap_are_asked_for_although_another_peer_fills_it() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let (mut author, mut sibling) = (peer(1), peer(2));
    let typed = author.type_text("abc");
    sibling.hear(&typed);
    let deleted = sibling.delete(0, 2);
    // The sibling tab's delete overtakes the text that it deletes.
    let effects = bench.turn([update(2, &deleted), probe(2, 1), update(1, &typed)]);
    assert!(asks(&effects, 2));
    assert_eq!(saved(&bench.commit(1), 2), None, "the delete is not here");
    bench.turn([step2(2, &sibling.state())]);
    assert_eq!(saved(&bench.commit(2), 2), Some(1));
    assert_eq!(bench.view(), "c");
}

#[test]
fn a_refused_peer_hears_no_more_acks() {
    let small = ReplicaOptions {
        document_bytes_max: 40,
        ..options()
    };
    let mut bench = Bench::new(small);
    bench.join([1]);
    let mut writer = peer(1);
    bench.turn([update(1, &writer.type_text("a")), probe(1, 1)]);
    assert_eq!(saved(&bench.commit(1), 1), Some(1));
    let long = writer.type_text(&"long".repeat(20));
    let effects = bench.turn([update(1, &long), probe(1, 2)]);
    assert!(denied(&effects, 1));
    assert_eq!(appends(&effects), []);
    assert_eq!(saved(&bench.wait(1_000), 1), Some(1));
}

#[test]
fn deletes_made_offline_withhold_the_ack_until_step_2_brings_them() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    let typed = peer(1).type_text("abc");
    bench.turn([update(1, &typed)]);
    let mut writer = peer(2);
    writer.hear(&typed);
    writer.delete(0, 1);
    // Its vector names nothing that is not here, and its first live edit needs nothing more.
    let hello = step1(2, &writer);
    let live = writer.type_text("x");
    bench.turn([attach(2), hello, update(2, &live), probe(2, 1)]);
    assert_eq!(saved(&bench.commit(2), 2), None);
    bench.turn([step2(2, &writer.state())]);
    assert_eq!(saved(&bench.commit(3), 2), Some(1));
}

#[test]
fn a_peer_that_came_with_nothing_need_not_answer_step_1() {
    let mut bench = Bench::new(options());
    let mut writer = peer(2);
    bench.turn([attach(2), step1(2, &writer)]);
    bench.turn([update(2, &writer.type_text("x")), probe(2, 1)]);
    assert_eq!(saved(&bench.commit(1), 2), Some(1));
}
