//! What a document's actor holds and the store does not: kept until it is stored, whatever happens meanwhile.

use std::time::Duration;

use driftless::store::committer::CommitterOptions;
use driftless::store::faulty::{Fault, FaultyStore};
use driftless::store::{Store, StoreError};
use driftless_proto::engine::CloseReason;
use driftless_proto::name::DocumentName;

use crate::house::{House, in_system, name, options};
use crate::peer::Peer;

/// Longer than the idle time of these documents and several looks of their supervisor.
const A_WHILE: Duration = Duration::from_millis(1_700);

/// A document whose last change was acknowledged by nobody, is in no log and with no peer.
async fn lose_log(house: &House, faulty: &FaultyStore, document: &DocumentName) {
    let mut ada = Peer::join(&house.registry, document).await;
    ada.write("stored ").await;
    ada.until_saved().await;
    faulty.set_load_outage(Some(StoreError::Unavailable("away".to_owned())));
    faulty.plan_faults([Fault::LoseLog]);
    ada.write("held").await;
    ada.leave(true);
    while faulty.batches().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_stored_and_let_go(house: &House, document: &DocumentName) {
    let mut ben = Peer::join(&house.registry, document).await;
    ben.until(|peer| peer.text() == "stored held").await;
    assert_eq!(ben.closed, None);
    ben.leave(true);
    while house.registry.session_count(document).is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(house.store.load(document).await.unwrap().head, 2);
}

#[test]
fn what_the_log_lost_is_stored_although_nobody_is_there_while_it_loads() {
    in_system(async {
        let mut options = options();
        options.load_patience_ms = 20_000;
        let (house, faulty) = House::open_faulty_with(options, CommitterOptions::default()).await;
        let document = name("idle");
        lose_log(&house, &faulty, &document).await;
        tokio::time::sleep(A_WHILE).await;
        faulty.set_load_outage(None);
        is_stored_and_let_go(&house, &document).await;
    });
}

#[test]
fn what_the_log_lost_is_stored_although_the_document_cannot_be_loaded_at_first() {
    in_system(async {
        let (house, faulty) = House::open_faulty(CommitterOptions::default()).await;
        let document = name("unavailable");
        lose_log(&house, &faulty, &document).await;
        let mut cid = Peer::join(&house.registry, &document).await;
        cid.until(|peer| peer.closed.is_some()).await;
        assert_eq!(cid.closed, Some(CloseReason::Unavailable));
        cid.leave(false);
        tokio::time::sleep(A_WHILE).await;
        faulty.set_load_outage(None);
        is_stored_and_let_go(&house, &document).await;
    });
}

#[test]
fn what_the_log_lost_is_stored_although_its_successor_panics_over_it() {
    in_system(async {
        let mut options = options();
        options.load_patience_ms = 20_000;
        let (house, faulty) = House::open_faulty_with(options, CommitterOptions::default()).await;
        let document = name("panics");
        lose_log(&house, &faulty, &document).await;
        faulty.hold_commits(true);
        faulty.set_load_outage(None);
        house
            .registry
            .harm(&document, driftless::actors::Fault::Panic);
        tokio::time::sleep(A_WHILE).await;
        faulty.plan_faults([Fault::LoseLog]);
        faulty.hold_commits(false);
        is_stored_and_let_go(&house, &document).await;
    });
}

#[test]
fn what_the_log_lost_is_stored_although_nobody_is_there_while_it_is_committed() {
    in_system(async {
        let (house, faulty) = House::open_faulty(CommitterOptions::default()).await;
        let document = name("uncommitted");
        let mut ada = Peer::join(&house.registry, &document).await;
        ada.write("stored ").await;
        ada.until_saved().await;
        faulty.hold_commits(true);
        ada.write("held").await;
        ada.leave(true);
        tokio::time::sleep(A_WHILE).await;
        faulty.plan_faults([Fault::LoseLog]);
        faulty.hold_commits(false);
        is_stored_and_let_go(&house, &document).await;
    });
}
