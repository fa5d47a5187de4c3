//! Who is here: carriers, echoes, takeover, removal, expiry.

use super::*;
use crate::admission::{self, PresenceEntry, encode_entries};
use crate::engine::Observation;

/// Client, clock and state of entries.
type Entries = &'static [(u64, u32, Option<&'static str>)];

/// A presence message of client, clock and state.
pub(super) fn entries(list: &[(u64, u32, Option<&'static str>)]) -> Message {
    let entries = list.iter().map(|&(client, clock, state)| PresenceEntry {
        client,
        clock,
        state,
    });
    Message::Presence {
        entries: encode_entries(entries),
    }
}

/// What presence reaches a session: client, clock and whether it is here.
pub(super) fn heard(effects: &[Effect], session: u64) -> Vec<(u64, u32, bool)> {
    let mut found = Vec::new();
    for message in to(effects, session) {
        if let Outbound::Presence { entries } = message {
            for entry in admission::entries(&entries).unwrap() {
                let entry = entry.unwrap();
                found.push((entry.client, entry.clock, entry.state.is_some()));
            }
        }
    }
    found
}

fn say(session: u64, list: &[(u64, u32, Option<&'static str>)]) -> Input {
    receive(session, entries(list))
}

const HERE: Option<&str> = Some("{}");

#[test]
fn news_reaches_everyone_but_its_author_and_echoes_nobody() {
    let mut bench = Bench::new(options());
    bench.join([1, 2, 3]);
    let effects = bench.turn([say(1, &[(11, 1, HERE)])]);
    assert_eq!(heard(&effects, 1), []);
    assert_eq!(heard(&effects, 2), [(11, 1, true)]);
    let effects = bench.turn([say(2, &[(11, 1, HERE)]), say(3, &[(11, 1, HERE)])]);
    assert_eq!(heard(&effects, 1), []);
    assert_eq!(heard(&effects, 3), []);
}

#[test]
fn in_a_large_room_changes_gather_and_none_is_lost() {
    let mut bench = Bench::new(options());
    bench.join(1..=100);
    let effects = bench.turn([say(1, &[(11, 1, HERE)])]);
    assert_eq!(
        heard(&effects, 2),
        [(11, 1, true)],
        "the first is told at once"
    );
    for clock in 2..=4 {
        let effects = bench.turn([say(1, &[(11, clock, HERE)]), say(2, &[(12, clock, HERE)])]);
        assert_eq!(heard(&effects, 3), [], "those behind it gather");
    }
    let deadline_ms = bench.replica.next_deadline_ms().unwrap();
    assert_eq!(deadline_ms, bench.now_ms + 100 / 10);
    bench.now_ms = deadline_ms;
    let effects = bench.turn([]);
    assert_eq!(heard(&effects, 3), [(11, 4, true), (12, 4, true)]);
    assert_eq!(heard(&effects, 1), [(11, 4, true), (12, 4, true)]);
    let effects = bench.turn([]);
    assert_eq!(heard(&effects, 3), []);
}

#[test]
fn a_flood_is_told_at_its_rate_and_its_newest_entry_reaches_all() {
    let mut bench = Bench::new(ReplicaOptions {
        presence_per_second_max: 20,
        ..options()
    });
    bench.join([1, 2]);
    bench.now_ms += 10_000;
    let start_ms = bench.now_ms;
    let (mut told, mut last, mut held_back) = (0, 0, 0);
    let mut hear = |effects: &[Effect]| {
        let news = heard(effects, 2);
        told += usize::from(!news.is_empty());
        last = news.last().map_or(last, |(_, clock, _)| *clock);
        held_back += effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Observed(Observation::PresenceHeldBack)))
            .count();
    };
    for clock in 1..=2_000 {
        hear(&bench.turn([say(1, &[(11, clock, HERE)])]));
        bench.now_ms = start_ms + u64::from(clock);
    }
    let due_ms = bench.replica.next_deadline_ms().unwrap();
    assert!(due_ms <= bench.now_ms + 50);
    bench.now_ms = due_ms;
    hear(&bench.turn([]));
    assert_eq!(last, 2_000);
    // A second's worth at once, and then two seconds of the rate.
    assert!((55..=62).contains(&told), "{told}");
    assert!(held_back >= 40, "{held_back}");
    // The others' edits and presence are not held up for longer than a gathering takes.
    bench.now_ms += 5_000;
    let effects = bench.turn([say(2, &[(12, 1, HERE)])]);
    assert_eq!(heard(&effects, 1), [(12, 1, true)]);
}

#[test]
fn a_flood_holds_up_what_others_change_for_one_gathering_only() {
    let mut bench = Bench::new(ReplicaOptions {
        presence_per_second_max: 20,
        ..options()
    });
    bench.join([1, 2, 3]);
    let mut said_ms = None;
    let mut delays_ms = Vec::new();
    for clock in 1..=3_000 {
        bench.now_ms += 1;
        let mut inputs = vec![say(1, &[(11, clock, HERE)])];
        if said_ms.is_none() && clock % 37 == 0 {
            said_ms = Some(bench.now_ms);
            inputs.push(say(2, &[(12, clock, HERE)]));
        }
        let effects = bench.turn(inputs);
        if heard(&effects, 3).iter().any(|(client, ..)| *client == 12) {
            delays_ms.push(bench.now_ms - said_ms.take().unwrap());
        }
    }
    assert!(delays_ms.len() > 40, "{delays_ms:?}");
    assert!(
        delays_ms.iter().all(|delay| *delay <= 1_000 / 20),
        "{delays_ms:?}"
    );
    assert!(delays_ms.iter().any(|delay| *delay > 0), "it was held back");
}

#[test]
fn an_echo_makes_nobody_a_carrier() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([say(1, &[(11, 1, HERE)]), say(2, &[(12, 1, HERE)])]);
    bench.turn([say(2, &[(11, 1, HERE)])]);
    let effects = bench.turn([detach(1, true)]);
    assert_eq!(heard(&effects, 2), [(11, 1, false)]);
}

#[test]
fn an_entry_stays_while_a_sibling_tab_carries_it() {
    let mut bench = Bench::new(options());
    bench.join([1, 2, 3]);
    bench.turn([say(1, &[(11, 1, HERE)]), say(2, &[(12, 1, HERE)])]);
    // The sibling's renewal travels through the other tab.
    bench.turn([say(2, &[(11, 2, HERE)])]);
    assert_eq!(heard(&bench.turn([detach(1, true)]), 3), []);
    let effects = bench.turn([detach(2, true)]);
    assert_eq!(heard(&effects, 3), [(11, 2, false), (12, 1, false)]);
}

#[test]
fn a_client_that_comes_back_takes_over_with_an_unchanged_clock() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([say(1, &[(11, 5, HERE)])]);
    // The new connection arrives before the old one is known to be dead.
    bench.turn([attach(3), step1(3, &peer(3)), say(3, &[(11, 5, HERE)])]);
    let effects = bench.turn([detach(1, false)]);
    assert_eq!(heard(&effects, 2), []);
    assert_eq!(heard(&bench.wait(20_000), 2), [], "no grace time runs");
    assert_eq!(heard(&bench.turn([detach(3, true)]), 2), [(11, 5, false)]);
}

