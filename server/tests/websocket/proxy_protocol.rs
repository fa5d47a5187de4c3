//! Whose connection it is behind a balancer that tells it by the PROXY protocol.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use driftless::adapters::AdapterOptions;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::binary::Binary;
use crate::peer::{PATIENCE, Peer, answer, options, start, until, upgrade_request};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The balancer speaks for itself.
pub(crate) const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// A header that tells this source.
pub(crate) fn told(source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let (family, address) = match source {
        SocketAddr::V4(source) => (0x11, source.ip().octets().to_vec()),
        SocketAddr::V6(source) => (0x21, source.ip().octets().to_vec()),
    };
    let to = vec![1; address.len()];
    let ports = [source.port().to_be_bytes(), [0, 80]].concat();
    // An extension of a kind for private use; nobody here knows it.
    let rest = [address, to, ports, b"\xe0\x00\x03abc".to_vec()].concat();
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x21, family], &length, &rest].concat()
}

pub(crate) fn behind_balancer() -> AdapterOptions {
    AdapterOptions {
        proxy_protocol_from: vec!["127.0.0.0/8".parse().unwrap()],
        ..options()
    }
}

/// Connects, sends this first, then asks for a WebSocket: the peer and the head of the answer.
async fn join(address: SocketAddr, first: &[u8]) -> (Peer, String) {
    let mut peer = Peer::connect(address).await;
    peer.send(first).await;
    let head = peer.request(&upgrade_request("/ws/a", "")).await;
    (peer, head)
}

/// Everything until the stream ends or breaks: a close with unread bytes may do either.
async fn all_until_closed(peer: &mut Peer) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, peer.stream.read_to_end(&mut all))
        .await
        .expect("the server keeps the connection");
    all
}

#[tokio::test]
async fn the_told_address_is_where_edits_come_from_and_what_limits_count() {
    let (server, rooms) = start(AdapterOptions {
        connections_per_address_max: 1,
        ..behind_balancer()
    });
    let table = [
        ("10.0.0.1:1001", "101"),
        ("10.0.0.1:1002", "429"),
        ("10.0.0.2:1003", "101"),
        // One client, whichever family its balancer writes it in.
        ("[::ffff:10.0.0.2]:1004", "429"),
        ("[2001:db8::1]:1005", "101"),
    ];
    let mut peers = Vec::new();
    for (source, status) in table {
        let (peer, head) = join(server.address(), &told(source)).await;
        let wanted = format!("HTTP/1.1 {status} ");
        assert!(head.starts_with(&wanted), "{source}: {head}");
        peers.push(peer);
    }
    let (own, head) = join(server.address(), LOCAL).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let wanted = [
        "y-websocket 10.0.0.1:1001".to_owned(),
        "y-websocket 10.0.0.2:1003".to_owned(),
        "y-websocket [2001:db8::1]:1005".to_owned(),
        format!("y-websocket {}", own.stream.local_addr().unwrap()),
    ];
    assert_eq!(rooms.state().origins, wanted);
    drop(peers);
    until("they have left", || rooms.state().detached.len() == 3).await;
}

