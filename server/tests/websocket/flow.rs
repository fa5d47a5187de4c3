//! Messages in, frames out: order, fragments, refusals, backpressure in both directions.

use std::time::Duration;

use bytes::Bytes;
use driftless::adapters::AdapterOptions;
use driftless::outbox::PushResult;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::peer::{
    BINARY, PING, PONG, Peer, ServerFrame, masked, options, start, until, update, upgrade_request,
};

#[tokio::test]
async fn what_one_says_the_others_hear_in_order() {
    let (server, rooms) = start(options());
    let mut writer = Peer::join(server.address(), "/ws/a").await;
    let mut reader = Peer::join(server.address(), "/ws/a").await;
    let _other_room = Peer::join(server.address(), "/ws/b").await;
    until("all have joined", || rooms.state().attached.len() == 3).await;
    for round in 0..200_u8 {
        writer.send_update(&[round]).await;
    }
    for round in 0..200_u8 {
        assert_eq!(reader.frame().await, ServerFrame(BINARY, update(&[round])));
    }
}

#[tokio::test]
async fn bytes_behind_the_handshake_are_not_lost() {
    let (server, rooms) = start(options());
    let mut peer = Peer::connect(server.address()).await;
    let mut bytes = upgrade_request("/ws/a", "").into_bytes();
    bytes.extend(masked(BINARY, &update(b"early")));
    let late = masked(BINARY, &update(b"late"));
    bytes.extend(&late[..5]);
    peer.send(&bytes).await;
    until("the first has come", || {
        rooms.state().received == [&b"early"[..]]
    })
    .await;
    peer.send(&late[5..]).await;
    until("the second has come", || rooms.state().received.len() == 2).await;
}

#[tokio::test]
async fn fragments_pings_and_large_messages_arrive_whole() {
    let (server, rooms) = start(options());
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    let large = vec![7; 3_000_000];
    let message = update(&large);
    peer.send(&masked(0x02, &message[..1_000_000])).await;
    peer.send(&masked(PING, b"still there?")).await;
    assert_eq!(
        peer.frame().await,
        ServerFrame(PONG, b"still there?".to_vec())
    );
    peer.send(&masked(0x00, &message[1_000_000..2_000_000]))
        .await;
    peer.send(&masked(0x80, &message[2_000_000..])).await;
    until("it is whole", || rooms.state().received == [&large[..]]).await;
    peer.send(&masked(BINARY, &message)).await;
    until("it has come again", || rooms.state().received.len() == 2).await;
}

#[tokio::test]
async fn what_comes_before_a_bad_frame_counts_and_the_peer_is_told_why() {
    let limits = AdapterOptions {
        frame_bytes_max: 1_000,
        ..options()
    };
    let mut unmasked = masked(BINARY, b"x");
    unmasked[1] &= 0x7f;
    let table: [(&str, Vec<u8>, u16); 6] = [
        ("half a message", masked(BINARY, &[0, 2, 9, 1]), 4400),
        ("an unknown message", masked(BINARY, &[99]), 4400),
        ("text", masked(0x81, b"hello"), 4415),
        ("too large", masked(BINARY, &[0; 1_001]), 4413),
        ("not masked", unmasked, 1002),
        ("reserved bits", masked(0xc2, b"x"), 1002),
    ];
    for (what, bad, wanted) in table {
        let (server, rooms) = start(limits.clone());
        let mut peer = Peer::join(server.address(), "/ws/a").await;
        let mut bytes = masked(BINARY, &update(b"good"));
        bytes.extend(bad);
        bytes.extend(masked(BINARY, &update(b"too late")));
        peer.send(&bytes).await;
        let (code, text, denied) = peer.farewell().await;
        assert_eq!(code, wanted, "{what}");
        assert_eq!(denied.is_some(), (4400..4500).contains(&wanted), "{what}");
        assert!(!text.is_empty(), "{what}");
        assert!(peer.rest().await.is_empty(), "{what}");
        assert_eq!(rooms.state().received, [&b"good"[..]], "{what}");
    }
}

