//! A Hocuspocus client that shows every byte, and an application that answers when it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::peer::{BINARY, CLOSE, PONG, Peer, ServerFrame, masked, until};

/// An unsigned number as lib0 writes it.
fn var_uint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A text or bytes with their length in front.
pub(crate) fn counted(bytes: &[u8]) -> Vec<u8> {
    [var_uint(bytes.len()), bytes.to_vec()].concat()
}

/// What a provider says about a document.
pub(crate) enum Say<'a> {
    Token(&'a str),
    /// As providers 2 and 3 show it: without their version.
    OldToken(&'a str),
    Step1,
    /// The answer to a step 1, without anything in it.
    Step2,
    Update(&'a [u8]),
    Presence(&'a [u8]),
    QueryPresence,
    Stateless(&'a str),
    Close,
    Raw(&'a [u8]),
}

impl Say<'_> {
    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Token(token) => {
                [&[2, 0][..], &counted(token.as_bytes()), &counted(b"4.8.0")].concat()
            }
            Self::OldToken(token) => [&[2, 0][..], &counted(token.as_bytes())].concat(),
            Self::Step1 => vec![0, 0, 1, 0],
            Self::Step2 => vec![0, 1, 2, 0, 0],
            Self::Update(update) => [&[0, 2][..], &counted(update)].concat(),
            Self::Presence(entries) => [&[1][..], &counted(entries)].concat(),
            Self::QueryPresence => vec![3],
            Self::Stateless(text) => [&[5][..], &counted(text.as_bytes())].concat(),
            Self::Close => vec![7],
            Self::Raw(bytes) => bytes.to_vec(),
        }
    }
}

/// What the server says about a document.
pub(crate) fn authenticated(scope: &str) -> Vec<u8> {
    [&[2, 2][..], &counted(scope.as_bytes())].concat()
}

pub(crate) fn denied(reason: &str) -> Vec<u8> {
    [&[2, 1][..], &counted(reason.as_bytes())].concat()
}

/// "An update of yours is durable."
pub(crate) const RECEIPT: &[u8] = &[8, 1];

/// A connection at the Hocuspocus door.
pub(crate) struct Provider {
    pub(crate) peer: Peer,
}

impl Provider {
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        Self {
            peer: Peer::join(server, "/hocuspocus").await,
        }
    }

    pub(crate) async fn say(&mut self, address: &str, what: Say<'_>) {
        let payload = [counted(address.as_bytes()), what.payload()].concat();
        self.peer.send(&masked(BINARY, &payload)).await;
    }

    /// The next thing that the server says, but pings: an address and what is said.
    pub(crate) async fn hear(&mut self) -> (String, Vec<u8>) {
        loop {
            match self.peer.frame().await {
                ServerFrame(BINARY, payload) if payload == [9] || payload == [10] => {}
                ServerFrame(BINARY, payload) => {
                    let (length, rest) = payload.split_first().unwrap();
                    let (address, said) = rest.split_at(usize::from(*length));
                    return (String::from_utf8(address.to_vec()).unwrap(), said.to_vec());
                }
                ServerFrame(CLOSE, payload) => panic!("closed: {payload:?}"),
                ServerFrame(..) => {}
            }
        }
    }

    /// Waits for this about a document; what else was said about it before.
    pub(crate) async fn until(&mut self, address: &str, wanted: &[u8]) -> Vec<Vec<u8>> {
        let mut before = Vec::new();
        loop {
            let (about, said) = self.hear().await;
            if about == address && said == wanted {
                return before;
            }
            if about == address {
                before.push(said);
            }
        }
    }

    /// All that is said until the answer to a ping of the dialect, which is behind it.
    pub(crate) async fn until_pong(&mut self) -> Vec<Vec<u8>> {
        self.peer.send(&masked(BINARY, &[9])).await;
        let mut heard = Vec::new();
        loop {
            match self.peer.frame().await {
                ServerFrame(BINARY, payload) if payload == [10] => return heard,
                ServerFrame(BINARY, payload) if payload == [9] => {}
                ServerFrame(BINARY, payload) => heard.push(payload),
                ServerFrame(CLOSE, payload) => panic!("closed: {payload:?}"),
                ServerFrame(..) => {}
            }
        }
    }

    /// Opens a document and syncs: two answers, and nothing is owed any more.
    pub(crate) async fn open(&mut self, document: &str, token: &str) {
        self.say(document, Say::Token(token)).await;
        self.say(document, Say::Step1).await;
        self.say(document, Say::Step2).await;
        self.until(document, &authenticated("read-write")).await;
        self.until(document, RECEIPT).await;
    }

    /// Reads to the end; the close code and its text.
    pub(crate) async fn until_closed(&mut self) -> (u16, String) {
        let (code, text, _) = self.peer.farewell().await;
        (code, text)
    }
}

/// An application that is asked by the server. A token `read` or `write` gives that right, any other
/// none; while it is held it does not answer.
pub(crate) struct Application {
    pub(crate) url: String,
    held: watch::Sender<bool>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Application {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/may", listener.local_addr().unwrap());
        let (held, hold) = watch::channel(false);
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, hold.clone(), seen.clone()));
            }
        });
        Self { url, held, asked }
    }

    pub(crate) fn hold(&self, is_held: bool) {
        self.held.send_replace(is_held);
    }

    /// The questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(crate) async fn until_asked(&self, count: usize) {
        until("it is asked", || self.asked() >= count).await;
    }
}

async fn serve(
    stream: TcpStream,
    mut hold: watch::Receiver<bool>,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).ok()?;
        let has = |token: &str| body.contains(&format!("\"token\":\"{token}\""));
        let (status, answer) = match () {
            () if has("write") => ("200 OK", r#"{"right":"write","subject":"ada"}"#),
            () if has("ben") => ("200 OK", r#"{"right":"write","subject":"ben"}"#),
            () if has("read") => ("200 OK", r#"{"right":"read","subject":"ada"}"#),
            () => ("403 Forbidden", "{}"),
        };
        asked.lock().unwrap().push(body);
        hold.wait_for(|is_held| !is_held).await.ok()?;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
    }
}

/// The numbers that a server counts.
pub(crate) async fn metrics(server: SocketAddr) -> String {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    crate::peer::answer(server, request).await
}

/// Whether nothing is read: a ping in front of the server stays unanswered for a while.
pub(crate) async fn is_paused(peer: &mut Peer) -> bool {
    peer.send(&masked(crate::peer::PING, b"still there?")).await;
    let pong = async {
        loop {
            if let ServerFrame(PONG, _) = peer.frame().await {
                return;
            }
        }
    };
    let a_while = std::time::Duration::from_millis(500);
    tokio::time::timeout(a_while, pong).await.is_err()
}