#[tokio::test]
async fn a_header_in_pieces_and_what_comes_with_it_arrive() {
    let (server, rooms) = start(behind_balancer());
    let mut peer = Peer::connect(server.address()).await;
    peer.stream.set_nodelay(true).unwrap();
    for byte in told("10.0.0.1:1001") {
        peer.send(&[byte]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let head = peer.request(&upgrade_request("/ws/a", "")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");

    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut peer = Peer::connect(server.address()).await;
    peer.send(&[&told("10.0.0.2:1002")[..], request].concat())
        .await;
    let head = peer.request("").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(rooms.state().origins, ["y-websocket 10.0.0.1:1001"]);
}

#[tokio::test]
async fn balancers_that_open_with_anything_else_are_closed_without_an_answer() {
    let (server, rooms) = start(behind_balancer());
    let request = upgrade_request("/ws/a", "");
    let unknown_family = [SIGNATURE, b"\x21\x41\x00\x00"].concat();
    let huge = [SIGNATURE, b"\x21\x11\xff\xff"].concat();
    let table: [(&str, &[u8]); 5] = [
        ("a request", request.as_bytes()),
        ("version 1", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"),
        ("one byte", b"G"),
        ("an unknown family", &unknown_family),
        ("a huge length", &huge),
    ];
    for (what, bytes) in table {
        let mut peer = Peer::connect(server.address()).await;
        peer.send(bytes).await;
        assert!(all_until_closed(&mut peer).await.is_empty(), "{what}");
    }
    assert!(rooms.state().origins.is_empty());
}

#[tokio::test]
async fn a_header_that_does_not_end_is_waited_for_as_long_as_a_request() {
    let limits = AdapterOptions {
        handshake_timeout_ms: 100,
        ..behind_balancer()
    };
    let (server, _) = start(limits);
    let mut peer = Peer::connect(server.address()).await;
    peer.send(&SIGNATURE[..5]).await;
    assert!(all_until_closed(&mut peer).await.is_empty());
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_headers() {
    let (server, _) = start(AdapterOptions {
        handshake_timeout_ms: 60_000,
        ..behind_balancer()
    });
    let mut peer = Peer::connect(server.address()).await;
    peer.send(&SIGNATURE[..5]).await;
    // Another connection through the same thread: the first one is taken in by then.
    let (other, _) = join(server.address(), LOCAL).await;
    drop(other);
    let before = Instant::now();
    server.stop().await.unwrap();
    assert!(before.elapsed() < PATIENCE);
    assert!(all_until_closed(&mut peer).await.is_empty());
}

#[tokio::test]
async fn nobody_outside_the_list_can_tell_an_address() {
    let elsewhere = AdapterOptions {
        proxy_protocol_from: vec!["127.0.0.2/32".parse().unwrap(), "::1/128".parse().unwrap()],
        ..options()
    };
    for options in [options(), elsewhere] {
        let (server, rooms) = start(options);
        let (_, head) = join(server.address(), &told("10.0.0.1:1001")).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        let peer = Peer::join(server.address(), "/ws/a").await;
        let own = format!("y-websocket {}", peer.stream.local_addr().unwrap());
        assert_eq!(rooms.state().origins, [own]);
    }
}

#[tokio::test]
async fn the_real_server_takes_the_setting() {
    let binary = Binary::start(&[
        "--proxy-protocol-from",
        "10.0.0.0/8,127.0.0.1",
        "--connections-per-address-max",
        "1",
        "--log",
        "info,driftless::adapters=debug",
    ]);
    let (_first, head) = join(binary.address, &told("10.0.0.1:1001")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_second, head) = join(binary.address, &told("10.0.0.1:1002")).await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    let (_third, head) = join(binary.address, &told("10.0.0.2:1003")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");

    let mut without = Peer::connect(binary.address).await;
    without.send(upgrade_request("/ws/a", "").as_bytes()).await;
    assert!(all_until_closed(&mut without).await.is_empty());
    until("the log says what to do", || {
        let lines = binary.lines();
        lines.iter().any(|line| line.contains("send-proxy-v2"))
    })
    .await;

    let mut scrape = Peer::connect(binary.address).await;
    scrape.send(LOCAL).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    scrape.send(request.as_bytes()).await;
    let metrics = String::from_utf8(scrape.rest().await).unwrap();
    let counted = r#"driftless_proxy_headers_refused_total{reason="signature"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn the_real_server_reads_no_header_without_the_setting() {
    let binary = Binary::start(&[]);
    let (_, head) = join(binary.address, &told("10.0.0.1:1001")).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    let text = answer(binary.address, &upgrade_request("/elsewhere", "")).await;
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
}
