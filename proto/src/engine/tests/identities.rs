//! Presence that shows identities: who may speak for an entry, on one node and among several.

use super::presence::entries;
use super::*;
use crate::admission;
use crate::engine::{NodeId, NodePresence, Observation};

const ADA: Option<&str> = Some("ada");
const BEN: Option<&str> = Some("ben");
const MALLORY: Option<&str> = Some("mallory");
const GRACE_MS: u64 = 5_000;
const REMEMBERED_MS: u64 = 60_000;

fn showing() -> ReplicaOptions {
    ReplicaOptions {
        presence_identity_field: Some("verified".into()),
        ..options()
    }
}

impl Bench {
    /// Attaches sessions of these identities, numbered from 1.
    fn with(identities: &[Option<&str>]) -> Self {
        let mut bench = Self::new(showing());
        for (session, identity) in (1..).zip(identities) {
            bench.enter(session, *identity);
        }
        bench
    }

    fn enter(&mut self, session: u64, identity: Option<&str>) {
        self.turn([
            attach_as(session, PROBING, identity.map(Into::into)),
            step1(session, &peer(900)),
        ]);
        self.turn([step2(session, &nothing())]);
        self.drain(session);
    }

    /// What others hear when a session says something.
    fn say(
        &mut self,
        session: u64,
        list: &[(u64, u32, Option<&'static str>)],
        watcher: u64,
    ) -> Vec<(u64, u32, String)> {
        self.now_ms += 10;
        let effects = self.turn([receive(session, entries(list))]);
        states(&effects, watcher)
    }

    /// What a session that comes now is told of everybody.
    fn everybody(&mut self) -> Vec<(u64, u32, String)> {
        let effects = self.turn([attach_as(999, PROBING, None)]);
        self.turn([detach(999, true)]);
        states(&effects, 999)
    }
}

/// What presence reaches a session: client, clock and state.
fn states(effects: &[Effect], session: u64) -> Vec<(u64, u32, String)> {
    let mut found = Vec::new();
    for message in to(effects, session) {
        if let Outbound::Presence { entries } = message {
            for entry in admission::entries(&entries).unwrap() {
                let entry = entry.unwrap();
                found.push((
                    entry.client,
                    entry.clock,
                    entry.state.unwrap_or("gone").into(),
                ));
            }
        }
    }
    found
}

fn told(client: u64, clock: u32, state: &str) -> Vec<(u64, u32, String)> {
    vec![(client, clock, state.to_owned())]
}

const OF_ADA: &str = r#"{"verified":{"sub":"ada"},"n":1}"#;
const OF_MALLORY: &str = r#"{"verified":{"sub":"mallory"},"n":1}"#;
const OF_NOBODY: &str = r#"{"n":1}"#;
const SAID: Option<&str> = Some(r#"{"n":1}"#);
const FORGED: Option<&str> = Some(r#"{"n":1,"\u0076erified":{"sub":"ada"}}"#);
const NOTHING: Vec<(u64, u32, String)> = Vec::new();

#[test]
fn an_entry_shows_the_identity_of_its_session_and_no_other() {
    let mut bench = Bench::with(&[ADA, MALLORY, None]);
    assert_eq!(bench.say(1, &[(11, 1, SAID)], 3), told(11, 1, OF_ADA));
    assert_eq!(bench.say(2, &[(12, 1, FORGED)], 3), told(12, 1, OF_MALLORY));
    assert_eq!(bench.say(3, &[(13, 1, FORGED)], 1), told(13, 1, OF_NOBODY));
    assert_eq!(bench.say(1, &[(11, 2, Some("[1]"))], 3), told(11, 2, "[1]"));
    assert_eq!(bench.say(1, &[(11, 3, FORGED)], 3), told(11, 3, OF_ADA));
    let everybody = [
        told(11, 3, OF_ADA),
        told(12, 1, OF_MALLORY),
        told(13, 1, OF_NOBODY),
    ];
    assert_eq!(bench.everybody(), everybody.concat());
}

#[test]
fn without_the_setting_nothing_is_written_and_nobody_owns() {
    let mut bench = Bench::new(options());
    bench.enter(1, ADA);
    bench.enter(2, MALLORY);
    assert_eq!(
        bench.say(1, &[(11, 1, FORGED)], 2),
        told(11, 1, FORGED.unwrap())
    );
    assert_eq!(bench.say(2, &[(11, 2, SAID)], 1), told(11, 2, OF_NOBODY));
    assert_eq!(bench.say(2, &[(11, 3, None)], 1), told(11, 3, "gone"));
}

#[test]
fn nobody_changes_or_removes_what_is_anothers() {
    for mallory in [MALLORY, None] {
        let mut bench = Bench::with(&[ADA, mallory, BEN]);
        bench.say(1, &[(11, 5, SAID)], 2);
        let own = bench.say(2, &[(12, 1, SAID)], 3);
        assert_eq!(own.len(), 1);
        assert_eq!(bench.say(2, &[(11, 9, SAID)], 3), NOTHING);
        assert_eq!(bench.say(2, &[(11, 10, None)], 3), NOTHING);
        assert_eq!(bench.say(2, &[(11, 5, None)], 3), NOTHING);
        // Who says that it is gone is told that it is not.
        assert_eq!(bench.say(2, &[(11, 11, None)], 2), told(11, 5, OF_ADA));
        // Its end is not the end of Ada's.
        bench.turn([detach(2, true)]);
        assert_eq!(bench.say(1, &[(11, 6, SAID)], 3), told(11, 6, OF_ADA));
        assert_eq!(bench.say(1, &[(11, 7, None)], 3), told(11, 7, "gone"));
    }
}

#[test]
fn what_is_refused_is_counted_and_echoes_are_not() {
    let mut bench = Bench::with(&[ADA, BEN]);
    bench.say(1, &[(11, 5, SAID)], 2);
    bench.say(2, &[(12, 1, SAID)], 1);
    let table = [
        (5, SAID, false),
        (4, SAID, false),
        (6, SAID, true),
        (6, None, true),
        (5, None, false),
    ];
    for (clock, state, is_refused) in table {
        let effects = bench.turn([receive(2, entries(&[(11, clock, state)]))]);
        let refused = Observation::Refused("presence_of_others");
        let found = effects
            .iter()
            .any(|it| matches!(it, Effect::Observed(seen) if *seen == refused));
        assert_eq!(found, is_refused, "{clock} {state:?}");
        assert_eq!(closed(&effects), []);
    }
}

#[test]
fn a_first_message_takes_nothing_over_from_another_identity() {
    let mut bench = Bench::with(&[ADA, BEN]);
    bench.say(1, &[(11, 5, SAID)], 2);
    bench.enter(3, MALLORY);
    assert_eq!(bench.say(3, &[(11, 5, SAID)], 2), NOTHING);
    // It carries nothing: when Ada goes, her entry goes.
    let effects = bench.turn([detach(1, true)]);
    assert_eq!(states(&effects, 2), told(11, 5, "gone"));
}

#[test]
fn only_its_identity_takes_an_entry_over_from_a_broken_socket() {
    let mut bench = Bench::with(&[ADA, BEN]);
    bench.say(1, &[(11, 5, SAID)], 2);
    bench.turn([detach(1, false)]);
    bench.enter(3, MALLORY);
    assert_eq!(bench.say(3, &[(11, 5, SAID)], 2), NOTHING);
    assert_eq!(bench.say(3, &[(11, 6, SAID)], 2), NOTHING);
    bench.enter(4, ADA);
    assert_eq!(bench.say(4, &[(11, 5, SAID)], 2), NOTHING);
    assert_eq!(states(&bench.wait(3 * GRACE_MS), 2), NOTHING);
    assert_eq!(bench.say(4, &[(11, 6, SAID)], 2), told(11, 6, OF_ADA));
}

#[test]
fn a_removed_entry_stays_its_owners_until_it_is_forgotten() {
    let mut bench = Bench::with(&[ADA, BEN]);
    bench.say(1, &[(11, 5, SAID)], 2);
    bench.turn([detach(1, true)]);
    bench.enter(3, MALLORY);
    assert_eq!(bench.say(3, &[(11, 5, SAID)], 3), NOTHING);
    assert_eq!(bench.say(3, &[(11, 6, SAID)], 2), NOTHING);
    // Ada comes back as clients do: she is made to raise her clock, and does.
    bench.enter(4, ADA);
    assert_eq!(bench.say(4, &[(11, 5, SAID)], 4), told(11, 5, "gone"));
    assert_eq!(bench.say(4, &[(11, 6, SAID)], 2), told(11, 6, OF_ADA));
    bench.turn([detach(4, true)]);
    bench.wait(REMEMBERED_MS);
    assert_eq!(bench.say(3, &[(11, 7, SAID)], 2), told(11, 7, OF_MALLORY));
}

#[test]
fn sessions_of_one_identity_speak_for_each_other() {
    let mut bench = Bench::with(&[ADA, ADA, BEN]);
    bench.say(1, &[(11, 1, SAID)], 3);
    bench.say(2, &[(12, 1, SAID)], 3);
    assert_eq!(bench.say(2, &[(11, 2, SAID)], 3), told(11, 2, OF_ADA));
    assert_eq!(
        states(&bench.turn([detach(1, true)]), 3),
        NOTHING,
        "the sibling carries it"
    );
    assert_eq!(bench.say(2, &[(11, 3, None)], 3), told(11, 3, "gone"));
}

#[test]
fn what_is_repeated_for_others_shows_nobody_until_its_own_session_speaks() {
    let mut bench = Bench::with(&[BEN, None]);
    bench.say(1, &[(12, 1, SAID)], 2);
    // Two tabs of one browser hear each other before the server hears the second one.
    assert_eq!(bench.say(1, &[(11, 3, FORGED)], 2), told(11, 3, OF_NOBODY));
    assert_eq!(bench.say(1, &[(11, 4, SAID)], 2), told(11, 4, OF_NOBODY));
    bench.enter(3, ADA);
    assert_eq!(bench.say(3, &[(11, 4, SAID)], 2), NOTHING);
    assert_eq!(bench.say(3, &[(11, 5, SAID)], 2), told(11, 5, OF_ADA));
    assert_eq!(bench.say(1, &[(11, 6, SAID)], 2), NOTHING);
    // The tab that repeated it does not keep it.
    assert_eq!(
        states(&bench.turn([detach(3, true)]), 2),
        told(11, 5, "gone")
    );
}

#[test]
fn who_was_away_for_long_is_itself_again() {
    let mut bench = Bench::with(&[ADA, BEN]);
    bench.say(1, &[(11, 5, SAID)], 2);
    bench.say(1, &[(11, 6, None)], 2);
    bench.wait(2 * REMEMBERED_MS);
    assert_eq!(bench.say(1, &[(11, 7, SAID)], 2), told(11, 7, OF_ADA));
}

#[test]
fn who_signs_in_is_shown_from_its_next_change_on() {
    let mut bench = Bench::with(&[None, BEN]);
    assert_eq!(bench.say(1, &[(11, 5, SAID)], 2), told(11, 5, OF_NOBODY));
    bench.enter(3, ADA);
    assert_eq!(bench.say(3, &[(11, 5, SAID)], 2), NOTHING);
    bench.turn([detach(1, false)]);
    assert_eq!(bench.say(3, &[(11, 6, SAID)], 2), told(11, 6, OF_ADA));
}

#[test]
fn an_adopted_session_shows_who_it_is() {
    let mut bench = Bench::new(showing());
    let mut effects = Vec::new();
    let ada = Some("ada".into());
    bench.replica.adopt(
        SessionId(1),
        PROBING,
        ada,
        &Arrears::default(),
        &mut effects,
    );
    bench.enter(2, BEN);
    assert_eq!(bench.say(1, &[(11, 5, SAID)], 2), told(11, 5, OF_ADA));
}

#[test]
fn the_bound_is_on_what_came() {
    const FULL: &str = concat!(
        "{\"n\":\"0123456789012345678901234567890123456789012345",
        "6789012345678901234567890123456789012345678901\"}"
    );
    assert_eq!(FULL.len(), options().presence_entry_bytes_max);
    let signed = FULL.replacen('{', "{\"verified\":{\"sub\":\"ada\"},", 1);
    let mut nodes = Two::with([showing(), showing()]);
    nodes.0[0].enter(2, ADA);
    let both = [told(11, 2, &signed), told(11, 2, &signed)];
    assert_eq!(nodes.say(0, 2, 2, Some(FULL)), both);
}

/// What a node tells, as its peers hear it.
fn message(number: u64, effects: &[Effect]) -> Option<Input> {
    let told = effects.iter().find_map(|effect| match effect {
        Effect::TellNodes { told } => Some(told.clone()),
        _ => None,
    })?;
    let node = NodeId(number);
    // Every message is newer than those before it, whoever sent it.
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Some(Input::NodePresence { node, number, told })
}

/// Two nodes that hear each other; session 1 of each is a watcher without identity.
struct Two([Bench; 2]);

impl Two {
    fn with(options: [ReplicaOptions; 2]) -> Self {
        let mut two = Self(options.map(Bench::new));
        for node in 0..2 {
            two.0[node].enter(1, None);
        }
        for node in 0..2 {
            two.turn(node, [Input::MeetNodes]);
        }
        two
    }

    /// A turn on one node, and what follows; what the watchers heard.
    fn turn(
        &mut self,
        node: usize,
        inputs: impl IntoIterator<Item = Input>,
    ) -> [Vec<(u64, u32, String)>; 2] {
        let mut heard = [Vec::new(), Vec::new()];
        let mut next = Some((node, inputs.into_iter().collect::<Vec<_>>()));
        while let Some((node, inputs)) = next {
            let bench = &mut self.0[node];
            bench.now_ms += 10;
            let effects = bench.turn(inputs);
            heard[node].extend(states(&effects, 1));
            next = message(node as u64, &effects).map(|message| (1 - node, vec![message]));
        }
        heard
    }

    fn say(
        &mut self,
        node: usize,
        session: u64,
        clock: u32,
        state: Option<&'static str>,
    ) -> [Vec<(u64, u32, String)>; 2] {
        self.turn(node, [receive(session, entries(&[(11, clock, state)]))])
    }

    fn wait(&mut self, milliseconds: u64) -> [Vec<(u64, u32, String)>; 2] {
        [0, 1].map(|node| states(&self.0[node].wait(milliseconds), 1))
    }
}

#[test]
fn an_identity_is_shown_and_kept_on_all_nodes() {
    let mut nodes = Two::with([showing(), showing()]);
    nodes.0[0].enter(2, ADA);
    nodes.0[1].enter(2, MALLORY);
    let both = |clock, state| [told(11, clock, state), told(11, clock, state)];
    let nothing = || [NOTHING, NOTHING];
    assert_eq!(nodes.say(0, 2, 5, FORGED), both(5, OF_ADA));
    assert_eq!(nodes.say(1, 2, 9, SAID), nothing());
    assert_eq!(nodes.say(1, 2, 10, None), nothing());
    // Ada moves: her entry goes with her, and the break of the old socket is not its end.
    nodes.0[1].enter(3, ADA);
    assert_eq!(nodes.say(1, 3, 5, SAID), nothing());
    nodes.turn(0, [detach(2, false)]);
    assert_eq!(nodes.wait(2 * GRACE_MS), nothing());
    assert_eq!(nodes.say(1, 3, 6, SAID), both(6, OF_ADA));
    assert_eq!(nodes.say(1, 3, 7, None), both(7, "gone"));
    // Nor is it anybody's while it is remembered.
    assert_eq!(nodes.say(1, 2, 8, SAID), nothing());
    nodes.0[0].enter(3, ADA);
    assert_eq!(nodes.say(0, 3, 8, SAID), both(8, OF_ADA));
}

#[test]
fn only_its_identity_takes_an_entry_over_at_another_node() {
    let mut nodes = Two::with([showing(), showing()]);
    nodes.0[0].enter(2, ADA);
    nodes.say(0, 2, 5, SAID);
    nodes.turn(0, [detach(2, false)]);
    nodes.0[1].enter(2, MALLORY);
    assert_eq!(nodes.say(1, 2, 5, SAID), [NOTHING, NOTHING]);
    assert_eq!(nodes.say(1, 2, 6, SAID), [NOTHING, NOTHING]);
    let gone = told(11, 5, "gone");
    assert_eq!(nodes.wait(GRACE_MS), [gone.clone(), gone]);
}

#[test]
fn a_node_that_knows_no_identities_forges_none_and_removes_nothing() {
    let mut nodes = Two::with([showing(), options()]);
    nodes.0[1].enter(2, MALLORY);
    // What comes from there shows nobody here.
    let [here, there] = nodes.say(1, 2, 5, FORGED);
    assert_eq!(here, told(11, 5, OF_NOBODY));
    assert_eq!(there, told(11, 5, FORGED.unwrap()));
    nodes.turn(1, [detach(2, true)]);
    nodes.wait(GRACE_MS);
    nodes.wait(REMEMBERED_MS);
    // What is an identity's here stays so, whatever is let pass there.
    nodes.0[0].enter(2, ADA);
    assert_eq!(nodes.say(0, 2, 6, SAID)[1], told(11, 6, OF_ADA));
    nodes.0[1].enter(3, MALLORY);
    assert_eq!(nodes.say(1, 3, 7, SAID), [NOTHING, told(11, 7, OF_NOBODY)]);
    assert_eq!(nodes.say(1, 3, 8, None)[0], NOTHING);
    assert_eq!(nodes.say(1, 3, 8, None)[0], NOTHING);
    assert_eq!(nodes.say(0, 2, 9, SAID)[0], told(11, 9, OF_ADA));
    let everybody = nodes.0[0].everybody();
    assert_eq!(everybody, told(11, 9, OF_ADA));
}

#[test]
fn who_has_an_entry_at_one_node_keeps_it_when_another_tells_otherwise() {
    let mut bench = Bench::with(&[ADA, BEN]);
    bench.say(1, &[(11, 5, SAID)], 2);
    let hear = |number, clock, state: Option<&str>, owner: Option<&str>| Input::NodePresence {
        node: NodeId(7),
        number,
        told: NodePresence {
            entries: admission::encode_entries(
                [admission::PresenceEntry {
                    client: 11,
                    clock,
                    state,
                }]
                .into_iter(),
            ),
            owners: owner.into_iter().map(|owner| (11, owner.into())).collect(),
            ..NodePresence::default()
        },
    };
    for (number, owner) in [(1, None), (3, MALLORY)] {
        for (number, state) in [(number, SAID), (number + 1, None)] {
            let effects = bench.turn([hear(number, 9, state, owner)]);
            assert_eq!(states(&effects, 2), NOTHING);
        }
    }
    // They were lost to a removal there: her client is made to raise its clock.
    let effects = bench.turn([hear(5, 5, None, MALLORY)]);
    assert_eq!(states(&effects, 1), told(11, 5, "gone"));
    assert_eq!(states(&effects, 2), NOTHING);
    let effects = bench.turn([hear(6, 6, SAID, ADA)]);
    assert_eq!(states(&effects, 2), told(11, 6, OF_ADA));
    let effects = bench.turn([hear(7, 7, None, ADA)]);
    assert_eq!(states(&effects, 2), told(11, 7, "gone"));
    let effects = bench.turn([hear(8, 8, SAID, MALLORY), hear(9, 9, None, MALLORY)]);
    assert_eq!(states(&effects, 2), NOTHING);
    assert_eq!(bench.say(1, &[(11, 8, SAID)], 2), told(11, 8, OF_ADA));
}

#[test]
fn an_owner_told_late_is_taken() {
    let mut nodes = Two::with([showing(), showing()]);
    nodes.0[0].enter(2, BEN);
    nodes.turn(0, [receive(2, entries(&[(12, 1, SAID)]))]);
    // Repeated for Ada at one node, her own at the other.
    assert_eq!(
        nodes.say(0, 2, 3, SAID),
        [told(11, 3, OF_NOBODY), told(11, 3, OF_NOBODY)]
    );
    nodes.0[1].enter(2, ADA);
    nodes.say(1, 2, 3, SAID);
    assert_eq!(
        nodes.say(1, 2, 4, SAID),
        [told(11, 4, OF_ADA), told(11, 4, OF_ADA)]
    );
    assert_eq!(nodes.say(0, 2, 5, SAID), [NOTHING, NOTHING]);
    nodes.turn(0, [detach(2, true)]);
    nodes.turn(1, [detach(2, true)]);
    let left = nodes.wait(GRACE_MS);
    assert!(
        left.iter()
            .all(|left| left.contains(&(11, 4, "gone".into()))),
        "{left:?}"
    );
}
