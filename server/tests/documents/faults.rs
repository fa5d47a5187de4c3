//! Panics and stalls on demand: one bad document hurts nobody else.

use std::time::Duration;

use driftless::actors::Fault;

use crate::house::{House, in_system, name, options};
use crate::peer::Peer;

#[test]
fn a_panic_in_one_document_is_invisible_to_the_others() {
    in_system(async {
        let house = House::open(options()).await;
        let mut peers = Vec::new();
        for at in 0..100 {
            let document = name(&format!("room/{at}"));
            let mut peer = Peer::join(&house.registry, &document).await;
            peer.write("before ").await;
            peer.until_saved().await;
            peers.push(peer);
        }
        house.registry.harm(&name("room/7"), Fault::Panic);
        for peer in &mut peers {
            peer.write("after").await;
            peer.until_saved().await;
            assert_eq!(
                peer.closed, None,
                "no session is dropped, not even the document's own"
            );
        }
        let mut late = Peer::join(&house.registry, &name("room/7")).await;
        late.until(|peer| peer.text() == "before after").await;
    });
}

#[test]
fn what_only_peers_still_have_comes_back_after_a_panic() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("panics");
        let mut ada = Peer::join(&house.registry, &document).await;
        let mut ben = Peer::join(&house.registry, &document).await;
        for round in 0..4 {
            house.registry.harm(&document, Fault::Panic);
            ada.write(&format!("a{round} ")).await;
            ada.until_saved().await;
        }
        let whole = ada.text();
        ben.until(move |peer| peer.text() == whole).await;
        assert_eq!(ben.closed, None);
    });
}

#[test]
fn a_stuck_document_loses_its_thread_and_the_others_move() {
    in_system(async {
        let mut options = options();
        options.threads = 1;
        let house = House::open(options).await;
        let (stuck, other) = (name("stuck"), name("other"));
        let mut ada = Peer::join(&house.registry, &stuck).await;
        let mut ben = Peer::join(&house.registry, &other).await;
        ada.write("a").await;
        ada.until_saved().await;
        house.registry.harm(&stuck, Fault::Stall { for_ms: 30_000 });
        tokio::time::sleep(Duration::from_millis(50)).await;
        ben.write("b").await;
        ben.until_saved().await;
        ada.write("c").await;
        ada.until_saved().await;
        assert_eq!(house.registry.abandoned_threads(), 1);
        assert_eq!((ada.closed, ben.closed), (None, None));
    });
}
