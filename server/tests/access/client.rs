//! A WebSocket client that speaks two dialects as bytes, so that every word of an answer is seen.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Far beyond what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Frame(Vec<u8>),
    Closed(u16),
}

pub(crate) struct Client {
    stream: TcpStream,
    buffered: Vec<u8>,
    /// In front of every frame at the Hocuspocus door.
    address: Vec<u8>,
}

/// Bytes with their length in front; all here are short.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 16_384);
    let mut out = Vec::new();
    match bytes.len() {
        length @ 0..128 => out.push(length as u8),
        length => out.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]),
    }
    out.extend_from_slice(bytes);
    out
}

/// A Yjs v1 update: this client writes its letter into the root text `body`.
pub(crate) fn letter(client: u8, letter: char) -> Vec<u8> {
    letter_at(client, 0, letter)
}

/// The same after it wrote so many others.
pub(crate) fn letter_at(client: u8, clock: u8, letter: char) -> Vec<u8> {
    let mut update = vec![1, 1, client, clock, 4, 1, 4];
    update.extend_from_slice(b"body");
    update.extend_from_slice(&[1, letter as u8, 0]);
    update
}

/// A Yjs v1 update: this client writes so many letters into the root text `body`.
pub(crate) fn long_text(client: u8, letters: usize) -> Vec<u8> {
    let mut update = vec![1, 1, client, 0, 4, 1, 4];
    update.extend_from_slice(b"body");
    let mut length = letters;
    while length >= 0x80 {
        update.push(length as u8 | 0x80);
        length >>= 7;
    }
    update.push(length as u8);
    update.resize(update.len() + letters, b'x');
    update.push(0);
    update
}

impl Client {
    /// Opens a socket at this path.
    pub(crate) fn connect(server: SocketAddr, path: &str) -> Self {
        Self::connect_with(server, path, "")
    }

    /// The same, with more header lines, each ended by CRLF.
    pub(crate) fn connect_with(server: SocketAddr, path: &str, headers: &str) -> Self {
        let (client, head) = Self::knock_with(server, path, headers);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// Asks for a socket at this path; the head of the answer.
    pub(crate) fn knock(server: SocketAddr, path: &str) -> (Self, String) {
        Self::knock_with(server, path, "")
    }

    fn knock_with(server: SocketAddr, path: &str, headers: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let client = Self {
            stream,
            buffered: Vec::new(),
            address: Vec::new(),
        };
        (client, String::from_utf8(head).unwrap())
    }

    /// At the y-websocket door.
    pub(crate) fn plain(server: SocketAddr, document: &str, token: Option<&str>) -> Self {
        let query = token.map_or(String::new(), |token| format!("?token={token}"));
        Self::connect(server, &format!("/ws/{document}{query}"))
    }

    /// At the Hocuspocus door, for one document.
    pub(crate) fn hocuspocus(server: SocketAddr, document: &str) -> Self {
        let mut client = Self::connect(server, "/hocuspocus");
        client.address(document);
        client
    }

    /// Speaks about another document from now on, at the Hocuspocus door.
    pub(crate) fn address(&mut self, document: &str) {
        self.address = with_length(document.as_bytes());
    }

    /// Shows a token as providers of version 4 do.
    pub(crate) fn show(&mut self, token: &str) {
        let said = [
            &[2, 0][..],
            &with_length(token.as_bytes()),
            &with_length(b"4.8.0"),
        ];
        self.say(&said.concat());
    }

    /// Says something about the document.
    pub(crate) fn say(&mut self, message: &[u8]) {
        let payload = [&self.address[..], message].concat();
        let mut frame = vec![0x82];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        let masked = payload.iter().zip(MASK.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        // A server that has gone is heard of when it is listened to.
        let _ = self.stream.write_all(&frame);
    }

    /// Another handle on the same socket, to write by.
    pub(crate) fn twin(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            buffered: Vec::new(),
            address: self.address.clone(),
        }
    }

    /// Writes, and waits for nothing.
    pub(crate) fn send_update(&mut self, update: &[u8]) {
        self.say(&[&[0, 2][..], &with_length(update)].concat());
    }

    /// Says that a client is here, or gone.
    pub(crate) fn present(&mut self, client: u8, clock: u8, state: &str) {
        let entry = [&[1, client, clock][..], &with_length(state.as_bytes())].concat();
        self.say(&[&[1][..], &with_length(&entry)].concat());
    }

    /// Writes, and waits until that was handled: the answer to a question behind it has come.
    pub(crate) fn write(&mut self, update: &[u8]) {
        self.send_update(update);
        self.say(&[0, 0, 1, 0]);
        self.until("step 2", |message| message.starts_with(&[0, 1]));
    }

    /// The next thing that the server says.
    pub(crate) fn hear(&mut self) -> Heard {
        let begun = Instant::now();
        loop {
            if let Some(heard) = self.take() {
                return heard;
            }
            assert!(begun.elapsed() < PATIENCE, "the server says nothing");
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Heard::Closed(1_006),
                Ok(length) => self.buffered.extend_from_slice(&bytes[..length]),
                // This process was stopped for a moment.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the server says nothing: {error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Heard> {
        let (first, length) = (*self.buffered.first()?, *self.buffered.get(1)?);
        let (start, length) = match length {
            126 => {
                let bytes = self.buffered.get(2..4)?;
                (4, usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
            }
            length => (2, usize::from(length)),
        };
        let payload = self.buffered.get(start..start + length)?.to_vec();
        self.buffered.drain(..start + length);
        Some(match first {
            0x82 => Heard::Frame(payload),
            0x88 => Heard::Closed(u16::from_be_bytes([payload[0], payload[1]])),
            _ => return self.take(),
        })
    }

    /// Waits for a message about the document; returns it without the address.
    pub(crate) fn until(&mut self, what: &str, is_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        loop {
            match self.hear() {
                Heard::Frame(frame) => {
                    let message = frame.strip_prefix(&self.address[..]).unwrap_or_default();
                    if is_it(message) {
                        return message.to_vec();
                    }
                }
                Heard::Closed(code) => panic!("closed with {code} before {what}"),
            }
        }
    }

    /// Waits for a message that holds this text.
    pub(crate) fn until_told(&mut self, text: &str) {
        self.until(text, |message| {
            message
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        });
    }

    /// Waits for the end; returns the close code.
    pub(crate) fn until_closed(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.hear() {
                return code;
            }
        }
    }
}
