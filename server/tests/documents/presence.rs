//! Presence that shows identities, with peers on one node and on two.

use std::sync::Arc;

use yrs::Doc;

use crate::house::{House, in_system, name};
use crate::peer::Peer;

const FIELD: &str = "verified";
const CLIENT: u64 = 11;
const OTHER: u64 = 12;
const SAID: Option<&str> = Some(r#"{"n":1,"\u0076erified":{"sub":"ben"}}"#);

fn of(who: &str) -> Option<String> {
    Some(format!(r#"{{"verified":{{"sub":"{who}"}},"n":1}}"#))
}

/// All that was sent to a peer until now has been heard.
async fn heard_all(peer: &mut Peer) {
    peer.write(".").await;
    peer.until_saved().await;
}

#[test]
fn an_entry_shows_who_it_is_and_only_its_identity_has_it_on_all_nodes() {
    in_system(async {
        let nodes = House::open_nodes_showing(2, FIELD, |bus| Arc::new(bus)).await;
        let document = name("who");
        let mut ada = Peer::join_as(&nodes[0].registry, &document, Doc::new(), Some("ada")).await;
        let mut watcher = Peer::join(&nodes[0].registry, &document).await;
        let mut mallory =
            Peer::join_as(&nodes[1].registry, &document, Doc::new(), Some("mallory")).await;
        ada.present(CLIENT, 1, SAID).await;
        for peer in [&mut watcher, &mut mallory] {
            peer.until(|peer| peer.sees(CLIENT) == of("ada")).await;
        }
        mallory.present(OTHER, 1, SAID).await;
        mallory.present(CLIENT, 2, SAID).await;
        mallory.present(CLIENT, 3, None).await;
        mallory.present(OTHER, 2, Some("2")).await;
        watcher
            .until(|peer| peer.sees(OTHER).as_deref() == Some("2"))
            .await;
        assert_eq!(watcher.sees(CLIENT), of("ada"));
        // Ada moves to the node of Mallory, whose socket is there before her old one breaks.
        let mut moved = Peer::join_as(&nodes[1].registry, &document, Doc::new(), Some("ada")).await;
        moved.present(CLIENT, 1, SAID).await;
        heard_all(&mut moved).await;
        ada.leave(false);
        moved.present(CLIENT, 2, Some("2")).await;
        watcher
            .until(|peer| peer.sees(CLIENT).as_deref() == Some("2"))
            .await;
        moved.present(CLIENT, 3, None).await;
        watcher.until(|peer| peer.sees(CLIENT).is_none()).await;
        mallory.present(CLIENT, 4, SAID).await;
        mallory.present(OTHER, 3, Some("3")).await;
        watcher
            .until(|peer| peer.sees(OTHER).as_deref() == Some("3"))
            .await;
        assert_eq!(watcher.sees(CLIENT), None, "it is remembered whose it was");
    });
}

#[test]
fn without_the_setting_entries_are_what_clients_say() {
    in_system(async {
        let nodes = House::open_nodes(1, |bus| Arc::new(bus)).await;
        let document = name("as-said");
        let mut ada = Peer::join_as(&nodes[0].registry, &document, Doc::new(), Some("ada")).await;
        let mut ben = Peer::join_as(&nodes[0].registry, &document, Doc::new(), Some("ben")).await;
        ada.present(CLIENT, 1, SAID).await;
        ben.until(|peer| peer.sees(CLIENT).as_deref() == SAID).await;
        ben.present(CLIENT, 2, Some("2")).await;
        ada.until(|peer| peer.sees(CLIENT).as_deref() == Some("2"))
            .await;
    });
}

#[cfg(feature = "fault-injection")]
#[test]
fn who_was_there_when_a_document_was_replaced_shows_who_it_is() {
    use driftless::actors::Fault;

    in_system(async {
        let nodes = House::open_nodes_showing(1, FIELD, |bus| Arc::new(bus)).await;
        let (registry, document) = (&nodes[0].registry, name("replaced"));
        let mut ada = Peer::join_as(registry, &document, Doc::new(), Some("ada")).await;
        let mut ben = Peer::join_as(registry, &document, Doc::new(), Some("ben")).await;
        ada.present(CLIENT, 1, SAID).await;
        ben.until(|peer| peer.sees(CLIENT) == of("ada")).await;
        registry.harm(&document, Fault::Panic);
        ada.present(CLIENT, 2, Some("{}")).await;
        let shown = r#"{"verified":{"sub":"ada"}}"#;
        ben.until(|peer| peer.sees(CLIENT).as_deref() == Some(shown))
            .await;
    });
}