#[tokio::test]
async fn a_full_document_stops_the_reading_of_its_writers_but_not_their_hearing() {
    let (server, rooms) = start(options());
    let mut writer = Peer::join(server.address(), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    rooms.set_full(true);
    let part = masked(BINARY, &update(&[1; 60_000]));
    let mut sent = 0;
    while let Ok(written) =
        timeout(Duration::from_millis(300), writer.stream.write_all(&part)).await
    {
        written.unwrap();
        sent += 1;
        assert!(
            sent < 1_000,
            "the server reads on although the document is full"
        );
    }
    assert!(rooms.state().received.is_empty());
    rooms.broadcast("a", Bytes::from_static(b"news"));
    assert_eq!(writer.frame().await, ServerFrame(BINARY, update(b"news")));
    rooms.set_full(false);
    until("all that was sent has come", || {
        rooms.state().received.len() >= sent
    })
    .await;
}

#[tokio::test]
async fn a_stopped_reader_holds_a_bounded_queue_and_is_told_of_when_it_reads_again() {
    let limits = AdapterOptions {
        outbox_bytes_max: 100_000,
        ..options()
    };
    let (server, rooms) = start(limits);
    let mut stopped = Peer::join(server.address(), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    let mut active = Peer::join(server.address(), "/ws/a").await;
    until("both have joined", || rooms.state().attached.len() == 2).await;
    let outbox = rooms.outboxes("a")[0].clone();
    let news = Bytes::from(vec![5; 10_000]);
    let mut queued = 0;
    // The kernel's buffers take some megabytes before anything has to wait.
    loop {
        let results = rooms.broadcast("a", news.clone());
        assert_eq!(active.frame().await, ServerFrame(BINARY, update(&news)));
        assert!(outbox.queued_bytes() <= 100_000 + news.len());
        match results[0] {
            PushResult::Queued => queued += 1,
            PushResult::Full => {
                // Full for good, or only until the task has had its turn.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let result = rooms.broadcast("a", news.clone())[0];
                assert_eq!(active.frame().await, ServerFrame(BINARY, update(&news)));
                if result == PushResult::Full {
                    break;
                }
                queued += 1;
            }
            PushResult::Closed => panic!("a slow reader is not closed"),
        }
        assert!(queued < 10_000, "the queue has no bound");
    }
    outbox.want_drained(0);
    assert_eq!(rooms.state().drained, 0);
    for _ in 0..queued {
        assert_eq!(stopped.frame().await, ServerFrame(BINARY, update(&news)));
    }
    until("the document is told", || rooms.state().drained == 1).await;
    assert_eq!(outbox.queued_bytes(), 0);
    assert_eq!(rooms.broadcast("a", news.clone()), [PushResult::Queued; 2]);
}

#[tokio::test]
async fn who_takes_none_of_its_answers_is_read_again_once_it_took_them() {
    let limits = AdapterOptions {
        outbox_bytes_max: 100_000,
        // Longer than this test has patience: nothing but the answers moves the socket.
        keepalive_ms: 3_600_000,
        peer_timeout_ms: 7_200_000,
        ..options()
    };
    let (server, rooms) = start(limits);
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    let outbox = rooms.outboxes("a")[0].clone();
    let answer = Bytes::from(vec![0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0])
        .into_iter()
        .chain(vec![9; 1 << 20])
        .collect::<Bytes>();
    // More than the kernel's buffers take.
    for _ in 0..24 {
        assert_eq!(outbox.push_answer(answer.clone()), PushResult::Queued);
        outbox.flush(0);
    }
    until("it is behind", || outbox.is_overfull()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    peer.send_update(b"a word").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(rooms.state().received.is_empty(), "it is not read");
    for _ in 0..24 {
        peer.frame().await;
    }
    until("it is read again", || {
        rooms.state().received == [&b"a word"[..]]
    })
    .await;
}
