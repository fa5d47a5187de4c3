//! Joining, saving, leaving memory, coming back, deleting.

use driftless::actors::DocumentOptions;
use driftless::store::Store;
use driftless_proto::engine::{CloseReason, Relay};

use crate::house::{House, in_system, name, options};
use crate::peer::Peer;

#[test]
fn peers_converge_and_what_is_acknowledged_is_stored() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("notes/one");
        let mut ada = Peer::join(&house.registry, &document).await;
        let mut ben = Peer::join(&house.registry, &document).await;
        ada.write("hello ").await;
        ada.until_saved().await;
        ben.until(|peer| peer.text() == "hello ").await;
        ben.write("world").await;
        ben.until_saved().await;
        ada.until(|peer| peer.text() == "hello world").await;
        let stored = house.store.load(&document).await.unwrap();
        assert_eq!(stored.head, 2, "one append an update");
    });
}

#[test]
fn what_came_before_a_peer_left_is_stored_although_the_document_was_still_loading() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("cold");
        let mut ada = Peer::join(&house.registry, &document).await;
        ada.write("kept").await;
        ada.leave(false);
        let mut ben = Peer::join(&house.registry, &document).await;
        ben.until(|peer| peer.text() == "kept").await;
    });
}

#[test]
fn a_document_leaves_memory_and_comes_back_whole() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("idle");
        let mut ada = Peer::join(&house.registry, &document).await;
        ada.write("kept").await;
        ada.until_saved().await;
        ada.leave(true);
        while house.registry.session_count(&document).is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut ben = Peer::join(&house.registry, &document).await;
        ben.until(|peer| peer.text() == "kept").await;
        assert_eq!(ben.closed, None);
    });
}

#[test]
fn a_large_document_arrives_in_parts_while_others_write() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("large");
        let mut ada = Peer::join(&house.registry, &document).await;
        for at in 0..40 {
            ada.write(&format!("{at:04}").repeat(1_000)).await;
        }
        ada.until_saved().await;
        let mut ben = Peer::join(&house.registry, &document).await;
        ada.write("end").await;
        ben.until(|peer| peer.text().ends_with("end")).await;
        assert_eq!(ben.text(), ada.text());
    });
}

#[test]
fn a_deleted_document_does_not_come_back_from_an_old_replica() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("gone");
        let mut ada = Peer::join(&house.registry, &document).await;
        ada.write("secret").await;
        ada.until_saved().await;
        let mut offline = Peer::join(&house.registry, &document).await;
        offline.until(|peer| peer.text() == "secret").await;
        let old = offline.leave(false);

        house.registry.delete(&document).await.unwrap();
        ada.until(|peer| peer.closed.is_some()).await;
        assert_eq!(ada.closed, Some(CloseReason::Deleted));

        let mut back = Peer::join_with(&house.registry, &document, old).await;
        back.write(" again").await;
        back.until(|peer| peer.closed.is_some()).await;
        assert_eq!(back.closed, Some(CloseReason::Deleted));

        let mut fresh = Peer::join(&house.registry, &document).await;
        fresh.write("new").await;
        fresh.until_saved().await;
        assert_eq!(fresh.text(), "new");
    });
}

#[test]
fn a_document_at_its_limit_is_read_only_and_says_so() {
    in_system(async {
        let mut options = options();
        options.replica.document_bytes_max = 4_096;
        let house = House::open(options).await;
        let document = name("full");
        let mut ada = Peer::join(&house.registry, &document).await;
        ada.write(&"x".repeat(3_000)).await;
        ada.until_saved().await;
        ada.write(&"y".repeat(3_000)).await;
        ada.until(|peer| peer.denied.is_some()).await;
        assert_eq!(ada.closed, None, "the session stays");
        let mut ben = Peer::join(&house.registry, &document).await;
        ben.until(|peer| peer.text().len() == 3_000).await;
    });
}

#[test]
fn under_durable_relay_nobody_sees_what_is_not_stored() {
    in_system(async {
        let mut durable: DocumentOptions = options();
        durable.replica.relay = Relay::Durable;
        let house = House::open(durable).await;
        let document = name("durable");
        let mut ada = Peer::join(&house.registry, &document).await;
        let mut ben = Peer::join(&house.registry, &document).await;
        for round in 1..=20 {
            ada.write("a").await;
            ben.until(|peer| peer.text().len() == round).await;
            let stored = house.store.load(&document).await.unwrap();
            assert_eq!(stored.head, round as u64, "seen means stored");
        }
        house.committer.wait_idle(&document).await;
    });
}
