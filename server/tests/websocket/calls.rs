//! Calls over plain HTTP against the real server: what they may hold, for how long, and whose pages may
//! make them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact};

use crate::binary::Binary;
use crate::limits::connect;
use crate::peer::{PATIENCE, Peer};
use crate::proxy_protocol::{LOCAL, told};

/// Nobody here sends so much.
const LONG: usize = 30 << 20;

/// What one address may have.
const CALLS_PER_ADDRESS_MAX: usize = 128;

const STALLED: usize = CALLS_PER_ADDRESS_MAX + 12;

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").into()
}

/// The head of an update of this many bytes.
fn post(path: &str, bytes: usize, headers: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {bytes}\r\n{headers}\r\n"
    )
    .into()
}

/// An update that makes a text of this length.
fn text(length: u32) -> Vec<u8> {
    let doc = Doc::new();
    let text = doc.get_or_insert_text("text");
    text.push(&mut doc.transact_mut(), &"x".repeat(length as usize));
    let transaction = doc.transact();
    transaction.encode_state_as_update_v1(&StateVector::default())
}

/// What these parts are answered, each sent after a while.
async fn answer(server: SocketAddr, parts: &[&[u8]]) -> String {
    let mut peer = Peer::connect(server).await;
    for part in parts {
        peer.send(part).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rest(&mut peer).await
}

/// All until the server closes; with unread bytes that may look like a break.
async fn rest(peer: &mut Peer) -> String {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, peer.stream.read_to_end(&mut rest))
        .await
        .expect("the server answers and closes");
    String::from_utf8_lossy(&rest).into_owned()
}

fn assert_status(status: &str, answer: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
}

#[tokio::test]
async fn nobody_is_read_before_it_is_known_who_it_is() {
    let binary = Binary::start(&[
        "--auth-secret=a secret that is thirty-two bytes or longer",
        "--handshake-timeout-ms=3s",
    ]);
    let head = post("/d/a/update", LONG, "");
    let told = answer(binary.address, &[&head, b"\0"]).await;
    assert_status("401", &told);
    // Nor is it read for ever afterwards.
    let chunked =
        "POST /d/a/update HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut peer = Peer::connect(binary.address).await;
    peer.send(chunked.as_bytes()).await;
    let drip = async {
        while peer.stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let dripped = timeout(PATIENCE, drip).await;
    dripped.expect("the server closes");
}

#[tokio::test]
async fn a_body_has_its_time_and_its_size() {
    let binary = Binary::start(&["--frame-timeout-ms=1s"]);
    let server = binary.address;
    let told = answer(server, &[&post("/d/a/update", 40_000, ""), b"\0"]).await;
    assert_status("408", &told);
    assert!(told.contains("frame_timeout_ms"), "{told}");
    let update = text(40_000);
    let head = post("/d/a/update", update.len(), "");
    let (first, more) = update.split_at(2_500);
    let first = [&head[..], first].concat();
    let mut slow = vec![first.as_slice()];
    // Longer than the time for the first byte.
    slow.extend(more.chunks(2_500));
    assert_status("200", &answer(server, &slow).await);
    let told = answer(server, &[&post("/d/a/update", 4 << 30, "")]).await;
    assert_status("413", &told);
    let told = answer(server, &[&post("/doc/new", 17 << 10, "")]).await;
    assert_status("413", &told);
    let stored = answer(server, &[&get("/d/a/as-update", "")]).await;
    assert_status("200", &stored);
    assert!(stored.contains(&"x".repeat(40_000)));
}

#[tokio::test]
async fn calls_that_stall_take_room_from_nobody_else() {
    let binary = Binary::start(&["--proxy-protocol-from=127.0.0.1"]);
    let server = binary.address;
    let call = async |from: &str, request: &[u8]| {
        let mut peer = Peer::connect(server).await;
        peer.send(&told(from)).await;
        peer.send(request).await;
        peer
    };
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(call("10.0.0.1:1", &post("/d/a/update", LONG, "")).await);
    }
    let metrics = async || {
        let mut peer = Peer::connect(server).await;
        peer.send(LOCAL).await;
        peer.send(&get("/metrics", "")).await;
        rest(&mut peer).await
    };
    // Whoever asks before all of these are in would sit on the room of one of them.
    let counted = format!(
        "connections_refused_total{{reason=\"http_connections_per_address\"}} {}\n",
        STALLED - CALLS_PER_ADDRESS_MAX
    );
    until_answered(async || metrics().await.contains(&counted).then(String::new)).await;
    let mut peer = call("10.0.0.1:1", &get("/ready", "")).await;
    let refused = rest(&mut peer).await;
    assert_status("429", &refused);
    assert!(
        refused.to_lowercase().contains("retry-after: "),
        "{refused}"
    );
    let mut peer = call("10.0.0.1:1", &get("/healthz", "")).await;
    assert_status("200", &rest(&mut peer).await);
    let mut peer = call("10.0.0.2:1", &get("/d/a/as-update", "")).await;
    assert_status("200", &rest(&mut peer).await);
    let (_socket, head) = connect(server, "10.0.0.1:1", "/ws/a").await;
    assert_status("101", &head);
    drop(stalled);
    let again = until_answered(async || {
        let mut peer = call("10.0.0.1:1", &get("/d/a/as-update", "")).await;
        let told = rest(&mut peer).await;
        told.starts_with("HTTP/1.1 200 ").then_some(told)
    });
    again.await;
}

