//! Conformance: owners of client ids.

use crate::store::conformance::*;
use crate::store::{Claim, LogLimits, LogStart};

fn claim(client: u64, owner: Option<&str>) -> Claim {
    Claim {
        client,
        owner: owner.map(Into::into),
    }
}

/// Claims of clients for one owner; who has no name is nobody.
fn claims(clients: &[u64], owner: &str) -> Vec<Claim> {
    let owner = Some(owner).filter(|owner| !owner.is_empty());
    clients.iter().map(|client| claim(*client, owner)).collect()
}

fn claiming(document: &str, epoch: u64, number: u64, claims: Vec<Claim>) -> Append {
    Append {
        claims,
        ..append(document, epoch, number)
    }
}

async fn owners(store: &dyn Store, document: &str, after: u64) -> Vec<Claim> {
    let mut owners = store.client_owners(&name(document), after).await.unwrap();
    owners.sort_by_key(|claim| claim.client);
    owners
}

pub(crate) async fn owners_are_stored_with_their_appends(backend: &impl Backend) {
    let store = backend.store();
    let store = &*store;
    assert_eq!(owners(store, "nowhere", 0).await, []);
    fill(store, "a", 1..=1).await;
    let last = (1 << 53) - 1;
    let batch = [
        claiming("a", 1, 2, claims(&[7, last], "ada")),
        claiming("b", 1, 3, claims(&[7], "bob")),
        append("a", 1, 4),
        claiming("a", 1, 5, claims(&[9], "")),
        claiming("new", 1, 6, claims(&[0], "it's \"\\ \0 ünïcode")),
    ];
    let outcomes = store.commit(&batch).await.unwrap();
    let expected = [2, 1, 3, 4, 1].map(committed);
    assert_eq!(outcomes, expected);
    let (ada, nobody) = (Some("ada"), None);
    let all = [claim(7, ada), claim(9, nobody), claim(last, ada)];
    assert_eq!(owners(store, "a", 0).await, all);
    assert_eq!(owners(store, "a", 1).await, all);
    assert_eq!(owners(store, "a", 2).await, [claim(9, nobody)]);
    assert_eq!(owners(store, "a", 4).await, []);
    assert_eq!(owners(store, "b", 0).await, claims(&[7], "bob"));
    let odd = claims(&[0], "it's \"\\ \0 ünïcode");
    assert_eq!(owners(store, "new", 0).await, odd);
}

pub(crate) async fn the_first_owner_that_is_stored_counts(backend: &impl Backend) {
    let store = backend.store();
    let store = &*store;
    let first = [claiming("a", 1, 1, claims(&[7], "ada"))];
    store.commit(&first).await.unwrap();
    let later = [
        claiming("a", 1, 2, claims(&[7, 8], "bob")),
        claiming("a", 1, 3, claims(&[8], "")),
    ];
    let outcomes = store.commit(&later).await.unwrap();
    assert_eq!(outcomes, [committed(2), committed(3)], "both changes count");
    let expected = [claims(&[7], "ada"), claims(&[8], "bob")].concat();
    assert_eq!(owners(store, "a", 0).await, expected);
    // As after an answer that was lost, with others' claims in between.
    let again = [first[0].clone(), later[0].clone(), append("a", 1, 4)];
    let outcomes = store.commit(&again).await.unwrap();
    assert_eq!(outcomes, [1, 2, 4].map(committed));
    assert_eq!(owners(store, "a", 0).await, expected);
    assert_eq!(owners(store, "a", 1).await, claims(&[8], "bob"));
}

pub(crate) async fn claims_of_what_is_not_stored_are_not_either(backend: &impl Backend) {
    let store = backend.store();
    let store = &*store;
    fill(store, "a", 1..=1).await;
    fill(store, "frozen", 1..=1).await;
    store
        .set_quarantine(&name("frozen"), Some("why"))
        .await
        .unwrap();
    let batch = [
        claiming("a", 2, 5, claims(&[7], "ada")),
        claiming("frozen", 1, 6, claims(&[7], "ada")),
        claiming("b", 1, 7, claims(&[7], "ada")),
    ];
    let outcomes = store.commit(&batch).await.unwrap();
    let current = 1;
    let expected = [
        CommitOutcome::EpochChanged { current },
        CommitOutcome::Quarantined,
        committed(1),
    ];
    assert_eq!(outcomes, expected);
    for document in ["a", "frozen"] {
        assert_eq!(owners(store, document, 0).await, [], "{document}");
    }
    assert_eq!(owners(store, "b", 0).await, claims(&[7], "ada"));
}

pub(crate) async fn owners_outlive_history_and_go_with_their_document(backend: &impl Backend) {
    let store = backend.store();
    let store = &*store;
    let document = name("a");
    let ada = claims(&[7], "ada");
    let first = [claiming("a", 1, 1, ada.clone()), append("a", 1, 2)];
    store.commit(&first).await.unwrap();
    assert!(store.save_base(&document, 1, &snapshot(2)).await.unwrap());
    while store.trim(&document, 100).await.unwrap() {}
    assert_eq!(owners(store, "a", 0).await, ada);
    store.delete(&document, &[1, 7, 3]).await.unwrap();
    assert_eq!(owners(store, "a", 0).await, []);
    let bob = claims(&[7], "bob");
    let again = [claiming("a", 2, 3, bob.clone())];
    assert_eq!(store.commit(&again).await.unwrap(), [committed(3)]);
    assert_eq!(owners(store, "a", 0).await, bob);
    let start = LogStart::After(0);
    let range = store.read_log(&document, start, LogLimits::NONE).await;
    assert_eq!(range.unwrap().appends.len(), 1);
}
