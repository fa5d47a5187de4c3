//! Sessions that are answered by receipts: one for each update, in order, after its commit.

use super::arrears::give;
use super::*;

pub(super) const COUNTING: Access = Access {
    rights: Rights::Write,
    acks: Acks::Receipts,
};

pub(super) const READING: Access = Access {
    rights: Rights::Read,
    ..COUNTING
};

/// The receipts of a turn, in order; `None` for refusals that are not told.
pub(super) fn receipts(effects: &[Effect], session: u64) -> Vec<(Option<bool>, u64)> {
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

/// What is left of a session that is in step, then sent so many updates and was not answered.
pub(super) fn owed(count: u64) -> Arrears {
    let mut arrears = Arrears::default();
    for received in [step1(1, &peer(7)), step2(1, &nothing())] {
        give(&mut arrears, &received);
    }
    arrears.note_answered(Some(true), 1);
    for _ in 0..count {
        arrears.note_received(&Message::Update {
            update: Bytes::new(),
        });
    }
    arrears
}

pub(super) fn step1s(effects: &[Effect], session: u64) -> usize {
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
    assert_eq!(receipts(&behind, 1), []);
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
fn who_deletes_what_was_typed_behind_the_step_1_is_answered() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("a");
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    let later = [writer.type_text("b"), writer.delete(1, 1)];
    bench.turn(later.iter().map(|later| update(1, later)));
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(due(&mut bench), 3, "both and the answer");
}

#[test]
fn who_deletes_what_was_there_before_the_pong_is_answered() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("abc");
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([update(1, &writer.delete(0, 1))]);
    bench.turn([pong(1)]);
    let queued = writer.delete(0, 1);
    bench.turn([update(1, &queued), pong(1)]);
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(due(&mut bench), 3, "both and the answer");
}

#[test]
fn what_comes_between_the_pong_and_the_answer_may_have_waited() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("ab");
    let queued = writer.delete(0, 1);
    bench.turn([attach_with(1, COUNTING), step1(1, &writer), pong(1)]);
    bench.turn([update(1, &queued), step2(1, &writer.state()), pong(1)]);
    assert_eq!(due(&mut bench), 1, "the answer");
}

#[test]
fn a_step_1_behind_what_was_deleted_covers_it() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("ab");
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([update(1, &writer.delete(0, 1))]);
    bench.turn([step1(1, &writer), pong(1)]);
    // What it deleted was not here, which it was asked about, too.
    let answers = [(); 3].map(|()| step2(1, &writer.state()));
    bench.turn(answers);
    assert_eq!(due(&mut bench), 1, "the answer to the question that counts");
}

#[test]
fn what_a_gap_holds_up_is_answered_behind_the_pong_when_it_is_filled() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("abc");
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    // What it deletes is not here.
    let told = bench.turn([update(1, &writer.delete(0, 1)), pong(1)]);
    assert_eq!(receipts(&told, 1), []);
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    bench.turn(answers);
    assert_eq!(due(&mut bench), 2, "it and the answer");
}

/// Updates as one, as a provider sends what it has gathered.
fn batch<const N: usize>(updates: [Bytes; N]) -> Bytes {
    let updates = updates.map(|update| Update::decode_v1(&update).unwrap());
    Update::merge_updates(updates).encode_v1().into()
}

#[test]
fn a_batch_that_was_begun_before_the_step_1_is_not_counted_whenever_it_comes() {
    for (heard, answered) in [(false, false), (true, false), (true, true)] {
        let mut bench = Bench::new(options());
        let mut writer = peer(7);
        let first = writer.type_text("a");
        bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
        let begun = batch([first, writer.type_text("b")]);
        let later = batch([writer.type_text("c"), writer.delete(0, 1)]);
        let answer = step2(1, &writer.state());
        let answers = std::slice::from_ref(&answer);
        let pongs = [pong(1)];
        let (early, late) = answers.split_at(usize::from(answered));
        let turn = [early, &[update(1, &begun)], &pongs[usize::from(!heard)..]];
        bench.turn(turn.concat());
        bench.turn([&[update(1, &later)], late].concat());
        assert_eq!(due(&mut bench), 2, "the later one and the answer: {heard}");
    }
}

#[test]
fn an_older_step_1_that_waited_covers_nothing_less() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("a");
    let older = step1(1, &writer);
    let queued = [writer.type_text("b"), writer.type_text("c")];
    bench.turn([attach_with(1, COUNTING), step1(1, &writer), pong(1)]);
    bench.turn([older]);
    bench.turn(queued.iter().map(|queued| update(1, queued)));
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    bench.turn(answers);
    assert_eq!(due(&mut bench), 1, "the answer");
}