/// What is asked again and again is answered at last.
async fn until_answered(ask: impl AsyncFn() -> Option<String>) -> String {
    let asking = async {
        loop {
            match ask().await {
                Some(told) => break told,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("an answer in time")
}

#[tokio::test]
async fn pages_of_strangers_neither_write_nor_read_an_open_server() {
    let named = ["--allow-origin=https://app.example.com"];
    let update = text(3);
    for (flags, rebound) in [(&named[..], "403"), (&["--insecure-open"][..], "200")] {
        let binary = Binary::start(flags);
        let server = binary.address;
        let write = async |headers: &str| {
            let head = post("/d/a/update", update.len(), headers);
            answer(server, &[&[&head[..], &update].concat()]).await
        };
        let refused = write("Origin: https://evil.example\r\n").await;
        assert_status("403", &refused);
        assert!(refused.contains("allow_origin"), "{refused}");
        let state = answer(server, &[&get("/d/a/as-update", "")]).await;
        assert!(state.ends_with("\r\n\r\n\0\0"), "{state}");
        // A page of a name that leads here writes with its name, and reads without.
        for headers in ["Origin: http://evil.example:8080\r\n", ""] {
            let call = get("/d/a/as-update", headers);
            let call = String::from_utf8(call).unwrap();
            let call = call.replace("Host: localhost", "Host: evil.example:8080");
            let told = answer(server, &[call.as_bytes()]).await;
            assert_status(rebound, &told);
            assert_eq!(rebound == "403", told.contains("allow_origin"), "{told}");
        }
        let written = write("Origin: http://localhost:5173\r\n").await;
        assert_status("200", &written);
    }
}

/// The body of the first question to a hook.
async fn question(hook: TcpListener) -> String {
    let (stream, _) = hook.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn the_application_is_told_an_address_of_ipv4_as_one() {
    for path in ["/d/a/as-update", "/ws/a"] {
        let hook = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("--auth-hook-url=http://{}/", hook.local_addr().unwrap());
        let secret = "--auth-hook-secret=a secret that is thirty-two bytes or longer";
        let binary = Binary::start(&["--proxy-protocol-from=127.0.0.1", &url, secret]);
        // As it comes to a listener of both kinds.
        let from = told("[::ffff:203.0.113.7]:1");
        let mut peer = Peer::connect(binary.address).await;
        peer.send(&from).await;
        let request = match path.starts_with("/ws") {
            true => crate::peer::upgrade_request(path, "").into_bytes(),
            false => get(path, ""),
        };
        peer.send(&request).await;
        let asked = timeout(PATIENCE, question(hook)).await.unwrap();
        assert!(asked.contains("\"address\":\"203.0.113.7\""), "{asked}");
    }
}

#[tokio::test]
async fn what_is_no_request_writes_no_errors_to_the_log() {
    let binary = Binary::start(&[]);
    let large = format!("x-large: {}\r\n", "x".repeat(256 << 10));
    for (request, status) in [
        (get("/healthz", &large), "431"),
        (b"this is no request\r\n\r\n".to_vec(), "400"),
    ] {
        let mut peer = Peer::connect(binary.address).await;
        // It may be answered before it has come.
        let _ = peer.stream.write_all(&request).await;
        assert_status(status, &rest(&mut peer).await);
    }
    let lines = binary.stop();
    assert!(
        !lines.iter().any(|line| line.contains("ERROR")),
        "{lines:?}"
    );
}
