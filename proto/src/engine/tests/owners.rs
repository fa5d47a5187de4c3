//! Whose client ids are, and who may write under them.

use super::*;
use crate::engine::Observation;

fn bound() -> ReplicaOptions {
    ReplicaOptions {
        client_ids: ClientIds::Bound,
        ..options()
    }
}

fn probing(rights: Rights) -> Access {
    Access { rights, ..PROBING }
}

fn identity(name: &str) -> Identity {
    (name != "nobody").then(|| name.into())
}

fn claim(client: u64, name: &str) -> Claim {
    Claim {
        client,
        owner: identity(name),
    }
}

impl Bench {
    /// Attaches a session that has nothing, and answers step 1 with nothing.
    fn admit(&mut self, session: u64, name: &str, rights: Rights) {
        self.turn([attach_as(session, probing(rights), identity(name))]);
        self.turn([step1(session, &peer(900))]);
        self.turn([step2(session, &nothing())]);
        self.drain(session);
    }
}

fn claims(effects: &[Effect]) -> Vec<Claim> {
    let claims = effects.iter().filter_map(|effect| match effect {
        Effect::Append { claims, .. } => Some(claims.clone()),
        _ => None,
    });
    claims.flatten().collect()
}

fn not_yours(effects: &[Effect]) -> usize {
    let is_it = |effect: &&Effect| matches!(effect, Effect::Observed(Observation::NotYours { .. }));
    effects.iter().filter(is_it).count()
}

/// Nothing of it was applied, stored or relayed, the sender was told, and stays.
fn assert_refused(bench: &mut Bench, effects: &[Effect], session: u64, text: &str, what: &str) {
    assert!(denied(effects, session), "{what}: {effects:?}");
    assert_eq!(not_yours(effects), 1, "{what}");
    assert!(appends(effects).is_empty(), "{what}");
    assert!(closed(effects).is_empty(), "{what}");
    assert_eq!(bench.view(), text, "{what}");
}

#[test]
fn an_id_belongs_to_who_wrote_under_it_first() {
    // Who wrote under id 7 first, who goes on, with which rights, and whether that is taken.
    let table = [
        ("ada", "ada", Rights::Write, true),
        ("ada", "mallory", Rights::Write, false),
        ("ada", "nobody", Rights::Write, false),
        ("nobody", "nobody", Rights::Write, true),
        ("nobody", "mallory", Rights::Write, false),
        ("ada", "mallory", Rights::Admin, true),
        ("ada", "mallory", Rights::Relay, true),
        ("ada", "nobody", Rights::Relay, true),
    ];
    for (first, next, rights, is_taken) in table {
        let what = format!("{first}, then {next} with {rights:?}");
        let mut bench = Bench::new(bound());
        bench.admit(1, first, Rights::Write);
        bench.admit(2, next, rights);
        let mut author = peer(7);
        let begun = bench.turn([update(1, &author.type_text("a"))]);
        assert_eq!(claims(&begun), [claim(7, first)], "{what}");
        let more = author.type_text("b");
        let effects = bench.turn([update(2, &more)]);
        if is_taken {
            assert_eq!(appends(&effects).len(), 1, "{what}");
            assert_eq!(claims(&effects), [], "{what}");
            assert_eq!(bench.view(), "ab", "{what}");
        } else {
            assert_refused(&mut bench, &effects, 2, "a", &what);
            let sent = [to(&effects, 1), to(&bench.turn([]), 1)].concat();
            assert_eq!(sent, [], "{what}");
        }
        let owners = bench.replica.owners();
        assert_eq!(owners, [claim(7, first)], "{what}");
    }
}

#[test]
fn where_ids_are_free_nobody_is_asked() {
    let mut bench = Bench::new(options());
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "mallory", Rights::Write);
    let mut author = peer(7);
    let effects = bench.turn([update(1, &author.type_text("a"))]);
    assert_eq!(claims(&effects), []);
    bench.turn([update(2, &author.type_text("b"))]);
    assert_eq!(bench.view(), "ab");
    assert_eq!(bench.replica.owners(), []);
}

#[test]
fn who_speaks_for_others_takes_nothing_and_an_operator_does() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "bridge", Rights::Relay);
    bench.admit(2, "backend", Rights::Admin);
    bench.admit(3, "ada", Rights::Write);
    let mut hers = peer(7);
    let relayed = bench.turn([update(1, &hers.type_text("a"))]);
    assert_eq!(claims(&relayed), []);
    let own = bench.turn([update(2, &peer(8).type_text("b"))]);
    assert_eq!(claims(&own), [claim(8, "backend")]);
    let gone_on = bench.turn([update(3, &hers.type_text("c"))]);
    assert_eq!(claims(&gone_on), [claim(7, "ada")]);
}

