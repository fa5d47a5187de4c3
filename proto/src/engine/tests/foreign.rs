//! What other nodes commit: applied and relayed, never stored or acknowledged here.

use super::*;

fn foreign(update: &Bytes) -> Input {
    let update = update.clone();
    Input::Foreign { update }
}

#[test]
fn a_foreign_append_reaches_all_peers_and_is_not_stored_again() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let typed = peer(7).type_text("a");
    let effects = bench.turn([foreign(&typed), probe(1, 5)]);
    assert!(appends(&effects).is_empty());
    for session in [1, 2] {
        assert_eq!(updates_to(&effects, session), std::slice::from_ref(&typed));
    }
    assert_eq!(
        saved(&effects, 1),
        Some(5),
        "it waits for no commit of this node"
    );
    let effects = bench.turn([foreign(&typed), update(1, &typed)]);
    assert!(appends(&effects).is_empty() && updates_to(&effects, 2).is_empty());
}

#[test]
fn own_and_foreign_changes_of_a_turn_leave_together_and_only_own_ones_are_stored() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let mut writer = peer(1);
    let (first, second) = (writer.type_text("a"), writer.type_text("b"));
    let elsewhere = peer(7).type_text("x");
    let effects = bench.turn([update(1, &first), foreign(&elsewhere), update(1, &second)]);
    let stored: Vec<_> = appends(&effects).into_iter().map(|it| it.2).collect();
    assert_eq!(stored, [first, second]);
    assert_eq!(bench.replica.versions().0, 2);
    assert_eq!(
        updates_to(&effects, 1).len(),
        1,
        "the author hears of the foreign change"
    );
    assert_eq!(bench.view().len(), 3);
}

#[test]
fn under_durable_relay_a_foreign_change_overtakes_nothing_that_waits() {
    let mut bench = Bench::new(durable());
    bench.join([1, 2]);
    let elsewhere = peer(7).type_text("x");
    assert_eq!(updates_to(&bench.turn([foreign(&elsewhere)]), 2).len(), 1);
    let mut writer = peer(1);
    let effects = bench.turn([update(1, &writer.type_text("a"))]);
    assert!(updates_to(&effects, 2).is_empty());
    let effects = bench.turn([foreign(&peer(8).type_text("y"))]);
    assert!(updates_to(&effects, 2).is_empty());
    assert_eq!(updates_to(&bench.commit(1), 2).len(), 2);
}

#[test]
fn a_foreign_append_that_does_not_fit_ends_the_replica() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    let mut elsewhere = peer(7);
    elsewhere.type_text("lost");
    let effects = bench.turn([foreign(&elsewhere.type_text("later"))]);
    assert!(matches!(effects[..], [Effect::Diverged]));
}
