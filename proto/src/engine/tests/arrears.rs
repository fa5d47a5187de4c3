//! What a session is owed across failures of its document: its account, and what the next replica pays.

use super::receipts::{COUNTING, READING, due, owed, receipts, step1s};
use super::*;

/// Accounts for what is about to be handled: all that happens of it when the replica fails over it.
pub(super) fn give(arrears: &mut Arrears, input: &Input) {
    if let Input::Receive { message, .. } = input {
        arrears.note_received(message);
    }
}

/// Gives a turn to the replica and keeps the account of session 1, as the caller of a replica does.
fn accounted<const N: usize>(
    bench: &mut Bench,
    arrears: &mut Arrears,
    inputs: [Input; N],
) -> Vec<Effect> {
    inputs.iter().for_each(|input| give(arrears, input));
    let effects = bench.turn(inputs);
    perform(arrears, &effects);
    effects
}

fn perform(arrears: &mut Arrears, effects: &[Effect]) {
    (0..step1s(effects, 1)).for_each(|_| arrears.note_asked());
    for effect in effects {
        match effect {
            Effect::Receipts {
                accepted, count, ..
            } => arrears.note_answered(*accepted, *count),
            Effect::Restored { count, .. } => arrears.note_restored(*count),
            _ => {}
        }
    }
}

/// The next replica after a failure, with the session.
fn next(arrears: &mut Arrears) -> Bench {
    next_with(arrears, COUNTING)
}

fn next_with(arrears: &mut Arrears, access: Access) -> Bench {
    let mut bench = Bench::new(options());
    let mut effects = Vec::new();
    let left = arrears.clone();
    bench
        .replica
        .adopt(SessionId(1), access, None, &left, &mut effects);
    perform(arrears, &effects);
    bench
}

/// What is due once all is committed, accounted for.
fn paid(bench: &mut Bench, arrears: &mut Arrears) -> u64 {
    let durable = bench.commit(100);
    perform(arrears, &durable);
    receipts(&durable, 1).iter().map(|(_, count)| count).sum()
}

#[test]
fn a_step_1_that_was_lost_with_its_replica_is_still_owed_one_answer() {
    let writer = peer(7);
    let mut arrears = owed(3);
    // The replica fails over it: nothing of it is performed.
    for _ in 0..2 {
        give(&mut arrears, &step1(1, &writer));
    }
    let mut bench = next(&mut arrears);
    let mut bench = {
        accounted(&mut bench, &mut arrears, []);
        next(&mut arrears)
    };
    let first = accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    assert_eq!(receipts(&first, 1), [], "the next replica asked once more");
    let second = accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    assert_eq!(receipts(&second, 1), [(Some(true), 1)]);
    assert_eq!(arrears.owed, 0);
}

#[test]
fn the_answer_to_a_question_of_a_former_replica_does_not_tell_that_all_is_here() {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    let mut arrears = Arrears::default();
    let opening = [attach_with(1, COUNTING), step1(1, &writer)];
    let lost = writer.type_text("a");
    let opening = [&opening[..], &[update(1, &lost)]].concat();
    // The question shows the update, which the store then refuses.
    opening.iter().for_each(|input| give(&mut arrears, input));
    let effects = bench.turn(opening);
    perform(&mut arrears, &effects);
    let mut bench = next(&mut arrears);
    let told = accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    assert_eq!(receipts(&told, 1), []);
    accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(paid(&mut bench, &mut arrears), 2);
}

