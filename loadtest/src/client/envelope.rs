//! The Hocuspocus dialect around the messages of y-websocket: every frame begins with the name of
//! its document, and a client introduces itself first.
//!
//! Source: `@hocuspocus/provider` 4, `OutgoingMessages/AuthenticationMessage.ts`.

use super::lib0::{Reader, push_bytes};
use super::websocket::{BINARY, push_frame, read_client_frame};

/// Type 2 (auth), sub-type 0 (token).
const TOKEN: &[u8] = b"\x02\x00";
/// The version of a provider.
const VERSION: &[u8] = b"4.7.0";

/// The name in front of every message of a client.
#[derive(Debug, Clone)]
pub(crate) struct Envelope(Vec<u8>);

impl Envelope {
    pub(crate) fn new(document: &str) -> Self {
        let mut name = Vec::with_capacity(document.len() + 2);
        push_bytes(&mut name, document.as_bytes());
        Self(name)
    }

    /// The frame that a client sends before any other.
    pub(crate) fn introduction(&self, token: &str) -> Vec<u8> {
        let mut message = [&self.0, TOKEN].concat();
        push_bytes(&mut message, token.as_bytes());
        push_bytes(&mut message, VERSION);
        let mut frame = Vec::new();
        push_frame(&mut frame, BINARY, &message);
        frame
    }

    /// The same frames, those with data put behind the name.
    pub(crate) fn wrap(&self, frames: &[u8]) -> Vec<u8> {
        let mut masked = frames.to_vec();
        let mut out = Vec::with_capacity(frames.len() * 2);
        let mut at = 0;
        while let Some((opcode, payload, length)) = read_client_frame(&mut masked[at..]) {
            match opcode {
                BINARY => push_frame(&mut out, BINARY, &[&self.0, payload].concat()),
                _ => push_frame(&mut out, opcode, payload),
            }
            at += length;
        }
        out
    }

    /// The message behind the name; `None` for what belongs to the connection, such as a ping.
    pub(crate) fn open<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let mut reader = Reader::new(payload);
        reader.bytes().ok().filter(|name| !name.is_empty())?;
        Some(reader.rest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::messages::{push_step1, push_update};

    #[test]
    fn every_message_goes_behind_the_name() {
        let envelope = Envelope::new("a/b");
        let mut frames = Vec::new();
        push_step1(&mut frames, &[0]);
        push_update(&mut frames, &[0, 0]);
        let mut wrapped = envelope.wrap(&frames);
        let (_, first, end) = read_client_frame(&mut wrapped).unwrap();
        assert_eq!(first, b"\x03a/b\x00\x00\x01\x00");
        let (_, second, _) = read_client_frame(&mut wrapped[end..]).unwrap();
        assert_eq!(envelope.open(second), Some(&[0, 2, 2, 0, 0][..]));
        assert_eq!(envelope.open(&[9]), None);
    }
}
