//! What goes through an encrypted socket: everything, in order, at the pace of the slower side.

use std::time::Duration;

use bytes::Bytes;
use driftless::adapters::AdapterOptions;
use driftless::outbox::PushResult;
use driftless_proto::engine::CloseReason;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{TlsPeer, behind_tls, client, client_of, connect, join, new_pair};
use crate::certificates::Folder;
use crate::peer::{
    BINARY, CLOSE, PATIENCE, PING, PONG, ServerFrame, masked, start, until, update, upgrade_request,
};

#[tokio::test]
async fn what_one_says_the_others_hear_over_both_versions() {
    let pair = new_pair();
    let (server, rooms) = start(behind_tls(&Folder::holding(&pair)));
    let mut old = join(server.address(), &client_of(&[&pair], &[&TLS12]), "/ws/a").await;
    let mut new = join(server.address(), &client_of(&[&pair], &[&TLS13]), "/ws/a").await;
    until("both have joined", || rooms.state().attached.len() == 2).await;
    for round in 0..200_u8 {
        old.send_update(&[round]).await;
        new.send_update(&[round, 1]).await;
    }
    for round in 0..200_u8 {
        assert_eq!(new.frame().await, ServerFrame(BINARY, update(&[round])));
        assert_eq!(old.frame().await, ServerFrame(BINARY, update(&[round, 1])));
    }
}

#[tokio::test]
async fn frames_in_the_record_of_the_request_are_not_lost() {
    let pair = new_pair();
    let (server, rooms) = start(behind_tls(&Folder::holding(&pair)));
    for versions in [&[&TLS12], &[&TLS13]] {
        rooms.state().received.clear();
        let mut peer = connect(server.address(), &client_of(&[&pair], versions)).await;
        let mut bytes = upgrade_request("/ws/a", "").into_bytes();
        bytes.extend(masked(BINARY, &update(b"early")));
        let late = masked(BINARY, &update(b"late"));
        bytes.extend(&late[..5]);
        // One write below 16 KiB is one record.
        peer.send(&bytes).await;
        until("the first has come", || {
            rooms.state().received == [&b"early"[..]]
        })
        .await;
        peer.send(&late[5..]).await;
        until("the second has come", || rooms.state().received.len() == 2).await;
    }
}

#[tokio::test]
async fn large_states_pass_both_ways_while_the_reader_is_slow() {
    let pair = new_pair();
    let limits = AdapterOptions {
        outbox_bytes_max: 64 << 20,
        ..behind_tls(&Folder::holding(&pair))
    };
    let (server, rooms) = start(limits);
    let mut writer = join(server.address(), &client(&[&pair]), "/ws/a").await;
    let mut reader = join(server.address(), &client(&[&pair]), "/ws/a").await;
    until("both have joined", || rooms.state().attached.len() == 2).await;
    let large: Vec<u8> = (0..8_000_000_u32).map(|at| (at * 7 / 3) as u8).collect();
    writer.send_update(&large).await;
    until("it has come", || rooms.state().received.len() == 1).await;
    assert!(rooms.state().received == [&large[..]], "it came changed");
    // Longer than the kernel's buffers take, so the server has to wait in the middle of the frame.
    tokio::time::sleep(Duration::from_millis(300)).await;
    writer.send_update(b"behind it").await;
    assert!(
        reader.frame().await == ServerFrame(BINARY, update(&large)),
        "it was relayed changed"
    );
    assert_eq!(
        reader.frame().await,
        ServerFrame(BINARY, update(b"behind it"))
    );
}

/// Frames of all sizes, so that writes gather, split and stop everywhere.
fn news(round: u32) -> Bytes {
    let length = match round % 7 {
        0 => 70_000 + round * 13,
        1 => 16_384,
        2 => 2_500,
        _ => round % 1_000,
    };
    Bytes::from(vec![round as u8; length as usize + 1])
}

