//! How connections are kept, and how they end: goodbyes, breaks, silence, and a stopping server.

use std::time::{Duration, Instant};

use driftless::adapters::AdapterOptions;
use driftless_proto::engine::CloseReason;
use tokio::net::TcpStream;

use crate::hocuspocus::start as start_asking;
use crate::peer::{
    BINARY, CLOSE, PATIENCE, PING, PONG, Peer, ServerFrame, masked, options, start, until, update,
};
use crate::provider::{Application, Provider, Say, denied};

#[tokio::test]
async fn a_goodbye_is_answered_after_all_that_came_before_it() {
    let (server, rooms) = start(options());
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    let mut bytes = masked(BINARY, &update(b"last words"));
    bytes.extend(masked(CLOSE, &1001_u16.to_be_bytes()));
    peer.send(&bytes).await;
    assert_eq!(
        peer.frame().await,
        ServerFrame(CLOSE, 1001_u16.to_be_bytes().to_vec())
    );
    assert!(peer.rest().await.is_empty());
    let state = rooms.state();
    assert_eq!(state.received, [&b"last words"[..]]);
    assert_eq!(state.detached, [true]);
}

#[tokio::test]
async fn a_broken_connection_is_not_clean_and_loses_nothing_that_came() {
    let (server, rooms) = start(options());
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    for round in 0..100_u8 {
        peer.send_update(&[round]).await;
    }
    drop(peer);
    until("it has left", || rooms.state().detached == [false]).await;
    assert_eq!(rooms.state().received.len(), 100);
}

#[tokio::test]
async fn words_before_a_goodbye_wait_for_a_full_document() {
    let limits = AdapterOptions {
        close_timeout_ms: 100,
        ..options()
    };
    let (server, rooms) = start(limits);
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    rooms.set_full(true);
    peer.send_update(b"last words").await;
    drop(peer);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(rooms.state().detached.is_empty());
    rooms.set_full(false);
    until("it has left", || rooms.state().detached == [false]).await;
    assert_eq!(rooms.state().received, [&b"last words"[..]]);
}

#[tokio::test]
async fn a_session_that_is_ended_is_told_why_after_its_frames() {
    let (server, rooms) = start(options());
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    let outbox = rooms.outboxes("a").remove(0);
    rooms.broadcast("a", bytes::Bytes::from_static(b"last news"));
    outbox.close(CloseReason::Deleted);
    assert_eq!(
        peer.frame().await,
        ServerFrame(BINARY, update(b"last news"))
    );
    let (code, text, denied) = peer.farewell().await;
    assert_eq!((code, denied), (4404, Some(text.clone())));
    assert!(text.contains("deleted"));
    // What is sent before the goodbye is read still counts.
    peer.send_update(b"crossed").await;
    until("it has come", || {
        rooms.state().received == [&b"crossed"[..]]
    })
    .await;
    assert!(peer.rest().await.is_empty());
    drop(peer);
    until("it has left", || rooms.state().detached.len() == 1).await;
}

#[tokio::test]
async fn a_quiet_connection_is_kept_alive_and_pinged() {
    let times = AdapterOptions {
        keepalive_ms: 60,
        peer_timeout_ms: 6_000,
        ..options()
    };
    let (server, rooms) = start(times);
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    let (mut keepalives, mut pings) = (0, 0);
    // The second ping comes when it would have been given up.
    while keepalives < 3 || pings < 2 {
        match peer.frame().await {
            ServerFrame(PING, payload) => {
                pings += 1;
                peer.send(&masked(PONG, &payload)).await;
            }
            ServerFrame(first, payload) => {
                // An awareness update of nobody.
                assert_eq!((first, &payload[..]), (BINARY, &[1, 1, 0][..]));
                keepalives += 1;
            }
        }
    }
    assert!(rooms.state().detached.is_empty());
}

#[tokio::test]
async fn pongs_and_pings_put_off_no_keep_alive() {
    let times = AdapterOptions {
        keepalive_ms: 200,
        ..options()
    };
    let (server, _rooms) = start(times);
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    let begun = Instant::now();
    // The watchdog of a page does not see what answers these.
    loop {
        peer.send(&masked(PING, b"")).await;
        if peer.frame().await.0 == BINARY {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no message comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_connection_of_an_old_provider_without_a_document_is_kept_alive() {
    let application = Application::start().await;
    let server = start_asking(&application, &["--keepalive-ms=1s"]);
    let mut provider = Provider::connect(server.address).await;
    provider.say("a", Say::OldToken("none")).await;
    provider.until("a", &denied("permission-denied")).await;
    // Its watchdog counts messages, of whichever document.
    let (address, said) = provider.hear().await;
    assert_eq!((&*address, &said[..]), ("", &[1, 1, 0][..]));
}

#[tokio::test]
async fn clients_of_y_sweet_are_not_left_in_silence_while_their_token_is_judged() {
    let application = Application::start().await;
    // They wait for five seconds.
    let server = start_asking(&application, &["--keepalive-ms=29s"]);
    application.hold(true);
    let mut peer = Peer::join(server.address, "/d/plan/ws/plan?token=write").await;
    assert_eq!(peer.frame().await, ServerFrame(BINARY, vec![1, 1, 0]));
    application.hold(false);
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_given_up() {
    let times = AdapterOptions {
        keepalive_ms: 60,
        peer_timeout_ms: 300,
        ..options()
    };
    let (server, rooms) = start(times);
    let mut peer = Peer::join(server.address(), "/ws/a").await;
    let (code, _, denied) = peer.farewell().await;
    assert_eq!((code, denied), (4508, None));
    until("it has left", || rooms.state().detached == [false]).await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up_in_the_end() {
    let times = AdapterOptions {
        write_timeout_ms: 300,
        ..options()
    };
    let (server, rooms) = start(times);
    let _peer = Peer::join(server.address(), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    let news = bytes::Bytes::from(vec![1; 1 << 20]);
    until("it has left", || {
        rooms.broadcast("a", news.clone());
        rooms.state().detached == [false]
    })
    .await;
}

#[tokio::test]
async fn a_stopping_server_says_so_and_gives_its_port_back() {
    let (server, rooms) = start(options());
    let address = server.address();
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(Peer::join(address, "/ws/a").await);
    }
    let stop = tokio::spawn(server.stop());
    for peer in &mut peers {
        let (code, _, denied) = peer.farewell().await;
        assert_eq!((code, denied), (4512, None));
    }
    for peer in &mut peers {
        peer.send_update(b"crossed").await;
    }
    drop(peers);
    stop.await.unwrap().unwrap();
    assert_eq!(rooms.state().received.len(), 20);
    assert_eq!(rooms.state().detached.len(), 20);
    assert!(TcpStream::connect(address).await.is_err());
    let (again, _) = start(AdapterOptions {
        listen: address,
        ..options()
    });
    Peer::join(again.address(), "/ws/a").await;
}

#[tokio::test]
async fn peers_that_do_not_leave_cannot_hold_a_stopping_server() {
    let times = AdapterOptions {
        shutdown_timeout_ms: 1_000,
        ..options()
    };
    let (server, rooms) = start(times);
    let _stays = Peer::join(server.address(), "/ws/a").await;
    until("it has joined", || !rooms.state().attached.is_empty()).await;
    server.stop().await.unwrap();
    until("it has left", || rooms.state().detached == [false]).await;
}
