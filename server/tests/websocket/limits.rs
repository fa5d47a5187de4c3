//! Who takes more than there is for one: slowed down, sent away or cut off, beside peers who notice none of it.

use std::time::{Duration, Instant};

use driftless::adapters::{AdapterOptions, Limits};

use crate::binary::Binary;
use crate::peer::{
    BINARY, CLOSE, PING, PONG, Peer, ServerFrame, masked, start, until, upgrade_request,
};
use crate::proxy_protocol::{behind_balancer, told};

/// Far more than the ten at once and the one in a second that these servers allow.
const JOINS: usize = 40;

fn with(limits: Limits) -> AdapterOptions {
    AdapterOptions {
        limits,
        ..behind_balancer()
    }
}

/// Connects as from this address; the head of the answer.
pub(crate) async fn connect(
    server: std::net::SocketAddr,
    from: &str,
    path: &str,
) -> (Peer, String) {
    let mut peer = Peer::connect(server).await;
    peer.send(&told(from)).await;
    let head = peer.request(&upgrade_request(path, "")).await;
    (peer, head)
}

/// True when the server closed instead of answering a ping; with which code.
pub(crate) async fn is_refused(peer: &mut Peer) -> Option<u16> {
    peer.send(&masked(PING, b"")).await;
    loop {
        match peer.frame().await {
            ServerFrame(CLOSE, payload) => {
                return Some(u16::from_be_bytes([payload[0], payload[1]]));
            }
            ServerFrame(PONG, _) => return None,
            ServerFrame(..) => {}
        }
    }
}

/// A frame of a Hocuspocus provider that shows a token for a document.
fn token(document: &str, token: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let payload = [text(document), vec![2, 0], text(token)].concat();
    masked(BINARY, &payload)
}

#[tokio::test]
async fn a_fast_writer_is_read_at_its_rate_and_loses_nothing() {
    for limits in [
        Limits {
            connection_bytes_per_second_max: 100_000,
            ..Limits::default()
        },
        Limits {
            connection_messages_per_second_max: 10,
            ..Limits::default()
        },
    ] {
        let (server, rooms) = start(with(limits));
        let (mut writer, head) = connect(server.address(), "10.0.0.1:1", "/ws/a").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let started = Instant::now();
        for round in 0..60_u8 {
            writer.send_update(&[round; 10_000]).await;
        }
        until("all has come", || rooms.state().received.len() == 60).await;
        // 4 seconds' worth is read at once, and what two reads brought before they were counted.
        assert!(started.elapsed() > Duration::from_millis(500));
        let state = rooms.state();
        assert!((0..60_u8).eq(state.received.iter().map(|update| update[0])));
        assert!(state.detached.is_empty());
    }
}