#[test]
fn a_broken_socket_leaves_a_grace_time() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([say(1, &[(11, 1, HERE)])]);
    assert_eq!(heard(&bench.turn([detach(1, false)]), 2), []);
    assert_eq!(bench.replica.next_deadline_ms(), Some(5_000));
    assert_eq!(heard(&bench.wait(4_999), 2), []);
    assert_eq!(heard(&bench.wait(1), 2), [(11, 1, false)]);
}

#[test]
fn an_entry_that_is_not_renewed_expires() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([say(1, &[(11, 1, HERE)])]);
    bench.now_ms = 15_000;
    bench.turn([say(1, &[(11, 2, HERE)])]);
    assert_eq!(heard(&bench.wait(29_999), 2), []);
    assert_eq!(heard(&bench.wait(1), 2), [(11, 2, false)]);
}

#[test]
fn a_null_for_an_entry_that_another_session_carries_is_answered() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([say(1, &[(11, 3, HERE)]), say(2, &[(12, 1, HERE)])]);
    // A tab that lost its connection tells its siblings that all others left.
    let effects = bench.turn([say(2, &[(11, 3, None)])]);
    assert_eq!(heard(&effects, 2), [(11, 3, true)]);
    assert_eq!(heard(&effects, 1), []);
    let effects = bench.turn([say(1, &[(11, 4, None)])]);
    assert_eq!(heard(&effects, 2), [(11, 4, false)], "the owner's goodbye");
}

#[test]
fn a_client_that_was_removed_at_its_clock_is_told_to_raise_it() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([say(1, &[(11, 3, HERE)])]);
    bench.turn([detach(1, true)]);
    bench.turn([attach(3), step1(3, &peer(3))]);
    let effects = bench.turn([say(3, &[(11, 3, HERE)])]);
    assert_eq!(heard(&effects, 3), [(11, 3, false)]);
    let effects = bench.turn([say(3, &[(11, 4, HERE)])]);
    assert_eq!(heard(&effects, 2), [(11, 4, true)]);
}

#[test]
fn who_left_while_a_peer_was_behind_is_told_to_it() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([say(1, &[(11, 3, HERE)])]);
    bench.turn([overflow(2, Missed::Reply)]);
    assert_eq!(heard(&bench.turn([detach(1, true)]), 2), []);
    let mut told = Vec::new();
    for _ in 0..3 {
        told.extend(heard(&bench.turn([drained(2)]), 2));
    }
    assert_eq!(told, [(11, 3, false)]);
}

#[test]
fn who_came_between_attach_and_step_1_is_told() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    bench.turn([attach(2)]);
    bench.turn([say(1, &[(11, 1, HERE)])]);
    bench.turn([step1(2, &peer(2))]);
    assert_eq!(heard(&bench.turn([drained(2)]), 2), [(11, 1, true)]);
}

#[test]
fn too_large_too_many_and_broken_entries_end_the_session() {
    let table: [(Entries, CloseReason); 3] = [
        (
            &[(
                1,
                1,
                Some(concat!(
                    "\"",
                    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
                    "\""
                )),
            )],
            CloseReason::TooLarge,
        ),
        (
            &[(1, 1, HERE), (2, 1, HERE), (3, 1, HERE), (4, 1, HERE)],
            CloseReason::TooLarge,
        ),
        (&[(1, 1, Some("{\"a\":"))], CloseReason::Refused),
    ];
    for (list, reason) in table {
        let mut bench = Bench::new(options());
        bench.join([1]);
        assert_eq!(closed(&bench.turn([say(1, list)])), [(1, reason)]);
    }
}