#[test]
fn nor_does_it_when_the_session_probes() {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    let mut arrears = Arrears::default();
    // It connects when its update was taken in on another way, which the store then refuses.
    let lost = writer.type_text("a");
    bench.join([2]);
    bench.turn([update(2, &lost)]);
    let opening = [attach(1), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    let mut bench = next_with(&mut arrears, PROBING);
    let told = accounted(
        &mut bench,
        &mut arrears,
        [step2(1, &nothing()), probe(1, 9)],
    );
    assert_eq!(saved(&told, 1), None);
    assert_eq!(saved(&bench.wait(1_000), 1), Some(0), "nothing yet");
    let told = accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(saved(&told, 1), None);
    assert_eq!(saved(&bench.commit(1), 1), Some(9));
    assert_eq!(arrears.questions, 0);
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
    accounted(&mut bench, &mut arrears, [update(1, &queued)]);
    assert_eq!(arrears.owed, 0, "it was made before the step 1");
    let answers = [(); 3].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(due(&mut bench), 1, "three questions, one that counts");
}

#[test]
fn what_is_tried_again_is_owed_once() {
    let mut writer = peer(7);
    let mut arrears = owed(0);
    arrears.note_asked();
    let sent = writer.type_text("a");
    give(&mut arrears, &update(1, &sent));
    let mut bench = next(&mut arrears);
    let again = Input::Retry {
        session: SessionId(1),
        update: sent,
    };
    accounted(&mut bench, &mut arrears, [again]);
    let answers = [(); 2].map(|()| step2(1, &nothing()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(due(&mut bench), 1);
    assert_eq!(arrears.owed, 1, "until it is performed");
}

/// A reader with two refused updates, as its account and its peer.
fn refused_twice() -> (Arrears, Peer) {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    let mut arrears = Arrears::default();
    let opening = [attach_with(1, READING), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    let opened = accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    assert_eq!(receipts(&opened, 1), [(Some(true), 1)]);
    let updates = [writer.type_text("a"), writer.type_text("b")];
    let refused = accounted(
        &mut bench,
        &mut arrears,
        [update(1, &updates[0]), update(1, &updates[1])],
    );
    assert_eq!(receipts(&refused, 1), [(Some(false), 2)]);
    (arrears, writer)
}

fn set_rights(rights: Rights) -> Input {
    let session = SessionId(1);
    Input::SetRights { session, rights }
}

/// Nothing is owed or open.
fn assert_settled(arrears: &Arrears) {
    assert_eq!((arrears.owed, arrears.refused, arrears.doubtful), (0, 0, 0));
    assert!(arrears.questions == 0 && !arrears.awaits_answer);
}

#[test]
fn what_was_refused_before_a_failure_is_answered_when_it_may_be_written_behind_it() {
    let (mut arrears, mut writer) = refused_twice();
    let mut bench = next_with(&mut arrears, READING);
    let again = accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(receipts(&again, 1), [], "they were answered already");
    let third = writer.type_text("c");
    let told = accounted(&mut bench, &mut arrears, [update(1, &third)]);
    assert_eq!(receipts(&told, 1), [(Some(false), 1)]);
    accounted(&mut bench, &mut arrears, [set_rights(Rights::Write)]);
    accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(paid(&mut bench, &mut arrears), 3);
    assert_settled(&arrears);
}

#[test]
fn what_was_refused_is_answered_when_the_right_to_write_came_beside_the_failure() {
    let (mut arrears, writer) = refused_twice();
    let mut bench = next_with(&mut arrears, COUNTING);
    accounted(&mut bench, &mut arrears, []);
    // Again, before the answer.
    let mut bench = next_with(&mut arrears, COUNTING);
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(paid(&mut bench, &mut arrears), 2);
    assert_settled(&arrears);
}

#[test]
fn what_is_restored_before_its_refusal_is_told_is_paid_once() {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    let mut arrears = Arrears::default();
    let opening = [attach_with(1, READING), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    let refused = writer.type_text("a");
    let turn = [update(1, &refused), set_rights(Rights::Write)];
    accounted(&mut bench, &mut arrears, turn);
    let mut same = arrears.clone();
    accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(paid(&mut bench, &mut arrears), 1);
    assert_settled(&arrears);
    // The same with another replica in between.
    let mut bench = next(&mut same);
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut same, answers);
    assert_eq!(paid(&mut bench, &mut same), 1);
}

#[test]
fn what_is_restored_in_front_of_a_step_1_is_covered_by_its_answer() {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    let mut arrears = Arrears::default();
    let opening = [attach_with(1, READING), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    let refused = writer.type_text("a");
    accounted(&mut bench, &mut arrears, [update(1, &refused)]);
    let turn = [set_rights(Rights::Write), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, turn);
    assert_eq!(arrears.balance(), (0, 0));
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(paid(&mut bench, &mut arrears), 1);
    let mut bench = next(&mut arrears);
    accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(paid(&mut bench, &mut arrears), 0, "all was paid");
}

#[test]
fn what_is_restored_takes_nothing_from_what_else_is_owed() {
    let (mut arrears, mut writer) = refused_twice();
    let mut bench = next_with(&mut arrears, READING);
    accounted(&mut bench, &mut arrears, [step2(1, &nothing())]);
    accounted(&mut bench, &mut arrears, [set_rights(Rights::Write)]);
    let third = writer.type_text("c");
    accounted(&mut bench, &mut arrears, [update(1, &third)]);
    // Nothing of it was committed.
    let mut bench = next_with(&mut arrears, COUNTING);
    let answers = [(); 3].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(paid(&mut bench, &mut arrears), 3);
}

#[test]
fn what_was_owed_is_refused_when_it_may_not_be_written_any_more() {
    let mut writer = peer(7);
    let mut arrears = owed(1);
    writer.type_text("a");
    let mut bench = next_with(&mut arrears, READING);
    let answered = accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(receipts(&answered, 1), [(Some(false), 1)]);
    let more = writer.type_text("b");
    let told = accounted(&mut bench, &mut arrears, [update(1, &more)]);
    assert_eq!(receipts(&told, 1), [(Some(false), 1)], "nor does it wait");
    accounted(&mut bench, &mut arrears, [set_rights(Rights::Write)]);
    accounted(&mut bench, &mut arrears, [step2(1, &writer.state())]);
    assert_eq!(paid(&mut bench, &mut arrears), 2);
}

#[test]
fn what_was_deleted_in_front_of_a_failure_is_owed_once_the_pong_comes() {
    let mut writer = peer(7);
    let mut arrears = Arrears::default();
    let mut bench = Bench::new(options());
    writer.type_text("ab");
    let opening = [attach_with(1, COUNTING), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    let deleted = writer.delete(0, 1);
    give(&mut arrears, &update(1, &deleted));
    let mut bench = next(&mut arrears);
    accounted(&mut bench, &mut arrears, [pong(1)]);
    assert_eq!(arrears.owed, 1);
    assert_eq!(paid(&mut bench, &mut arrears), 0, "it may be lost");
    // Again, behind the pong.
    let mut bench = next(&mut arrears);
    let answers = [(); 3].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(paid(&mut bench, &mut arrears), 2, "it and one answer");
    assert_settled(&arrears);
}

/// A reader that deleted older text in front of the pong, which it is not told of yet.
fn deleting_reader() -> (Bench, Arrears, Peer) {
    let mut writer = peer(7);
    let mut bench = Bench::new(options());
    bench.join([2]);
    bench.turn([update(2, &writer.type_text("ab"))]);
    let mut arrears = Arrears::default();
    let opening = [attach_with(1, READING), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    let deleted = update(1, &writer.delete(0, 1));
    let told = accounted(&mut bench, &mut arrears, [deleted]);
    assert_eq!(receipts(&told, 1), []);
    (bench, arrears, writer)
}

#[test]
fn what_was_deleted_without_the_right_to_is_refused_once_the_pong_comes() {
    let (mut bench, mut arrears, writer) = deleting_reader();
    let told = accounted(&mut bench, &mut arrears, [pong(1)]);
    assert_eq!(receipts(&told, 1), [(Some(false), 1)]);
    assert_eq!((arrears.owed, arrears.refused), (0, 1));
    accounted(&mut bench, &mut arrears, [set_rights(Rights::Write)]);
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(paid(&mut bench, &mut arrears), 2, "it and the answer");
    assert_settled(&arrears);
}

#[test]
fn what_was_refused_in_front_of_the_pong_is_answered_when_it_may_be_written_before_that() {
    let (mut bench, mut arrears, writer) = deleting_reader();
    accounted(&mut bench, &mut arrears, [set_rights(Rights::Write)]);
    let told = accounted(&mut bench, &mut arrears, [pong(1)]);
    assert_eq!(receipts(&told, 1), [], "it is not here yet");
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(paid(&mut bench, &mut arrears), 2, "it and the answer");
    assert_settled(&arrears);
}

#[test]
fn what_was_made_before_the_step_1_is_not_owed_when_the_turn_fails_over_it() {
    let mut writer = peer(7);
    let mut arrears = Arrears::default();
    let mut bench = Bench::new(options());
    let queued = [writer.type_text("a"), writer.delete(0, 1)];
    let opening = [attach_with(1, COUNTING), step1(1, &writer)];
    accounted(&mut bench, &mut arrears, opening);
    let later = writer.type_text("b");
    for sent in queued.iter().chain([&later]) {
        give(&mut arrears, &update(1, sent));
    }
    assert_eq!(arrears.owed, 1, "it counts the one that it made later");
    let mut bench = next(&mut arrears);
    let answers = [(); 2].map(|()| step2(1, &writer.state()));
    accounted(&mut bench, &mut arrears, answers);
    assert_eq!(paid(&mut bench, &mut arrears), 2, "that and one answer");
    assert_settled(&arrears);
}