#[test]
fn what_brings_nothing_new_and_what_only_deletes_is_taken_from_everybody() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "bob", Rights::Write);
    let mut hers = peer(7);
    let first = hers.type_text("abc");
    bench.turn([update(1, &first)]);
    let again = bench.turn([update(2, &first), step2(2, &hers.state())]);
    assert!(!denied(&again, 2));
    let mut his = peer(8);
    his.hear(&first);
    let deleted = bench.turn([update(2, &his.delete(0, 1))]);
    assert_eq!(appends(&deleted).len(), 1);
    assert_eq!(claims(&deleted), []);
    assert_eq!(bench.view(), "bc");
}

#[test]
fn an_update_with_anything_of_others_is_refused_as_a_whole() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "bob", Rights::Write);
    let mut hers = peer(7);
    let first = hers.type_text("a");
    bench.turn([update(1, &first)]);
    let mut his = peer(8);
    his.hear(&first);
    his.hear(&hers.type_text("b"));
    his.type_text("c");
    let mixed = his.state();
    let effects = bench.turn([update(2, &mixed)]);
    assert_refused(&mut bench, &effects, 2, "a", "mixed");
    assert_eq!(bench.replica.owners(), [claim(7, "ada")]);
    let again = bench.turn([update(2, &mixed)]);
    assert_eq!(not_yours(&again), 1);
    assert!(!denied(&again, 2), "it was told");
    let own = peer(9).type_text("d");
    assert_eq!(appends(&bench.turn([update(2, &own)])).len(), 1);
}

#[test]
fn what_lacks_something_is_no_way_around() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "mallory", Rights::Write);
    let mut hers = peer(7);
    bench.turn([update(1, &hers.type_text("a"))]);
    let (second, third) = (hers.type_text("b"), hers.type_text("c"));
    let ahead = bench.turn([update(2, &third)]);
    assert_refused(&mut bench, &ahead, 2, "a", "ahead of what is here");
    let both = bench.turn([update(2, &second), update(2, &third)]);
    assert!(appends(&both).is_empty());
    assert_eq!(bench.view(), "a");
    // An update of her own that fills nothing of it leaves it outside.
    bench.turn([update(1, &second)]);
    assert_eq!(bench.view(), "ab");
}

#[test]
fn of_two_in_one_turn_the_first_takes_the_id() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "mallory", Rights::Write);
    let mut author = peer(7);
    let (first, second) = (author.type_text("a"), author.type_text("b"));
    let effects = bench.turn([update(1, &first), update(2, &second)]);
    assert_refused(&mut bench, &effects_of(&effects), 2, "a", "one turn");
    assert_eq!(claims(&effects), [claim(7, "ada")]);
}

/// The same without the appends of the first session.
fn effects_of(effects: &[Effect]) -> Vec<Effect> {
    let is_hers =
        |effect: &Effect| matches!(effect, Effect::Append { session, .. } if session.0 == 1);
    let others = effects.iter().filter(|effect| !is_hers(effect));
    others.cloned().collect()
}

#[test]
fn owners_come_with_the_document_and_the_store_has_the_last_word() {
    let mut hers = peer(7);
    let stored = StoredDocument {
        snapshot: Some(hers.type_text("a")),
        owners: vec![claim(7, "ada")],
        ..StoredDocument::default()
    };
    let mut bench = Bench::new(bound());
    bench.replica = Replica::load(bound(), &stored).unwrap();
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "mallory", Rights::Write);
    let more = hers.type_text("b");
    let effects = bench.turn([update(2, &more)]);
    assert_refused(&mut bench, &effects, 2, "a", "after a load");
    bench.turn([update(1, &more)]);
    assert_eq!(bench.view(), "ab");
    // On another node Ada was first to use an id that Mallory used here in the same moment.
    let mut raced = peer(8);
    bench.turn([update(2, &raced.type_text("x"))]);
    let owners = vec![claim(8, "ada")];
    bench.turn([Input::Owners { owners }]);
    let effects = bench.turn([update(2, &raced.type_text("y"))]);
    assert!(denied(&effects, 2) || not_yours(&effects) == 1);
    assert!(appends(&effects).is_empty());
}

#[test]
fn ids_without_an_owner_on_record_are_taken_by_who_adds_first() {
    let mut old = peer(7);
    let stored = StoredDocument {
        snapshot: Some(old.type_text("a")),
        ..StoredDocument::default()
    };
    let mut bench = Bench::new(bound());
    bench.replica = Replica::load(bound(), &stored).unwrap();
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "bob", Rights::Write);
    bench.turn([Input::Foreign {
        update: old.type_text("b"),
    }]);
    let effects = bench.turn([update(1, &old.type_text("c"))]);
    assert_eq!(claims(&effects), [claim(7, "ada")]);
    let effects = bench.turn([update(2, &old.type_text("d"))]);
    assert_refused(&mut bench, &effects, 2, "abc", "it is hers now");
}

