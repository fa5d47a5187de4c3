//! A WebSocket client that shows every byte, good or bad, and a server to point it at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftless::adapters::http::{Readiness, ReadinessReport};
use driftless::adapters::{AdapterOptions, Behind, Server, serve};
use driftless::clock::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rooms::{Rooms, SharedRooms};

/// Far beyond what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];

pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

struct AlwaysReady;

impl Readiness for AlwaysReady {
    fn report(&self) -> ReadinessReport {
        ReadinessReport {
            is_ready: true,
            details: serde_json::json!({ "store": "ok" }),
        }
    }
}

pub(crate) fn options() -> AdapterOptions {
    AdapterOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..AdapterOptions::default()
    }
}

pub(crate) fn start(options: AdapterOptions) -> (Server, Arc<Rooms>) {
    let rooms = Arc::<Rooms>::default();
    let behind = Behind {
        authority: driftless::auth::Authority::open(),
        restrictions: driftless::access::Restrictions::default(),
        operations: None,
        signer: None,
        documents: Arc::new(SharedRooms(rooms.clone())),
        readiness: Arc::new(AlwaysReady),
        metrics: None,
    };
    (serve(options, behind, Clock::start()).unwrap(), rooms)
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Over any stream; a plain one unless told otherwise.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
}

/// A frame of the server: its first byte and its payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerFrame(pub(crate) u8, pub(crate) Vec<u8>);

pub(crate) fn upgrade_request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: sync.example.com\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// A y-websocket update message.
pub(crate) fn update(payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 2];
    let mut length = payload.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(payload);
    message
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
        }
    }

    /// Connects and upgrades.
    pub(crate) async fn join(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::connect(address).await;
        let head = peer.request(&upgrade_request(path, "")).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // RFC 6455 section 1.3 has this pair of key and answer.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        peer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn send_update(&mut self, payload: &[u8]) {
        self.send(&masked(BINARY, &update(payload))).await;
    }

    /// Sends a request and reads the head of the answer.
    pub(crate) async fn request(&mut self, text: &str) -> String {
        self.send(text.as_bytes()).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, self.stream.read_u8()).await.unwrap();
            head.push(byte.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Everything until the server ends the stream.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .unwrap();
        read.unwrap();
        rest
    }

    pub(crate) async fn frame(&mut self) -> ServerFrame {
        let read = async {
            let first = self.stream.read_u8().await?;
            let length = match self.stream.read_u8().await? {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await?;
            std::io::Result::Ok(ServerFrame(first, payload))
        };
        timeout(PATIENCE, read).await.unwrap().unwrap()
    }

    /// Reads until the close frame; its code and text, and the text of a denial before it.
    pub(crate) async fn farewell(&mut self) -> (u16, String, Option<String>) {
        let mut denied = None;
        loop {
            let ServerFrame(first, payload) = self.frame().await;
            if first == CLOSE {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (
                    code,
                    String::from_utf8(payload[2..].to_vec()).unwrap(),
                    denied,
                );
            }
            if let [2, 0, _, text @ ..] = &payload[..] {
                denied = Some(String::from_utf8(text.to_vec()).unwrap());
            }
        }
    }
}

/// One request on a fresh connection; the whole answer.
pub(crate) async fn answer(address: SocketAddr, request: &str) -> String {
    let mut peer = Peer::connect(address).await;
    peer.send(request.as_bytes()).await;
    String::from_utf8(peer.rest().await).unwrap()
}
