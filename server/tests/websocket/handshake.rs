//! Who gets in, to which document, and what the others are told.

use driftless::session::AttachError;

use crate::peer::{PATIENCE, Peer, answer, options, start, until, upgrade_request};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn the_raw_path_names_the_document() {
    let (server, rooms) = start(options());
    let table = [
        ("/ws/a/b", "a/b"),
        ("/ws/a%2Fb", "a/b"),
        ("/ws/a+b", "a+b"),
        ("/ws/a%20b", "a b"),
        ("/ws/a%252Fb", "a%2Fb"),
        ("/ws//a", "/a"),
        ("/ws/a//b", "a//b"),
        ("/ws/a/", "a/"),
        ("/ws/.", "."),
        ("/ws/a/../b", "a/../b"),
        ("/ws/%C3%A9", "é"),
        ("/ws/a?token=b", "a"),
        ("/ws/a;b=c", "a;b=c"),
        ("/ws/ws/", "ws/"),
    ];
    for (path, name) in table {
        let _peer = Peer::join(server.address(), path).await;
        assert_eq!(
            rooms.state().attached.last().map(String::as_str),
            Some(name),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_bad_name_is_told_in_a_way_that_clients_stop_on() {
    let (server, rooms) = start(options());
    let long = format!("/ws/{}", "a".repeat(513));
    for path in ["/ws/", "/ws/%", "/ws/%zz", "/ws/%ff", &long] {
        let mut peer = Peer::join(server.address(), path).await;
        let (code, text, denied) = peer.farewell().await;
        assert_eq!((code, denied), (4400, Some(text.clone())), "{path}");
        assert!(text.contains("document name"), "{text}");
        let plain = answer(server.address(), &get(path)).await;
        assert!(plain.starts_with("HTTP/1.1 400 "), "{plain}");
    }
    assert!(rooms.state().attached.is_empty());
}

#[tokio::test]
async fn a_document_that_cannot_be_joined_is_told_as_a_reason_to_retry() {
    let (server, rooms) = start(options());
    let table = [
        (AttachError::ShuttingDown, 4512),
        (AttachError::Unavailable, 4503),
        (AttachError::DocumentFull, 4529),
        (AttachError::IdentityFull, 4529),
    ];
    for (error, wanted) in table {
        rooms.state().refuse = Some(error);
        let mut peer = Peer::join(server.address(), "/ws/a").await;
        let (code, text, denied) = peer.farewell().await;
        assert_eq!((code, denied), (wanted, None));
        assert_eq!(text, error.to_string());
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_by_a_text_that_names_the_setting() {
    let allow_origins = vec!["https://app.example.com".to_owned()];
    let (server, _) = start(driftless::adapters::AdapterOptions {
        allow_origins,
        insecure_open: true,
        ..options()
    });
    let table = [
        ("https://app.example.com", "101"),
        ("https://sync.example.com", "101"),
        ("http://localhost:5173", "101"),
        ("https://evil.example", "403"),
        ("null", "403"),
    ];
    for (origin, status) in table {
        let mut peer = Peer::connect(server.address()).await;
        let request = upgrade_request("/ws/a", &format!("Origin: {origin}\r\n"));
        let head = peer.request(&request).await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{origin}: {head}"
        );
        if status == "403" {
            let text = String::from_utf8(peer.rest().await).unwrap();
            assert!(text.contains("allow_origin"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_page_whose_name_was_made_to_lead_here_is_refused_unless_all_are_let_in() {
    for (insecure_open, status) in [(false, "403"), (true, "101")] {
        let (server, _) = start(driftless::adapters::AdapterOptions {
            insecure_open,
            ..options()
        });
        // Host and Origin are of one name.
        let request = upgrade_request("/ws/a", "Origin: http://sync.example.com\r\n");
        let mut peer = Peer::connect(server.address()).await;
        let head = peer.request(&request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}

#[tokio::test]
async fn the_first_subprotocol_on_offer_is_chosen() {
    let (server, _) = start(options());
    for (offered, chosen) in [("one, two", Some("one")), ("one", Some("one")), ("", None)] {
        let mut peer = Peer::connect(server.address()).await;
        let headers = format!("Sec-WebSocket-Protocol: {offered}\r\n");
        let head = peer
            .request(&upgrade_request("/ws/a", &headers))
            .await
            .to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let line = chosen.map(|name| format!("sec-websocket-protocol: {name}\r\n"));
        assert_eq!(
            head.contains("sec-websocket-protocol"),
            line.is_some(),
            "{head}"
        );
        assert!(line.is_none_or(|line| head.contains(&line)), "{head}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_explained() {
    let (server, _) = start(options());
    let good = upgrade_request("/ws/a", "");
    let table = [
        (good.replace("GET", "POST"), "405"),
        (good.replace("Sec-WebSocket-Version: 13\r\n", ""), "400"),
        (good.replace("Version: 13", "Version: 8"), "426"),
        (
            good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            "400",
        ),
        (good.replace("Connection: Upgrade\r\n", ""), "400"),
        (good.replace("/ws/a", "/elsewhere"), "404"),
    ];
    for (request, status) in table {
        let text = answer(server.address(), &request).await;
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}\n{text}"
        );
        assert!(text.to_lowercase().contains("connection: close"), "{text}");
    }
}

#[tokio::test]
async fn both_limits_answer_with_a_status_and_leaving_makes_room() {
    let limits = driftless::adapters::AdapterOptions {
        connections_max: 2,
        connections_per_address_max: 1,
        ..options()
    };
    let (server, rooms) = start(limits);
    let first = Peer::join(server.address(), "/ws/a").await;
    let text = answer(server.address(), &upgrade_request("/ws/a", "")).await;
    assert!(text.starts_with("HTTP/1.1 429 "), "{text}");
    assert!(text.contains("connections_per_address_max"), "{text}");
    drop(first);
    until("the first has left", || !rooms.state().detached.is_empty()).await;
    let mut peer = Peer::connect(server.address()).await;
    until_joined(&mut peer, server.address()).await;

    let (server, _) = start(driftless::adapters::AdapterOptions {
        connections_max: 0,
        ..options()
    });
    let text = answer(server.address(), &upgrade_request("/ws/a", "")).await;
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.contains("retry-after: 5"), "{text}");
}

/// The count goes down a moment after the session has left.
async fn until_joined(peer: &mut Peer, address: std::net::SocketAddr) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        let head = peer.request(&upgrade_request("/ws/a", "")).await;
        if head.starts_with("HTTP/1.1 101 ") {
            return;
        }
        *peer = Peer::connect(address).await;
    }
    panic!("no room was made");
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let limits = driftless::adapters::AdapterOptions {
        handshake_timeout_ms: 100,
        ..options()
    };
    let (server, _) = start(limits);
    let mut peer = Peer::connect(server.address()).await;
    peer.send(b"GET /ws/a HTTP/1.1\r\nHost: ").await;
    let text = String::from_utf8(peer.rest().await).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
}

#[tokio::test]
async fn plain_requests_are_answered_helpfully() {
    let (server, _) = start(options());
    let table = [
        ("/healthz", "200", "ok"),
        ("/readyz", "200", r#"{"store":"ok"}"#),
        ("/metrics", "404", "not recorded"),
        ("/ws/a", "426", "WebsocketProvider"),
        ("/", "404", "/ws/{document}"),
        ("/ws", "404", "/healthz"),
    ];
    for (path, status, contains) in table {
        let text = answer(server.address(), &get(path)).await;
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {text}"
        );
        assert!(text.contains(contains), "{path}: {text}");
    }
    let text = answer(server.address(), &get("/ws/a")).await;
    assert!(text.to_lowercase().contains("upgrade: websocket"), "{text}");
}
