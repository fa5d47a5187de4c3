//! What a session may do: writes and presence that are not allowed change nothing.

use super::*;
use crate::wire::Notice;

fn with(rights: Rights, acks: Acks) -> Access {
    Access { rights, acks }
}

fn set(session: u64, rights: Rights) -> Input {
    let session = SessionId(session);
    Input::SetRights { session, rights }
}

/// The entry of a client that shows itself.
fn shown(client: u8) -> Message {
    let entries = [&[1, client, 1, 2][..], b"{}"].concat();
    Message::Presence {
        entries: entries.into(),
    }
}

fn stateless(text: &'static str) -> Message {
    Message::Stateless {
        payload: Bytes::from_static(text.as_bytes()),
    }
}

fn appends(effects: &[Effect]) -> usize {
    let is_append = |effect: &&Effect| matches!(effect, Effect::Append { .. });
    effects.iter().filter(is_append).count()
}

#[test]
fn a_reader_changes_nothing_and_is_told_once() {
    let mut bench = Bench::new(options());
    let mut reader = peer(7);
    bench.turn([
        attach_with(1, with(Rights::Comment, Acks::Probes)),
        step1(1, &reader),
        step2(1, &nothing()),
    ]);
    let (one, two) = (reader.type_text("a"), reader.type_text("b"));
    let refused = bench.turn([update(1, &one), update(1, &two), probe(1, 9)]);
    assert_eq!(appends(&refused), 0);
    let denials = to(&refused, 1);
    let is_denial = |message: &&Outbound| matches!(message, Outbound::Denied { .. });
    assert_eq!(denials.iter().filter(is_denial).count(), 1);
    assert_eq!(bench.view(), "");
    let late = bench.wait(2_000);
    assert!(
        to(&late, 1).contains(&Outbound::Saved { version: 0 }),
        "nothing of it is saved"
    );
}

#[test]
fn a_reader_that_counts_gets_a_refusal_for_each_update() {
    let mut bench = Bench::new(options());
    let mut reader = peer(7);
    bench.turn([
        attach_with(1, with(Rights::Read, Acks::Receipts)),
        step1(1, &reader),
    ]);
    let empty = bench.turn([step2(1, &nothing())]);
    let receipt = |accepted, count| Effect::Receipts {
        session: SessionId(1),
        accepted: Some(accepted),
        count,
    };
    let has = |effects: &[Effect], wanted: Effect| {
        effects
            .iter()
            .any(|effect| format!("{effect:?}") == format!("{wanted:?}"))
    };
    assert!(has(&empty, receipt(true, 1)), "nothing new is no offence");
    let (one, two) = (reader.type_text("a"), reader.type_text("b"));
    let refused = bench.turn([update(1, &one), update(1, &two)]);
    assert!(has(&refused, receipt(false, 2)), "{refused:?}");
    assert_eq!(bench.view(), "");
}

#[test]
fn who_may_write_again_is_asked_for_what_was_refused() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    bench.turn([
        attach_with(1, with(Rights::Read, Acks::Receipts)),
        step1(1, &writer),
    ]);
    bench.turn([step2(1, &nothing())]);
    let refused = writer.type_text("a");
    bench.turn([update(1, &refused)]);
    let raised = bench.turn([set(1, Rights::Write)]);
    assert!(to(&raised, 1).contains(&Outbound::Notice(Notice::Access { can_write: true })));
    let is_question = |message: &Outbound| matches!(message, Outbound::SyncStep1 { .. });
    assert!(to(&raised, 1).iter().any(is_question));
    bench.turn([step2(1, &writer.state())]);
    let durable = bench.commit(1);
    let counted = durable.iter().any(|effect| {
        matches!(
            effect,
            Effect::Receipts {
                accepted: Some(true),
                count: 1,
                ..
            }
        )
    });
    assert!(counted, "what was refused is saved after all");
    assert_eq!(bench.view(), "a");
}

#[test]
fn who_loses_the_right_to_write_is_told_and_refused_from_then_on() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    bench.join([1, 2]);
    let one = writer.type_text("a");
    bench.turn([update(1, &one)]);
    let lowered = bench.turn([set(1, Rights::Comment)]);
    assert!(to(&lowered, 1).contains(&Outbound::Notice(Notice::Access { can_write: false })));
    let two = writer.type_text("b");
    assert_eq!(appends(&bench.turn([update(1, &two)])), 0);
    assert_eq!(bench.view(), "a");
}

#[test]
fn a_reader_is_not_seen_and_who_becomes_one_disappears() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([receive(1, shown(9))]);
    let lowered = bench.turn([set(1, Rights::Read)]);
    let gone = to(&lowered, 2);
    assert!(
        gone.iter().any(|message| matches!(message, Outbound::Presence { entries } if entries.ends_with(b"null"))),
        "{gone:?}"
    );
    let hidden = bench.turn([receive(1, shown(10))]);
    assert_eq!(to(&hidden, 2), []);
}

#[test]
fn stateless_messages_reach_all_others_and_need_the_right_to_comment() {
    let mut bench = Bench::new(options());
    bench.join([1, 2, 3]);
    let said = bench.turn([receive(1, stateless("x"))]);
    let heard = Outbound::Stateless {
        payload: Bytes::from_static(b"x"),
    };
    assert_eq!(to(&said, 1), []);
    assert_eq!(to(&said, 2), std::slice::from_ref(&heard));
    assert_eq!(to(&said, 3), std::slice::from_ref(&heard));
    assert!(
        said.iter()
            .any(|effect| matches!(effect, Effect::TellStateless { .. }))
    );
    let payload = Bytes::from_static(b"x");
    let foreign = bench.turn([Input::NodeStateless { payload }]);
    assert_eq!(to(&foreign, 1), [heard]);
    assert!(
        !foreign
            .iter()
            .any(|effect| matches!(effect, Effect::TellStateless { .. }))
    );
    bench.turn([set(1, Rights::Read)]);
    assert_eq!(to(&bench.turn([receive(1, stateless("y"))]), 2), []);
    let huge = Message::Stateless {
        payload: vec![b'x'; 101].into(),
    };
    let closed = bench.turn([receive(2, huge)]);
    assert!(closed.iter().any(|effect| {
        matches!(
            effect,
            Effect::Close {
                reason: CloseReason::TooLarge,
                ..
            }
        )
    }));
}

#[test]
fn a_session_can_be_ended_and_told_something_from_outside() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    let session = SessionId(1);
    let notice = Notice::ExpiresSoon { seconds: 30 };
    let told = bench.turn([Input::Notify {
        session,
        notice: notice.clone(),
    }]);
    assert_eq!(to(&told, 1), [Outbound::Notice(notice)]);
    let reason = CloseReason::Unauthenticated;
    let ended = bench.turn([Input::End { session, reason }]);
    assert!(ended.iter().any(|effect| {
        matches!(
            effect,
            Effect::Close {
                reason: CloseReason::Unauthenticated,
                ..
            }
        )
    }));
    assert_eq!(bench.replica.session_count(), 0);
}
