//! Sessions that come and go while their document is loaded: bounded, what they sent is kept, and who has
//! nothing is served first.

use std::time::Duration;

use bytes::Bytes;
use driftless::session::AttachError;
use driftless::store::committer::CommitterOptions;
use driftless::store::{Store, StoreError};
use driftless_proto::wire::{Message, ywebsocket};

use crate::house::{House, in_system, name, options};
use crate::limits::attach;
use crate::peer::Peer;

#[test]
fn who_comes_and_goes_while_a_document_loads_is_bounded_and_what_it_sent_is_kept() {
    in_system(async {
        let mut slow = options();
        slow.load_patience_ms = 40_000;
        slow.sessions_per_document_max = 10;
        let commits = CommitterOptions::default();
        let (house, faulty) = House::open_faulty_with(slow, commits).await;
        faulty.set_load_outage(Some(StoreError::Unavailable("away".to_owned())));
        let document = name("slow");
        let vector = Bytes::from_static(&[0]);
        for _ in 0..5_000 {
            // Who only asks leaves nothing behind.
            let mut session = attach(&house.registry, "slow", None).unwrap();
            let vector = vector.clone();
            session.try_receive(Message::SyncStep1 { vector }).unwrap();
            session.detach(true);
        }
        let mut written = 0;
        let refused = loop {
            let mut session = match attach(&house.registry, "slow", None) {
                Ok(session) => session,
                Err(error) => break error,
            };
            // Each inserts "a" as a client of its own.
            let client = u8::try_from(written % 100).unwrap() + 1;
            let update = [1, 1, client, 0, 4, 1, 1, b't', 1, b'a', 0];
            let update = Bytes::copy_from_slice(&update);
            session.try_receive(Message::Update { update }).unwrap();
            session.detach(true);
            written += 1;
            assert!(written < 5_000, "there is no bound");
        };
        assert_eq!(refused, AttachError::Unavailable);
        assert!(written > 100, "nobody is refused without need: {written}");
        faulty.set_load_outage(None);
        while house.store.load(&document).await.unwrap().head == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut late = Peer::join(&house.registry, &document).await;
        late.until(|peer| peer.text() == "a".repeat(100)).await;
    });
}

#[test]
fn who_has_nothing_is_served_before_the_replica_is_built() {
    in_system(async {
        let mut patient = options();
        patient.load_patience_ms = 20_000;
        let commits = CommitterOptions::default();
        let (house, faulty) = House::open_faulty_with(patient, commits).await;
        let document = name("cold");
        let mut ada = Peer::join(&house.registry, &document).await;
        for word in ["one ", "two ", "three"] {
            ada.write(word).await;
            ada.until_saved().await;
        }
        let offline = ada.leave(true);
        while house.registry.session_count(&document).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Both have asked before anything is here.
        faulty.set_load_outage(Some(StoreError::Unavailable("away".to_owned())));
        let mut ben = Peer::join(&house.registry, &document).await;
        let mut ada = Peer::join_with(&house.registry, &document, offline).await;
        faulty.set_load_outage(None);
        let frame = ben.first_frame().await;
        let kinds: Vec<&str> = ywebsocket::messages(frame.clone())
            .map(|message| match message.unwrap() {
                Message::Update { .. } => "update",
                Message::SyncStep2 { .. } => "step 2",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            kinds,
            ["update", "update", "step 2"],
            "the log as it is stored"
        );
        ben.read_again(frame).await;
        assert_eq!(ben.text(), "one two three");
        ada.write("!").await;
        ben.until(|peer| peer.text() == "one two three!").await;
        ben.write("?").await;
        ada.until(|peer| peer.text().ends_with("!?")).await;
    });
}
