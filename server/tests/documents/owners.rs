//! Whose client ids are, on several nodes over one store and after an actor failed.

use std::sync::Arc;

use driftless::actors::DocumentOptions;
use driftless::bus::local::LocalBus;
use driftless::store::{Claim, Store};
use driftless_proto::engine::ClientIds;
use yrs::{ClientID, Doc, Options};

use crate::house::{House, in_system, name, options};
use crate::peer::Peer;

const ADAS: u64 = 7;

fn bound() -> DocumentOptions {
    let mut options = options();
    options.replica.client_ids = ClientIds::Bound;
    options
}

fn doc(client: u64) -> Doc {
    Doc::with_options(Options::with_client_id(ClientID::new(client)))
}

/// An update that writes a letter under an id of Ada, who has so many clocks.
fn forged(clock: usize) -> Vec<u8> {
    vec![1, 1, ADAS as u8, clock as u8, 4, 1, 1, b't', 1, b'!', 0]
}

#[test]
fn an_id_belongs_to_its_owner_on_all_nodes() {
    in_system(async {
        let nodes = House::open_nodes_with(bound(), 2, |bus| Arc::new(bus)).await;
        let document = name("owned");
        let [here, there] = [&nodes[0].registry, &nodes[1].registry];
        let mut mallory = Peer::join_as(there, &document, doc(8), Some("mallory")).await;
        mallory.write("m").await;
        mallory.until_saved().await;
        let mut ada = Peer::join_as(here, &document, doc(ADAS), Some("ada")).await;
        ada.write("first ").await;
        ada.until_saved().await;
        mallory.until(|peer| peer.text().contains("first")).await;
        mallory.forge(forged("first ".len())).await;
        mallory.until(|peer| peer.denied.is_some()).await;
        ada.write("second ").await;
        ada.until_saved().await;

        // She moves to the other node, and is who she was.
        let hers = ada.leave(true);
        let mut ada = Peer::join_as(there, &document, hers, Some("ada")).await;
        ada.write("third").await;
        ada.until_saved().await;
        let mut reader = Peer::join(here, &document).await;
        reader.until(|peer| peer.text().contains("third")).await;
        assert!(!reader.text().contains('!'), "{}", reader.text());

        let owners = nodes[0].store.client_owners(&document, 0).await.unwrap();
        let claim = |client, owner: &str| Claim {
            client,
            owner: Some(owner.into()),
        };
        assert_eq!(owners, [claim(ADAS, "ada"), claim(8, "mallory")]);
    });
}

#[test]
fn a_node_that_heard_nothing_of_an_owner_finds_it_in_the_store() {
    in_system(async {
        let nodes = House::open_nodes_with(bound(), 1, |bus| Arc::new(bus)).await;
        let document = name("found");
        // A node of its own, which only looks at the log.
        let deaf = House::over_store_of(&nodes[0], bound(), Arc::new(LocalBus::default()));
        let mut mallory = Peer::join_as(&deaf.registry, &document, doc(8), Some("mallory")).await;
        mallory.write("m").await;
        mallory.until_saved().await;
        let mut ada = Peer::join_as(&nodes[0].registry, &document, doc(ADAS), Some("ada")).await;
        ada.write("first").await;
        ada.until_saved().await;
        mallory.write("x").await;
        mallory.until(|peer| peer.text().contains("first")).await;
        mallory.forge(forged("first".len())).await;
        mallory.until(|peer| peer.denied.is_some()).await;
    });
}
