//! Bringing peers up to date: joins, parts, and what happens when a queue is full.

use super::*;

/// A bench with a writer on session 1 and a document of many small structs.
fn large(chunk_bytes: usize) -> (Bench, Peer) {
    let mut bench = Bench::new(ReplicaOptions {
        chunk_bytes,
        ..options()
    });
    bench.join([1]);
    for client in 10..30 {
        let text = peer(client).type_text("some text of a client");
        bench.turn([update(1, &text)]);
    }
    let mut writer = peer(1);
    writer.hear(&bench.replica.encode_state().unwrap());
    (bench, writer)
}

/// The relay numbers of the broadcasts.
fn relays(effects: &[Effect]) -> Vec<u64> {
    let number = |effect: &Effect| match effect {
        Effect::Broadcast { relay, .. } => Some(*relay),
        _ => None,
    };
    effects.iter().filter_map(number).collect()
}

fn hear_all(reader: &mut Peer, messages: Vec<Outbound>) {
    for update in updates(messages) {
        reader.hear(&update);
        assert!(!reader.has_pending(), "every part is closed");
    }
}

#[test]
fn a_large_state_comes_in_parts_and_ends_with_a_step_2() {
    let (mut bench, mut writer) = large(60);
    let mut reader = peer(2);
    let effects = bench.turn([attach(2), step1(2, &reader)]);
    let mut sent = to(&effects, 2);
    let mut turns = 0;
    while !matches!(sent.last(), Some(Outbound::SyncStep2 { .. })) {
        turns += 1;
        if turns == 3 {
            // Live edits queue up behind the parts.
            let effects = bench.turn([update(1, &writer.type_text("live"))]);
            assert_eq!(updates_to(&effects, 2).len(), 0);
        }
        let effects = bench.turn([drained(2)]);
        let parts = to(&effects, 2);
        assert_eq!(parts.len(), 1, "one part a turn");
        sent.extend(parts);
    }
    assert!(turns > 5);
    hear_all(&mut reader, sent);
    assert_eq!(reader.text(), bench.view());
    let effects = bench.turn([update(1, &writer.type_text("!"))]);
    assert_eq!(updates_to(&effects, 2).len(), 1, "live from here on");
}

#[test]
fn a_listener_that_never_asks_is_served_when_patience_ends() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    let mut writer = peer(1);
    bench.turn([attach(2)]);
    let typed = writer.type_text("a");
    assert_eq!(updates_to(&bench.turn([update(1, &typed)]), 2).len(), 0);
    assert_eq!(bench.replica.next_deadline_ms(), Some(1_000));
    let mut reader = peer(2);
    hear_all(&mut reader, to(&bench.wait(1_000), 2));
    assert_eq!(reader.text(), "a");
    let effects = bench.turn([update(1, &writer.type_text("b"))]);
    assert_eq!(updates_to(&effects, 2).len(), 1);
}

#[test]
fn a_peer_that_missed_a_broadcast_is_sent_exactly_what_it_missed() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let mut writer = peer(1);
    let first = writer.type_text("first");
    bench.turn([update(1, &first)]);
    let second = writer.type_text("second");
    let effects = bench.turn([update(1, &second)]);
    let missed = Missed::Relay(relays(&effects)[0]);
    let effects = bench.turn([overflow(2, missed)]);
    assert!(wants_drained(&effects, 2));
    let third = writer.type_text("third");
    assert_eq!(updates_to(&bench.turn([update(1, &third)]), 2).len(), 0);
    let caught_up = updates(bench.drain(2));
    let mut reader = peer(3);
    reader.hear(&first);
    caught_up.iter().for_each(|update| reader.hear(update));
    assert_eq!(reader.text(), "firstsecondthird");
    let sent: usize = caught_up.iter().map(Bytes::len).sum();
    assert!(sent < second.len() + third.len() + 10, "no more than that");
}

#[test]
fn whatever_is_missed_first_everything_of_the_turn_arrives() {
    // Only the first message that did not fit is told; the others of the turn are lost as well.
    let table = ["a reply before an update", "a reply before a state"];
    for case in table {
        let mut bench = Bench::new(options());
        bench.join([1, 2]);
        let mut writer = peer(1);
        let typed = writer.type_text("typed");
        let mut reader = peer(2);
        if case == "a reply before an update" {
            bench.turn([update(1, &typed)]);
        } else {
            bench.turn([update(1, &typed)]);
            bench.turn([attach(3), step1(3, &reader)]);
        }
        let session = if case == "a reply before an update" {
            2
        } else {
            3
        };
        bench.turn([overflow(session, Missed::Reply)]);
        hear_all(&mut reader, bench.drain(session));
        assert_eq!(reader.text(), "typed", "{case}");
    }
}

#[test]
fn a_part_that_did_not_fit_is_sent_again() {
    for lost in [0, 2, 5] {
        let (mut bench, _writer) = large(60);
        let mut reader = peer(2);
        let effects = bench.turn([attach(2), step1(2, &reader)]);
        let mut sent = to(&effects, 2);
        for _ in 0..lost {
            sent.extend(to(&bench.turn([drained(2)]), 2));
        }
        sent.pop();
        hear_all(&mut reader, sent);
        bench.turn([overflow(2, Missed::State)]);
        hear_all(&mut reader, bench.drain(2));
        assert_eq!(reader.text(), bench.view(), "lost part {lost}");
    }
}