#[tokio::test]
async fn a_message_that_drips_ends_its_connection_and_a_slow_upload_does_not() {
    let (server, rooms) = start(with(Limits {
        frame_timeout_ms: 500,
        ..Limits::default()
    }));
    let (mut slow, _) = connect(server.address(), "10.0.0.1:1", "/ws/a").await;
    let whole = masked(BINARY, &crate::peer::update(&[7; 40_000]));
    for part in whole.chunks(8_000) {
        slow.send(part).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    until("it is whole", || rooms.state().received.len() == 1).await;
    let (mut dripping, _) = connect(server.address(), "10.0.0.1:2", "/ws/a").await;
    dripping.send(&whole[..20]).await;
    // What is between the fragments of a message, or whole, is no progress of it.
    dripping.send(&whole[20..21]).await;
    let (code, text, denied) = dripping.farewell().await;
    assert_eq!((code, denied), (4508, None));
    assert!(text.contains("frame_timeout_ms"), "{text}");
    // Who begins no message has all the time there is.
    assert_eq!(is_refused(&mut slow).await, None);
}

#[tokio::test]
async fn those_without_a_document_have_their_own_room_and_leave_it_when_they_open_one() {
    let (server, _) = start(with(Limits {
        unauthenticated_connections_max: 3,
        unauthenticated_connections_per_address_max: 2,
        ..Limits::default()
    }));
    let knock = async |from| connect(server.address(), from, "/hocuspocus").await;
    let (mut first, head) = knock("10.0.0.1:1").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_second, _) = knock("10.0.0.1:2").await;
    let (_, head) = knock("10.0.0.1:3").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert!(head.to_lowercase().contains("retry-after: "), "{head}");
    let (_third, _) = knock("10.0.0.2:1").await;
    let (_, head) = knock("10.0.0.3:1").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    // What is opened with the request needs no room to wait in.
    let (_other, head) = connect(server.address(), "10.0.0.1:4", "/ws/a").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    first.send(&token("a", "")).await;
    first.frame().await;
    let mut fourth = loop {
        // It leaves the room a moment after it is answered.
        let (peer, head) = knock("10.0.0.1:5").await;
        if head.starts_with("HTTP/1.1 101 ") {
            break peer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // Nor may they have the server hold a large frame.
    let mut head = vec![BINARY, 0x80 | 127];
    head.extend((4_u64 << 20).to_be_bytes());
    fourth.send(&head).await;
    assert_eq!(fourth.farewell().await.0, 1009);
}

#[tokio::test]
async fn a_flood_of_joins_is_refused_in_words_that_clients_come_back_after() {
    let (server, rooms) = start(with(Limits {
        joins_per_second_max: 1,
        ..Limits::default()
    }));
    let mut refused = Vec::new();
    for round in 0..JOINS {
        let path = format!("/ws/none-{round}");
        let (mut peer, _) = connect(server.address(), "10.0.0.1:1", &path).await;
        refused.extend(is_refused(&mut peer).await);
    }
    assert!(refused.len() >= 2, "{refused:?}");
    assert!(refused.iter().all(|code| *code == 4529));
    assert_eq!(rooms.state().attached.len(), JOINS - refused.len());
    let (mut many, _) = connect(server.address(), "10.0.0.2:1", "/hocuspocus").await;
    for round in 0..JOINS {
        many.send(&token(&format!("none-{round}"), "")).await;
    }
    let mut words = Vec::new();
    while words.len() < JOINS {
        let ServerFrame(_, payload) = many.frame().await;
        words.push(String::from_utf8_lossy(&payload).into_owned());
    }
    let too_many = words.iter().filter(|word| word.contains("too-many-joins"));
    assert!(too_many.count() >= 2, "{words:?}");
    let (mut elsewhere, _) = connect(server.address(), "10.0.0.3:1", "/ws/a").await;
    assert_eq!(is_refused(&mut elsewhere).await, None);
}

#[tokio::test]
async fn calls_of_the_y_sweet_door_count_as_joins() {
    let binary = Binary::start(&[
        "--proxy-protocol-from=127.0.0.1",
        "--joins-per-second-max=1",
    ]);
    let call = async |from: &str, head: &str| {
        let mut peer = Peer::connect(binary.address).await;
        peer.send(&told(from)).await;
        let request = format!(
            "{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        peer.send(request.as_bytes()).await;
        String::from_utf8_lossy(&peer.rest().await).to_lowercase()
    };
    let calls = [
        ("POST /doc/new", "10.0.0.1:1"),
        ("POST /doc/plan/auth", "10.0.0.2:1"),
        ("GET /d/plan/as-update", "10.0.0.3:1"),
        ("GET /doc/plan/as-update", "10.0.0.4:1"),
        ("POST /d/plan/update", "10.0.0.5:1"),
    ];
    let mut refused = 0;
    for (head, from) in calls {
        let mut answers = Vec::new();
        for _ in 0..JOINS {
            answers.push(call(from, head).await);
        }
        let late: Vec<_> = answers
            .iter()
            .filter(|answer| answer.starts_with("http/1.1 429 "))
            .collect();
        assert!(
            (2..=JOINS - 10).contains(&late.len()),
            "{head}: {answers:?}"
        );
        assert!(!answers[0].starts_with("http/1.1 429 "));
        let one = late[0];
        assert!(one.contains("\nretry-after: 5"), "{one}");
        assert!(one.contains("joins_per_second_max"), "{one}");
        refused += late.len();
    }
    // One rate for an address, whichever door it comes through.
    let (mut flooder, _) = connect(binary.address, "10.0.0.1:2", "/ws/plan").await;
    let code = is_refused(&mut flooder).await;
    assert!(code.is_none_or(|code| code == 4529), "{code:?}");
    refused += usize::from(code.is_some());
    assert!(
        call("10.0.0.9:1", "GET /d/plan/as-update")
            .await
            .starts_with("http/1.1 200 ")
    );
    // What touches no document is free.
    for head in ["POST /check_store", "GET /check_store", "GET /ready"] {
        for _ in 0..15 {
            let answer = call("10.0.0.10:1", head).await;
            assert!(answer.starts_with("http/1.1 200 "), "{head}: {answer}");
            assert!(answer.ends_with("{\"ok\":true}"), "{head}: {answer}");
        }
    }
    let metrics = call("10.0.0.10:1", "GET /metrics").await;
    let counted = format!("driftless_refused_total{{reason=\"joins_per_second\"}} {refused}\n");
    assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
}
