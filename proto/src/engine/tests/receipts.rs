//! Sessions that are answered by receipts: one for each update, in order, after its commit.

use super::*;

const COUNTING: Access = Access {
    rights: Rights::Write,
    acks: Acks::Receipts,
};

/// The receipts of a turn, in order; `None` for those that are not sent.
fn receipts(effects: &[Effect], session: u64) -> Vec<(Option<bool>, u64)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Receipts {
                session: to,
                accepted,
                count,
            } if *to == SessionId(session) => Some((*accepted, *count)),
            _ => None,
        })
        .collect()
}

/// What is left of a session that sent so many updates and was not answered.
fn owed(count: u64) -> Arrears {
    let mut arrears = Arrears::default();
    for _ in 0..count {
        arrears.note_received(&Message::Update {
            update: Bytes::new(),
        });
    }
    arrears
}

fn step1s(effects: &[Effect], session: u64) -> usize {
    to(effects, session)
        .iter()
        .filter(|message| matches!(message, Outbound::SyncStep1 { .. }))
        .count()
}

/// A bench with one such session that has opened the document and answered step 1.
fn joined(bench: &mut Bench, session: u64, peer: &Peer) {
    let opened = bench.turn([attach_with(session, COUNTING), step1(session, peer)]);
    assert_eq!(step1s(&opened, session), 1);
    let answered = bench.turn([step2(session, &nothing())]);
    assert_eq!(receipts(&answered, session), [(Some(true), 1)]);
}

#[test]
fn the_server_asks_in_answer_to_the_client_and_before_its_own_answer() {
    let mut bench = Bench::new(options());
    let silent = bench.turn([attach_with(1, COUNTING)]);
    assert_eq!(step1s(&silent, 1), 0);
    let opened = bench.turn([step1(1, &peer(7))]);
    assert!(matches!(
        to(&opened, 1)[..],
        [Outbound::SyncStep1 { .. }, Outbound::SyncStep2 { .. }]
    ));
}

#[test]
fn each_update_is_answered_once_and_after_its_commit() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    joined(&mut bench, 1, &writer);
    let (one, two) = (writer.type_text("a"), writer.type_text("b"));
    let sent = bench.turn([update(1, &one), update(1, &two)]);
    assert_eq!(receipts(&sent, 1), []);
    assert_eq!(receipts(&bench.commit(1), 1), [(Some(true), 1)]);
    assert_eq!(receipts(&bench.commit(2), 1), [(Some(true), 1)]);
    let again = bench.turn([update(1, &one)]);
    assert_eq!(
        receipts(&again, 1),
        [(Some(true), 1)],
        "it is durable already"
    );
}

#[test]
fn a_duplicate_waits_for_what_it_duplicates() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    joined(&mut bench, 1, &writer);
    joined(&mut bench, 2, &peer(8));
    let one = writer.type_text("a");
    bench.turn([update(1, &one)]);
    assert_eq!(receipts(&bench.turn([update(2, &one)]), 2), []);
    let durable = bench.commit(1);
    assert_eq!(receipts(&durable, 1), [(Some(true), 1)]);
    assert_eq!(receipts(&durable, 2), [(Some(true), 1)]);
}

#[test]
fn a_gap_holds_receipts_until_it_is_filled_and_its_answer_is_not_counted() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    joined(&mut bench, 1, &writer);
    let lost = writer.type_text("a");
    let second = writer.type_text("b");
    let gapped = bench.turn([update(1, &second)]);
    assert_eq!(step1s(&gapped, 1), 1, "the missing part is asked for");
    assert_eq!(receipts(&bench.wait(10), 1), []);
    drop(lost);
    let filled = bench.turn([step2(1, &writer.state())]);
    assert_eq!(receipts(&filled, 1), []);
    assert_eq!(receipts(&bench.commit(1), 1), [(Some(true), 1)]);
}

#[test]
fn a_new_step_1_begins_the_count_anew() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    joined(&mut bench, 1, &writer);
    let one = writer.type_text("a");
    bench.turn([update(1, &one)]);
    let again = bench.turn([step1(1, &writer)]);
    assert_eq!(receipts(&again, 1), []);
    assert_eq!(step1s(&again, 1), 1);
    assert_eq!(receipts(&bench.turn([step2(1, &nothing())]), 1), []);
    assert_eq!(
        receipts(&bench.commit(1), 1),
        [(Some(true), 1)],
        "one for the answer"
    );
}

#[test]
fn an_adopted_session_gets_what_the_former_replica_owed_once_it_answered() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let lost = writer.type_text("a");
    let mut effects = Vec::new();
    let arrears = owed(3);
    bench
        .replica
        .adopt(SessionId(1), COUNTING, None, &arrears, &mut effects);
    assert_eq!(step1s(&effects, 1), 1);
    let more = writer.type_text("b");
    let early = bench.turn([update(1, &more)]);
    assert_eq!(receipts(&early, 1), [], "it needs what was lost");
    drop(lost);
    let answered = bench.turn([step2(1, &writer.state())]);
    assert_eq!(receipts(&answered, 1), []);
    assert_eq!(receipts(&bench.commit(1), 1), [(Some(true), 4)]);
}

#[test]
fn updates_behind_an_adoption_wait_for_the_answer_too() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let mut effects = Vec::new();
    let arrears = owed(1);
    bench
        .replica
        .adopt(SessionId(1), COUNTING, None, &arrears, &mut effects);
    let fits = writer.type_text("a");
    bench.turn([update(1, &fits)]);
    assert_eq!(
        receipts(&bench.commit(1), 1),
        [],
        "what was lost may not be here"
    );
    let answered = bench.turn([step2(1, &writer.state())]);
    assert_eq!(receipts(&answered, 1), [(Some(true), 2)]);
}

