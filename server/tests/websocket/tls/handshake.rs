//! Who gets through the handshake, and what happens to those who do not.

use std::time::Instant;

use driftless::adapters::AdapterOptions;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{behind_tls, client, client_of, connect, join, new_pair, secure};
use crate::certificates::Folder;
use crate::peer::{PATIENCE, Peer, start, until, upgrade_request};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The head of a record with a ClientHello of 16,000 bytes, which is not all there.
const HELLO_BEGINS: [u8; 9] = [0x16, 3, 1, 0x3e, 0x84, 1, 0, 0x3e, 0x80];

/// Everything until the stream ends or breaks: a close with unread bytes may do either.
async fn all_until_closed(peer: &mut Peer) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, peer.stream.read_to_end(&mut all))
        .await
        .expect("the server keeps the connection");
    all
}

#[tokio::test]
async fn both_versions_are_spoken_and_http_is_chosen() {
    let pair = new_pair();
    let (server, _rooms) = start(behind_tls(&Folder::holding(&pair)));
    for versions in [&[&TLS12], &[&TLS13]] {
        let mut config = client_of(&[&pair], versions);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut peer = connect(server.address(), &config).await;
        let chosen = peer.stream.get_ref().1.alpn_protocol();
        assert_eq!(chosen, Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            let head = peer.request(HEALTH).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let mut body = [0; 3];
            peer.stream.read_exact(&mut body).await.unwrap();
        }
    }
    let mut newer = client(&[&pair]);
    newer.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let refused = secure(socket, &newer).await.unwrap_err();
    assert!(
        refused.to_string().contains("NoApplicationProtocol"),
        "{refused}"
    );
}

#[tokio::test]
async fn who_comes_back_resumes() {
    let pair = new_pair();
    let (server, _rooms) = start(behind_tls(&Folder::holding(&pair)));
    let config = client(&[&pair]);
    let mut first = connect(server.address(), &config).await;
    // Tickets come with the first bytes.
    first.request(HEALTH).await;
    let second = connect(server.address(), &config).await;
    let kind = second.stream.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
}

#[tokio::test]
async fn plain_http_is_told_what_to_use() {
    let (server, rooms) = start(behind_tls(&Folder::holding(&new_pair())));
    for request in [HEALTH, &upgrade_request("/ws/a", "")] {
        let mut peer = Peer::connect(server.address()).await;
        peer.send(request.as_bytes()).await;
        let answer = String::from_utf8(peer.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("https:// or wss://"), "{answer}");
    }
    assert!(rooms.state().attached.is_empty());
}

#[tokio::test]
async fn garbage_is_closed_and_costs_nobody_else() {
    let pair = new_pair();
    let (server, _rooms) = start(behind_tls(&Folder::holding(&pair)));
    let no_hello = [&[0x16, 3, 1, 0, 200][..], &[0xff; 200]].concat();
    let table: [(&str, &[u8]); 4] = [
        ("zeroes", &[0; 64]),
        ("an alert", &[21, 3, 3, 0, 2, 2, 40]),
        ("a record without a hello", &no_hello),
        ("a huge record", &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]),
    ];
    for (what, bytes) in table {
        let mut peer = Peer::connect(server.address()).await;
        peer.send(bytes).await;
        let answer = all_until_closed(&mut peer).await;
        // Nothing, or an alert.
        assert!(answer.is_empty() || answer[0] == 21, "{what}: {answer:?}");
    }
    join(server.address(), &client(&[&pair]), "/ws/a").await;
}

#[tokio::test]
async fn a_client_that_stalls_in_the_handshake_is_closed() {
    let limits = AdapterOptions {
        handshake_timeout_ms: 200,
        ..behind_tls(&Folder::holding(&new_pair()))
    };
    let (server, _rooms) = start(limits);
    for length in [0, 1, 5, HELLO_BEGINS.len()] {
        let mut peer = Peer::connect(server.address()).await;
        peer.send(&HELLO_BEGINS[..length]).await;
        assert!(all_until_closed(&mut peer).await.is_empty());
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_not_gathered() {
    let limits = AdapterOptions {
        // Not what ends it.
        handshake_timeout_ms: 120_000,
        ..behind_tls(&Folder::holding(&new_pair()))
    };
    let (server, _rooms) = start(limits);
    let mut peer = Peer::connect(server.address()).await;
    // Two records of one message that says it has 60,000 bytes.
    let first = [
        &[0x16, 3, 1, 0x3e, 0x84, 1, 0, 0xea, 0x60][..],
        &[7; 16_000],
    ]
    .concat();
    let second = [&[0x16, 3, 1, 0x3e, 0x80][..], &[7; 16_000]].concat();
    peer.send(&[first, second].concat()).await;
    all_until_closed(&mut peer).await;
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_handshakes() {
    let pair = new_pair();
    let (server, _rooms) = start(AdapterOptions {
        handshake_timeout_ms: 60_000,
        ..behind_tls(&Folder::holding(&pair))
    });
    let mut peer = Peer::connect(server.address()).await;
    peer.send(&HELLO_BEGINS).await;
    // Another connection through the same thread: the first one is taken in by then.
    drop(join(server.address(), &client(&[&pair]), "/ws/a").await);
    let before = Instant::now();
    server.stop().await.unwrap();
    assert!(before.elapsed() < PATIENCE);
    assert!(all_until_closed(&mut peer).await.is_empty());
}

#[tokio::test]
async fn what_a_balancer_tells_comes_before_the_handshake() {
    let pair = new_pair();
    let limits = AdapterOptions {
        proxy_protocol_from: vec!["127.0.0.0/8".parse().unwrap()],
        ..behind_tls(&Folder::holding(&pair))
    };
    let (server, rooms) = start(limits);
    let mut plain = Peer::connect(server.address()).await;
    plain
        .send(
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x07\x7f\x00\x00\x01\x10\x00\x20\x00",
        )
        .await;
    let mut peer = Peer {
        stream: secure(plain.stream, &client(&[&pair])).await.unwrap(),
    };
    let head = peer.request(&upgrade_request("/ws/a", "")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    until("it has joined", || {
        rooms.state().origins == ["y-websocket 10.0.0.7:4096"]
    })
    .await;

    let without = TcpStream::connect(server.address()).await.unwrap();
    assert!(secure(without, &client(&[&pair])).await.is_err());
}