#[tokio::test]
async fn every_byte_arrives_in_order_however_often_the_reader_stops() {
    const ROUNDS: u32 = 700;
    let pair = new_pair();
    let limits = AdapterOptions {
        outbox_bytes_max: 64 << 20,
        ..behind_tls(&Folder::holding(&pair))
    };
    let (server, rooms) = start(limits);
    let mut reader = join(server.address(), &client(&[&pair]), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    let mut said = 0;
    for heard in 0..ROUNDS {
        // Always some hundred frames ahead: more come while earlier ones are half-written.
        while said < ROUNDS.min(heard + 300) {
            assert_eq!(rooms.broadcast("a", news(said)), [PushResult::Queued]);
            said += 1;
        }
        if heard % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if heard % 10 == 0 {
            reader.send(&masked(PING, b"")).await;
        }
        let wanted = ServerFrame(BINARY, update(&news(heard)));
        loop {
            let frame = reader.frame().await;
            if frame.0 != PONG {
                assert!(frame == wanted, "frame {heard} came changed");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_full_document_stops_the_reading_of_its_writers_but_not_their_hearing() {
    let pair = new_pair();
    let (server, rooms) = start(behind_tls(&Folder::holding(&pair)));
    let mut writer = join(server.address(), &client(&[&pair]), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    rooms.set_full(true);
    let part = masked(BINARY, &update(&[1; 60_000]));
    let mut sent = 0;
    loop {
        // Cut off, the client has encrypted a part of it that is still to be sent.
        match timeout(Duration::from_millis(300), writer.stream.write_all(&part)).await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        sent += 1;
        assert!(
            sent < 1_000,
            "the server reads although the document is full"
        );
    }
    assert!(rooms.state().received.is_empty());
    // More than the kernel takes would wait; this is written while nothing is read.
    rooms.broadcast("a", Bytes::from(vec![3; 200_000]));
    assert!(writer.frame().await == ServerFrame(BINARY, update(&[3; 200_000])));
    rooms.set_full(false);
    let flush = async { writer.stream.flush().await.unwrap() };
    timeout(PATIENCE, flush).await.unwrap();
    until("all that was sent has come", || {
        rooms.state().received.len() >= sent
    })
    .await;
}

#[tokio::test]
async fn a_stopped_reader_holds_a_bounded_queue() {
    let pair = new_pair();
    let limits = AdapterOptions {
        outbox_bytes_max: 100_000,
        ..behind_tls(&Folder::holding(&pair))
    };
    let (server, rooms) = start(limits);
    let mut stopped = join(server.address(), &client(&[&pair]), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    let outbox = rooms.outboxes("a")[0].clone();
    let news = Bytes::from(vec![5; 10_000]);
    let mut queued = 0;
    loop {
        match rooms.broadcast("a", news.clone())[0] {
            PushResult::Queued => queued += 1,
            PushResult::Full => {
                // Full for good, or only until the task has had its turn.
                tokio::time::sleep(Duration::from_millis(100)).await;
                if rooms.broadcast("a", news.clone())[0] == PushResult::Full {
                    break;
                }
                queued += 1;
            }
            PushResult::Closed => panic!("a slow reader is not closed"),
        }
        assert!(queued < 10_000, "the queue has no bound");
    }
    outbox.want_drained(0);
    for _ in 0..queued {
        assert_eq!(stopped.frame().await, ServerFrame(BINARY, update(&news)));
    }
    until("the document is told", || rooms.state().drained == 1).await;
    assert_eq!(outbox.queued_bytes(), 0);
}

#[tokio::test]
async fn a_goodbye_ends_in_a_close_notify() {
    let pair = new_pair();
    let (server, rooms) = start(behind_tls(&Folder::holding(&pair)));
    let mut peer = join(server.address(), &client(&[&pair]), "/ws/a").await;
    let mut bytes = masked(BINARY, &update(b"last words"));
    bytes.extend(masked(CLOSE, &1001_u16.to_be_bytes()));
    peer.send(&bytes).await;
    assert_eq!(
        peer.frame().await,
        ServerFrame(CLOSE, 1001_u16.to_be_bytes().to_vec())
    );
    // The client fails on a stream that was only cut off.
    assert!(peer.rest().await.is_empty());
    assert_eq!(rooms.state().detached, [true]);

    let mut sent_away = join(server.address(), &client(&[&pair]), "/ws/a").await;
    until("it has joined", || rooms.state().attached.len() == 2).await;
    rooms.outboxes("a")[0].close(CloseReason::ShuttingDown);
    let (_, text, _) = sent_away.farewell().await;
    assert!(!text.is_empty());
    assert!(sent_away.rest().await.is_empty());

    let mut refused = connect(server.address(), &client(&[&pair])).await;
    refused
        .send(upgrade_request("/nothing", "").as_bytes())
        .await;
    let answer = String::from_utf8(refused.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn a_peer_that_vanishes_loses_nothing_that_came() {
    let pair = new_pair();
    let (server, rooms) = start(behind_tls(&Folder::holding(&pair)));
    let mut peer = join(server.address(), &client(&[&pair]), "/ws/a").await;
    for round in 0..100_u8 {
        peer.send_update(&[round]).await;
    }
    // Without a close_notify.
    let TlsPeer { stream } = peer;
    let (socket, _) = stream.into_inner();
    drop(socket);
    until("it has left", || rooms.state().detached == [false]).await;
    assert_eq!(rooms.state().received.len(), 100);

    // Behind valid records one that is none.
    let mut peer = join(server.address(), &client(&[&pair]), "/ws/a").await;
    peer.send_update(b"the last one").await;
    let (socket, _) = peer.stream.get_mut();
    socket.write_all(&[23, 3, 3, 0, 30]).await.unwrap();
    socket.write_all(&[0; 30]).await.unwrap();
    until("it was cut off", || rooms.state().detached.len() == 2).await;
    assert_eq!(rooms.state().received.len(), 101);
}