#[test]
fn what_was_made_before_the_step_1_and_comes_behind_it_is_not_counted() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let queued = [
        writer.type_text("a"),
        writer.type_text("b"),
        writer.delete(0, 1),
    ];
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    let behind = bench.turn(queued.iter().map(|queued| update(1, queued)));
    assert_eq!(receipts(&behind, 1), [(None, 1), (None, 1), (None, 1)]);
    let later = writer.type_text("c");
    assert_eq!(receipts(&bench.turn([update(1, &later)]), 1), []);
    bench.turn([step2(1, &writer.state())]);
    let durable = bench.commit(10);
    assert_eq!(
        receipts(&durable, 1),
        [(Some(true), 2)],
        "the later one and the answer"
    );
    let deleted = writer.delete(0, 1);
    let told = bench.turn([update(1, &deleted)]);
    assert_eq!(
        receipts(&told, 1),
        [(Some(true), 1)],
        "behind the answer it counts"
    );
}

#[test]
fn what_was_made_before_the_step_1_is_not_counted_when_its_like_is_missing() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let lost = writer.type_text("a");
    let queued = writer.type_text("b");
    drop(lost);
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    let gapped = bench.turn([update(1, &queued)]);
    assert_eq!(receipts(&gapped, 1), [(None, 1)]);
}

#[test]
fn of_two_questions_under_way_only_the_last_answer_counts() {
    let mut bench = Bench::new(options());
    let writer = peer(7);
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([step1(1, &writer)]);
    let first = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&first, 1), []);
    let second = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&second, 1), [(Some(true), 1)]);
}

#[test]
fn however_often_a_peer_asks_in_a_turn_it_is_asked_once_in_return() {
    let mut bench = Bench::new(options());
    let writer = peer(7);
    bench.turn([attach_with(1, COUNTING)]);
    let asked = bench.turn((0..100).map(|_| step1(1, &writer)));
    assert_eq!(step1s(&asked, 1), 1);
    let answered = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&answered, 1), [(Some(true), 1)]);
}

#[test]
fn who_may_not_write_any_more_is_answered_what_it_was_owed() {
    let mut bench = Bench::new(options());
    let reading = Access {
        rights: Rights::Read,
        ..COUNTING
    };
    let mut effects = Vec::new();
    bench
        .replica
        .adopt(SessionId(1), reading, None, &owed(2), &mut effects);
    let answered = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&answered, 1), [(Some(true), 2)]);
}

/// Gives a turn to the replica and keeps the account of session 1, as the caller of a replica does.
fn accounted<const N: usize>(
    bench: &mut Bench,
    arrears: &mut Arrears,
    inputs: [Input; N],
) -> Vec<Effect> {
    for input in &inputs {
        if let Input::Receive { message, .. } = input {
            arrears.note_received(message);
        }
    }
    let effects = bench.turn(inputs);
    perform(arrears, &effects);
    effects
}

fn perform(arrears: &mut Arrears, effects: &[Effect]) {
    (0..step1s(effects, 1)).for_each(|_| arrears.note_asked());
    let answered = receipts(effects, 1);
    answered
        .iter()
        .for_each(|(_, count)| arrears.note_answered(*count));
}

/// The next replica after a failure, with the session.
fn next(arrears: &mut Arrears) -> Bench {
    let mut bench = Bench::new(options());
    let mut effects = Vec::new();
    let left = arrears.clone();
    bench
        .replica
        .adopt(SessionId(1), COUNTING, None, &left, &mut effects);
    perform(arrears, &effects);
    bench
}

fn due(bench: &mut Bench) -> u64 {
    let durable = bench.commit(100);
    receipts(&durable, 1).iter().map(|(_, count)| count).sum()
}

#[test]
fn a_step_1_that_was_lost_with_its_replica_is_still_owed_one_answer() {
    let writer = peer(7);
    let mut arrears = owed(3);
    // The replica fails over it: nothing of it is performed.
    for _ in 0..2 {
        if let Input::Receive { message, .. } = step1(1, &writer) {
            arrears.note_received(&message);
        }
    }
    let mut bench = next(&mut arrears);
    let mut bench = {
        accounted(&mut bench, &mut arrears, []);
        next(&mut arrears)
    };
    let first = accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    assert_eq!(receipts(&first, 1), [(Some(true), 1)]);
    let second = accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    assert_eq!(receipts(&second, 1), [], "the next replica asked once more");
    assert_eq!(arrears.owed, 0);
}

#[test]
fn answers_to_the_questions_of_all_replicas_are_counted_once() {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    let mut arrears = Arrears::default();
    let queued = writer.type_text("a");
    let opening = [attach_with(1, COUNTING), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    let _failed = next(&mut arrears);
    let mut bench = next(&mut arrears);
    let behind = accounted(&mut bench, &mut arrears, [update(1, &queued)]);
    assert_eq!(receipts(&behind, 1), [(None, 1)], "made before the step 1");
    let answers = [(); 3].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(due(&mut bench), 1, "three questions, one that counts");
}

#[test]
fn what_is_tried_again_is_owed_once() {
    let mut writer = peer(7);
    let mut arrears = Arrears::default();
    arrears.note_asked();
    let sent = writer.type_text("a");
    if let Input::Receive { message, .. } = update(1, &sent) {
        arrears.note_received(&message);
    }
    let mut bench = next(&mut arrears);
    let again = Input::Retry {
        session: SessionId(1),
        update: sent,
    };
    accounted(&mut bench, &mut arrears, [again]);
    accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    assert_eq!(due(&mut bench), 1);
    assert_eq!(arrears.owed, 1, "until it is performed");
}