#[test]
fn a_change_of_rights_counts_from_then_on_and_brings_back_what_was_refused() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "bob", Rights::Write);
    let mut hers = peer(7);
    bench.turn([update(1, &hers.type_text("a"))]);
    let second = hers.type_text("b");
    assert!(denied(&bench.turn([update(2, &second)]), 2));
    let session = SessionId(2);
    let set = |rights| Input::SetRights { session, rights };
    bench.commit(1);
    let risen = bench.turn([set(Rights::Relay)]);
    assert!(asks(&risen, 2), "for what was refused");
    assert_eq!(appends(&bench.turn([step2(2, &hers.state())])).len(), 1);
    assert_eq!(bench.view(), "ab");
    bench.turn([set(Rights::Write)]);
    let effects = bench.turn([update(2, &hers.type_text("c"))]);
    assert_refused(&mut bench, &effects, 2, "ab", "lowered");
    bench.turn([set(Rights::Read)]);
    let effects = bench.turn([update(2, &peer(8).type_text("x"))]);
    assert!(appends(&effects).is_empty());
}

#[test]
fn who_rests_on_what_others_made_is_asked_again_once_they_brought_it() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "bob", Rights::Write);
    let mut hers = peer(7);
    let first = hers.type_text("a");
    let begun = Replica::load(
        bound(),
        &StoredDocument {
            owners: vec![claim(7, "ada")],
            ..StoredDocument::default()
        },
    );
    bench.replica = begun.unwrap();
    bench.admit(1, "bob", Rights::Write);
    let mut his = peer(8);
    his.hear(&first);
    his.type_text("b");
    let effects = bench.turn([update(1, &his.state()), probe(1, 5)]);
    assert_refused(&mut bench, &effects, 1, "", "her edit, which a crash took");
    bench.admit(2, "ada", Rights::Write);
    let mut brought = bench.turn([update(2, &first)]);
    brought.extend(bench.commit(bench.replica.versions().0));
    assert!(asks(&brought, 1), "{brought:?}");
    let answered = bench.turn([step2(1, &his.state())]);
    assert!(!denied(&answered, 1));
    assert_eq!(bench.view(), "ab");
    let version = bench.replica.versions().0;
    assert_eq!(saved(&bench.commit(version), 1), Some(5));
}

#[test]
fn what_a_former_replica_knew_of_owners_is_stored_with_what_it_held() {
    let mut bench = Bench::new(bound());
    let held = peer(7).type_text("a");
    let effects = bench.turn([Input::Held {
        update: held,
        owners: vec![claim(7, "ada"), claim(9, "nobody")],
    }]);
    assert_eq!(claims(&effects), [claim(7, "ada"), claim(9, "nobody")]);
    bench.admit(2, "mallory", Rights::Write);
    let effects = bench.turn([update(2, &peer(9).type_text("x"))]);
    assert_refused(&mut bench, &effects, 2, "a", "after the log was taken back");
}

#[test]
fn a_session_that_is_taken_over_is_who_it_was() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    bench.turn([update(1, &peer(7).type_text("a"))]);
    let mut effects = Vec::new();
    let access = probing(Rights::Write);
    let mallory = identity("mallory");
    bench.replica.adopt(
        SessionId(2),
        access,
        mallory,
        &Arrears::default(),
        &mut effects,
    );
    let mut forged = peer(7);
    forged.type_text("a");
    let effects = bench.turn([update(2, &forged.type_text("b"))]);
    assert_eq!(not_yours(&effects), 1);
    assert_eq!(bench.view(), "a");
}

#[test]
fn peers_see_what_is_stored_so_that_none_holds_what_only_its_author_may_bring() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    bench.admit(2, "bob", Rights::Write);
    let effects = bench.turn([update(1, &peer(7).type_text("a"))]);
    assert!(updates_to(&effects, 2).is_empty());
    assert_eq!(updates_to(&bench.commit(1), 2).len(), 1);
}

#[test]
fn receipts_say_that_it_was_not_taken() {
    let mut bench = Bench::new(bound());
    bench.admit(1, "ada", Rights::Write);
    let mut hers = peer(7);
    let first = hers.type_text("a");
    bench.turn([update(1, &first)]);
    let counting = Access {
        rights: Rights::Write,
        acks: Acks::Receipts,
    };
    let joins = [
        attach_as(2, counting, identity("mallory")),
        step1(2, &peer(9)),
    ];
    bench.turn(joins);
    let effects = bench.turn([update(2, &hers.type_text("b"))]);
    let refused = effects.iter().any(|effect| {
        matches!(
            effect,
            Effect::Receipts {
                accepted: Some(false),
                count: 1,
                ..
            }
        )
    });
    assert!(refused, "{effects:?}");
    let version = bench.replica.versions().0;
    let effects = bench.commit(version);
    let effects = [effects, bench.turn([update(2, &peer(8).type_text("x"))])].concat();
    assert_eq!(appends(&effects).len(), 1, "its own is taken");
}
