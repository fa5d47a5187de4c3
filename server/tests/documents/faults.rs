//! Panics and stalls on demand: one bad document hurts nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use driftless::actors::Fault;
use driftless::admin::operations::DocumentOperations;
use driftless::store::committer::CommitterOptions;
use driftless::store::{Origin, Store, StoreError};
use driftless_proto::engine::{CloseReason, Rights};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, in_system, name, options, stuck_options};
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
fn what_came_before_a_peer_left_is_stored_although_the_actor_is_being_replaced() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("between");
        let mut ada = Peer::join(&house.registry, &document).await;
        let mut whole = String::new();
        // From the second time on a pause comes before the replacement.
        for text in ["a", "b", "c"] {
            ada.until_saved().await;
            house.registry.harm(&document, Fault::Panic);
            ada.write(text).await;
            whole.push_str(text);
        }
        ada.leave(true);
        let mut ben = Peer::join(&house.registry, &document).await;
        ben.until(move |peer| peer.text() == whole).await;
    });
}

#[test]
fn a_stuck_document_loses_its_thread_and_the_others_move() {
    in_system(async {
        let mut options = stuck_options();
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

#[test]
fn sockets_on_a_stuck_thread_are_cut_and_find_their_documents_again() {
    in_system(async {
        let mut options = stuck_options();
        options.threads = 1;
        let house = House::open(options).await;
        let door = house.open_door();
        let (mut stuck, mut other) = (
            join_by_socket(door.address(), "stuck").await,
            join_by_socket(door.address(), "other").await,
        );
        house
            .registry
            .harm(&name("stuck"), Fault::Stall { for_ms: 30_000 });
        for socket in [&mut stuck, &mut other] {
            let mut rest = Vec::new();
            // A reset is as good an end.
            let _ = socket.read_to_end(&mut rest).await;
        }
        for document in ["stuck", "other"] {
            let _socket = join_by_socket(door.address(), document).await;
            assert_eq!(house.registry.session_count(&name(document)), Some(1));
        }
        assert_eq!(house.registry.abandoned_threads(), 1);
    });
}

/// Opens a socket, asks for the state, and waits for an answer.
async fn join_by_socket(address: SocketAddr, document: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /ws/{document} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let step1 = [0x82, 0x84, 0, 0, 0, 0, 0, 0, 1, 0];
    stream.write_all(&step1).await.unwrap();
    let step2 = [0x82, 5, 0, 1, 2, 0, 0];
    let mut heard = Vec::new();
    while !heard.ends_with(&step2) {
        assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "{heard:?}");
    }
    stream
}

#[test]
fn a_full_disk_stops_writers_past_the_bound_and_loses_nothing() {
    in_system(async {
        let commits = CommitterOptions {
            queue_bytes_max: 8 << 10,
            retry_max: Duration::from_millis(200),
            ..CommitterOptions::default()
        };
        let (house, faulty) = House::open_faulty(commits).await;
        let document = name("disk");
        let mut ada = Peer::join(&house.registry, &document).await;
        let mut ben = Peer::join(&house.registry, &document).await;
        ada.write("before ").await;
        ada.until_saved().await;

        faulty.set_outage(Some(StoreError::DiskFull("no space".to_owned())));
        ada.write("during ").await;
        ben.until(|peer| peer.text() == "before during ").await;
        assert_eq!(
            ada.saved, 1,
            "nothing counts as saved while the disk is full"
        );
        while house.committer.status().is_healthy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while ada.closed.is_none() {
            ada.write(&"x".repeat(2_000)).await;
            ada.hear_for(Duration::from_millis(20)).await;
        }
        assert_eq!(ada.closed, Some(CloseReason::StoreFull));
        assert_eq!(ben.closed, None, "readers stay");

        faulty.set_outage(None);
        house.committer.wait_idle(&document).await;
        let whole = ada.text();
        let mut back = Peer::join_with(&house.registry, &document, ada.leave(false)).await;
        back.write("after").await;
        back.until_saved().await;
        let wanted = format!("{whole}after");
        ben.until(move |peer| peer.text() == wanted).await;
        let stored = house.store.load(&document).await.unwrap();
        assert!(stored.head > 2);
    });
}

#[test]
fn a_document_whose_changes_are_refused_for_good_is_tried_a_few_times_and_then_read_only() {
    in_system(async {
        let (house, faulty) = House::open_faulty(CommitterOptions::default()).await;
        let document = name("spoilt");
        let mut ada = Peer::join(&house.registry, &document).await;
        ada.write("before ").await;
        ada.until_saved().await;
        let before = faulty.batches().len();
        let damage = StoreError::Damaged("a test says so".to_owned());
        faulty.spoil_document(document.clone(), damage);
        ada.write("lost").await;
        ada.until(|peer| peer.denied.is_some()).await;
        let denied = ada.denied.clone().unwrap();
        assert!(denied.contains("quarantined"), "{denied}");
        assert_eq!((ada.closed, ada.saved), (None, 1));
        let attempts = faulty.batches().len() - before;
        assert!((2..=5).contains(&attempts), "{attempts}");
        let mut ben = Peer::join(&house.registry, &document).await;
        ben.until(|peer| peer.text() == "before ").await;
    });
}

#[test]
fn a_store_that_is_slower_than_its_writers_slows_them_down() {
    in_system(async {
        let commits = CommitterOptions {
            queue_bytes_max: 64 << 10,
            ..CommitterOptions::default()
        };
        let (house, faulty) = House::open_faulty(commits).await;
        let mut ada = Peer::join(&house.registry, &name("slow")).await;
        faulty.hold_commits(true);
        for _ in 0..100 {
            ada.write(&"x".repeat(2_000)).await;
            ada.hear_for(Duration::from_millis(1)).await;
        }
        assert_eq!(
            ada.closed, None,
            "twice the bound was sent, and nobody is closed"
        );
        faulty.hold_commits(false);
        ada.until_saved().await;
        assert_eq!(ada.closed, None);
    });
}

#[test]
fn an_import_ends_although_the_actor_is_replaced_under_it() {
    in_system(async {
        let (house, faulty) = House::open_faulty(CommitterOptions::default()).await;
        let document = name("imported");
        // Client 1 inserts "hi" into the text "t".
        let update = [1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];
        let mut ben = Peer::join(&house.registry, &document).await;
        faulty.hold_commits(true);
        let (operations, to) = (house.operations(), document.clone());
        let import = tokio::task::spawn_local(async move {
            let update = Bytes::copy_from_slice(&update);
            operations
                .import_update(&to, update, Origin::default(), Rights::Relay)
                .await
        });
        ben.until(|peer| peer.text() == "hi").await;
        house.registry.harm(&document, Fault::Panic);
        ben.hear_for(Duration::from_millis(100)).await;
        faulty.hold_commits(false);
        let imported = tokio::time::timeout(Duration::from_secs(20), import).await;
        assert!(imported.unwrap().unwrap().unwrap().changed);
        ben.until(|peer| peer.text() == "hi").await;
    });
}

#[test]
fn an_operator_finds_a_document_whose_first_edit_is_still_being_committed() {
    in_system(async {
        let (house, faulty) = House::open_faulty(CommitterOptions::default()).await;
        let document = name("new");
        let mut ada = Peer::join(&house.registry, &document).await;
        let mut ben = Peer::join(&house.registry, &document).await;
        faulty.hold_commits(true);
        ada.write("seen").await;
        ben.until(|peer| peer.text() == "seen").await;
        let operations = house.operations();
        let deletion = tokio::task::spawn_local(async move {
            let shown = operations.show(&document).await.unwrap();
            assert_eq!(shown.summary.head, 1);
            operations.delete(&document).await
        });
        ben.hear_for(Duration::from_millis(100)).await;
        assert!(!deletion.is_finished(), "it waits for the commit");
        faulty.hold_commits(false);
        deletion.await.unwrap().unwrap();
        ben.until(|peer| peer.closed == Some(CloseReason::Deleted))
            .await;
    });
}