#[test]
fn an_answer_that_waited_for_the_connection_is_none() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("a");
    let leftover = writer.state();
    let queued = writer.type_text("b");
    bench.turn([attach_with(1, COUNTING), step1(1, &writer), pong(1)]);
    let leftover = receive(1, Message::Leftover { update: leftover });
    bench.turn([leftover, update(1, &queued)]);
    assert_eq!(due(&mut bench), 0);
    let answered = bench.turn([step2(1, &writer.state())]);
    assert_eq!(receipts(&answered, 1), [(Some(true), 1)]);
}

#[test]
fn where_nothing_waits_any_more_deletions_are_counted() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("ab");
    let opening = [attach_with(1, COUNTING), step1(1, &writer)];
    bench.turn(opening);
    bench.turn([update(1, &writer.delete(0, 1))]);
    bench.turn([receive(1, Message::QueueSent)]);
    bench.turn([update(1, &writer.delete(0, 1))]);
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    bench.turn(answers);
    assert_eq!(due(&mut bench), 2, "the later one and the answer");
}

#[test]
fn behind_a_later_step_1_everything_is_counted() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    writer.type_text("ab");
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(due(&mut bench), 1);
    bench.turn([step1(1, &writer)]);
    let deleted = [writer.delete(0, 1), writer.delete(0, 1)];
    // All that was committed until then is known to be: both are answered at once.
    let told = bench.turn(deleted.iter().map(|deleted| update(1, deleted)));
    assert_eq!(
        receipts(&told, 1),
        [(Some(true), 2)],
        "nothing was queued: the socket was open"
    );
    let told = bench.turn([step2(1, &writer.state())]);
    assert_eq!(receipts(&told, 1), [(Some(true), 1)]);
}

#[test]
fn what_was_queued_is_not_counted_behind_two_step_1s_either() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let queued = [writer.type_text("a"), writer.delete(0, 1)];
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([step1(1, &writer)]);
    bench.turn(queued.iter().map(|queued| update(1, queued)));
    bench.turn([step2(1, &writer.state())]);
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(due(&mut bench), 1, "the answer");
}

#[test]
fn what_was_made_before_the_step_1_is_not_counted_when_its_like_is_missing() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let lost = writer.type_text("a");
    let queued = writer.type_text("b");
    drop(lost);
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([update(1, &queued)]);
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(due(&mut bench), 1, "for the answer");
}

#[test]
fn of_two_questions_under_way_one_answer_counts() {
    let mut bench = Bench::new(options());
    let writer = peer(7);
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([step1(1, &writer)]);
    let first = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&first, 1), [(Some(true), 1)]);
    let second = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&second, 1), []);
}

#[test]
fn nothing_is_counted_before_the_first_step_1() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let early = [writer.type_text("a"), writer.delete(0, 1)];
    bench.turn([attach_with(1, COUNTING)]);
    bench.turn(early.iter().map(|early| update(1, early)));
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(due(&mut bench), 0);
    let told = bench.turn([step1(1, &writer), step2(1, &nothing())]);
    assert_eq!(receipts(&told, 1), [(Some(true), 1)]);
}

#[test]
fn a_batch_that_two_step_1s_leave_open_is_not_counted() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let first = writer.type_text("a");
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    bench.turn([step2(1, &writer.state())]);
    assert_eq!(receipts(&bench.commit(1), 1), [(Some(true), 1)]);
    // It makes sure of it, as it does now and then.
    bench.turn([step1(1, &writer)]);
    let answered = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&answered, 1), [(Some(true), 1)]);
    let begun = batch([first, writer.type_text("b")]);
    bench.turn([update(1, &begun)]);
    let later = writer.type_text("c");
    bench.turn([update(1, &later)]);
    assert_eq!(due(&mut bench), 1, "the later one");
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
    let mut effects = Vec::new();
    bench
        .replica
        .adopt(SessionId(1), READING, None, &owed(2), &mut effects);
    let answered = bench.turn([step2(1, &nothing())]);
    assert_eq!(receipts(&answered, 1), [(Some(true), 2)]);
}

pub(super) fn due(bench: &mut Bench) -> u64 {
    let durable = bench.commit(100);
    receipts(&durable, 1).iter().map(|(_, count)| count).sum()
}

#[test]
fn what_came_on_another_way_before_is_counted_all_the_same() {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    bench.join([2]);
    bench.turn([attach_with(1, COUNTING), step1(1, &writer)]);
    let made_later = writer.type_text("a");
    bench.turn([update(2, &made_later)]);
    bench.turn([update(1, &made_later), step2(1, &writer.state())]);
    assert_eq!(due(&mut bench), 2, "itself and the answer");
}