#[test]
fn the_last_part_that_did_not_fit_is_sent_again() {
    let (mut bench, _writer) = large(60);
    let mut reader = peer(2);
    let mut sent = to(&bench.turn([attach(2), step1(2, &reader)]), 2);
    let last = loop {
        let more = to(&bench.turn([drained(2)]), 2);
        if let [Outbound::SyncStep2 { .. }] = &more[..] {
            break sent.len() - 1;
        }
        sent.extend(more);
    };
    // The same again, but for the last part.
    let (mut bench, _writer) = large(60);
    let mut sent = to(&bench.turn([attach(2), step1(2, &reader)]), 2);
    while sent.len() <= last {
        sent.extend(to(&bench.turn([drained(2)]), 2));
    }
    sent.pop();
    hear_all(&mut reader, sent);
    bench.turn([overflow(2, Missed::State)]);
    hear_all(&mut reader, bench.drain(2));
    assert_eq!(reader.text(), bench.view());
}

#[test]
fn a_resync_ends_although_state_and_presence_never_fit_together() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([receive(1, presence::entries(&[(1, 1, Some("{}"))]))]);
    bench.turn([update(1, &peer(1).type_text("a"))]);
    bench.turn([overflow(2, Missed::Reply)]);
    // Each message leaves alone, into an empty queue.
    let first = to(&bench.turn([drained(2)]), 2);
    assert!(
        matches!(first[..], [Outbound::SyncStep2 { .. }]),
        "{first:?}"
    );
    let second = to(&bench.turn([drained(2)]), 2);
    assert!(
        matches!(second[..], [Outbound::Presence { .. }]),
        "{second:?}"
    );
    assert_eq!(bench.drain(2), []);
}

#[test]
fn a_lost_question_is_asked_again_after_a_resync() {
    let mut bench = Bench::new(options());
    bench.turn([attach(1), step1(1, &peer(1))]);
    bench.turn([overflow(1, Missed::Reply)]);
    let sent = bench.drain(1);
    let is_step1 = |message: &Outbound| matches!(message, Outbound::SyncStep1 { .. });
    assert!(sent.iter().any(is_step1), "{sent:?}");
}

#[test]
fn a_state_that_waits_for_its_commit_is_not_taken_for_delivered() {
    let mut bench = Bench::new(durable());
    bench.join([1]);
    let mut writer = peer(1);
    bench.turn([update(1, &writer.type_text("a"))]);
    bench.turn([attach(2), step1(2, &peer(2))]);
    // Presence fills the queue while the step 2 waits, and the step 2 is then lost.
    bench.turn([overflow(2, Missed::Reply)]);
    bench.commit(1);
    bench.turn([overflow(2, Missed::State)]);
    let mut reader = peer(2);
    hear_all(&mut reader, bench.drain(2));
    assert_eq!(reader.text(), "a");
}

#[test]
fn however_often_a_peer_asks_one_state_waits_for_the_commit() {
    let mut bench = Bench::new(durable());
    bench.join([1]);
    let (mut writer, mut reader) = (peer(1), peer(2));
    bench.turn([update(1, &writer.type_text("a")), attach(2)]);
    for _ in 0..100 {
        let effects = bench.turn([step1(2, &reader)]);
        assert!(updates_to(&effects, 2).is_empty());
    }
    let sent = updates_to(&bench.commit(1), 2);
    assert_eq!(
        sent.len(),
        2,
        "the first answer, and one to all later questions"
    );
    hear_all(
        &mut reader,
        sent.into_iter()
            .map(|update| Outbound::Update { update })
            .collect(),
    );
    assert_eq!(reader.text(), "a");
}

#[test]
fn who_was_sent_the_stored_state_is_sent_the_rest_once() {
    let mut author = peer(1);
    let stored = StoredDocument {
        snapshot: Some(author.type_text("stored")),
        appends: vec![author.delete(0, 1), author.type_text("!")],
        tombstone: None,
        owners: Vec::new(),
    };
    let replica = Replica::load(options(), &stored).unwrap();
    let mut bench = Bench { replica, now_ms: 0 };
    let (mut early, mut late) = (peer(2), peer(3));
    let nothing = [step1(2, &early), step1(3, &late)];
    for update in stored.snapshot.iter().chain(&stored.appends) {
        early.hear(update);
    }
    let sessions = vec![SessionId(2)];
    let [asks_2, asks_3] = nothing.clone();
    let news = update(4, &author.type_text("?"));
    let effects = bench.turn([
        Input::SentStored { sessions },
        attach(2),
        attach(3),
        attach(4),
        asks_2,
        asks_3,
        news,
    ]);
    let (rest, whole) = (updates_to(&effects, 2), updates_to(&effects, 3));
    assert_eq!((rest.len(), whole.len()), (1, 1));
    assert!(rest[0].len() < whole[0].len(), "only the rest");
    early.hear(&rest[0]);
    late.hear(&whole[0]);
    assert_eq!(
        (early.text().as_str(), late.text().as_str()),
        ("tored!?", "tored!?")
    );
    let [asks_again, _] = nothing;
    let again = updates_to(&bench.turn([asks_again]), 2);
    assert_eq!(again, whole, "who asks again may have lost it");
}
