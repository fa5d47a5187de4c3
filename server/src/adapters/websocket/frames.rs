//! WebSocket frames (RFC 6455): the bytes of a client become messages, a message becomes one frame.
//!
//! Heads are checked before any payload is waited for, so a hostile length costs nothing. Payloads
//! are unmasked in place and handed on as slices of what was read.

use actix_http::ws::{OpCode, Parser};
use bytes::{BufMut, Bytes, BytesMut};
use driftless_proto::wire::Outbound;

use super::Dialect;

const FINAL_BIT: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const MASK_BIT: u8 = 0x80;
const MASK_BYTES: usize = 4;
/// RFC 6455 section 5.5: control frames carry at most this many bytes.
const CONTROL_BYTES_MAX: usize = 125;
/// What is left of it for the text of a close frame.
const CLOSE_TEXT_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A binary message, put together if it came in fragments.
    Binary(Bytes),
    /// A text message (or its first fragment); its content does not matter.
    Text,
    /// Wants a pong with the same payload.
    Ping(Bytes),
    /// An answer to the ping with this payload, or one nobody asked for.
    Pong(Bytes),
    /// The client says goodbye, with a code or without.
    Close(Option<u16>),
}

/// Why the bytes cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// A message is larger than allowed; nothing of it was kept.
    #[error(
        "the message is larger than {bytes_max} bytes (frame_bytes_max; unauthenticated_bytes_max before a token)"
    )]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// The framing breaks RFC 6455.
    #[error("{0}")]
    Protocol(&'static str),
}

/// Takes in bytes as they come and gives out whole messages. Holds memory only while a message is
/// incomplete.
#[derive(Debug)]
pub(super) struct FrameReader {
    bytes_max: usize,
    buffer: BytesMut,
    /// The fragments so far of a message that is not complete.
    fragments: Option<BytesMut>,
    /// Counts what was given out, apart from what came between the fragments of a message.
    wholes: u64,
}

/// A message that has begun to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incomplete {
    /// Which one it is.
    pub(super) number: u64,
    /// How much of it is here.
    pub(super) bytes: usize,
}

impl FrameReader {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            buffer: BytesMut::new(),
            fragments: None,
            wholes: 0,
        }
    }

    /// Allows larger messages from now on.
    pub(super) fn allow(&mut self, bytes_max: usize) {
        self.bytes_max = self.bytes_max.max(bytes_max);
    }

    /// The message that is not complete, when nothing else is left.
    pub(super) fn incomplete(&self) -> Option<Incomplete> {
        let fragments = self.fragments.as_ref();
        (fragments.is_some() || !self.buffer.is_empty()).then(|| Incomplete {
            number: self.wholes,
            bytes: self.buffer.len() + fragments.map_or(0, BytesMut::len),
        })
    }

    /// Takes in what was read. The copy is exact in size, so messages that a document keeps for a
    /// while hold on to little more than themselves.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::from(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message, or `None` until more bytes are fed.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, FrameError> {
        while let Some(length) = self.complete_frame()? {
            if let Some(incoming) = self.take_frame(length)? {
                self.wholes += u64::from(self.fragments.is_none());
                return Ok(Some(incoming));
            }
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(None)
    }

    /// The payload length of the frame at the front, once all of it is there. Everything that can
    /// be wrong with its head is found here.
    fn complete_frame(&self) -> Result<Option<usize>, FrameError> {
        let [first, second, rest @ ..] = &self.buffer[..] else {
            return Ok(None);
        };
        if first & RESERVED_BITS != 0 {
            return Err(FrameError::Protocol(
                "reserved bits are set without an extension",
            ));
        }
        if second & MASK_BIT == 0 {
            return Err(FrameError::Protocol("client frames must be masked"));
        }
        if matches!(OpCode::from(first & 0x0f), OpCode::Bad) {
            return Err(FrameError::Protocol("unknown kind of frame"));
        }
        let (length, head) = match (second & !MASK_BIT, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10)
            }
            (126 | 127, _) => return Ok(None),
            (length, _) => (u64::from(length), 2),
        };
        let is_control = first & 0x08 != 0;
        if is_control && (first & FINAL_BIT == 0 || length > CONTROL_BYTES_MAX as u64) {
            return Err(FrameError::Protocol(
                "control frames are short and in one piece",
            ));
        }
        let held = self.fragments.as_ref().map_or(0, BytesMut::len);
        let room = if is_control {
            CONTROL_BYTES_MAX
        } else {
            self.bytes_max - held
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > room {
            return Err(FrameError::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        Ok((self.buffer.len() >= head + MASK_BYTES + length).then_some(length))
    }

    /// Takes the complete frame at the front; `None` when it is a part of a longer message.
    fn take_frame(&mut self, length: usize) -> Result<Option<Incoming>, FrameError> {
        let parsed = Parser::parse(&mut self.buffer, true, length);
        let Ok(Some((is_final, opcode, payload))) = parsed else {
            return Err(FrameError::Protocol("unknown kind of frame"));
        };
        let payload = payload.unwrap_or_default();
        match opcode {
            OpCode::Text => Ok(Some(Incoming::Text)),
            OpCode::Ping => Ok(Some(Incoming::Ping(payload.freeze()))),
            OpCode::Pong => Ok(Some(Incoming::Pong(payload.freeze()))),
            OpCode::Close => close_code(&payload).map(|code| Some(Incoming::Close(code))),
            OpCode::Binary => self.begin(is_final, payload),
            OpCode::Continue => self.go_on(is_final, &payload),
            OpCode::Bad => Err(FrameError::Protocol("unknown kind of frame")),
        }
    }

    fn begin(&mut self, is_final: bool, data: BytesMut) -> Result<Option<Incoming>, FrameError> {
        if self.fragments.is_some() {
            return Err(FrameError::Protocol("a message began inside another"));
        }
        if is_final {
            return Ok(Some(Incoming::Binary(data.freeze())));
        }
        self.fragments = Some(data);
        Ok(None)
    }

    fn go_on(&mut self, is_final: bool, data: &[u8]) -> Result<Option<Incoming>, FrameError> {
        let Some(mut whole) = self.fragments.take() else {
            return Err(FrameError::Protocol("a fragment without a beginning"));
        };
        whole.extend_from_slice(data);
        if is_final {
            return Ok(Some(Incoming::Binary(whole.freeze())));
        }
        self.fragments = Some(whole);
        Ok(None)
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match Parser::try_parse_close_payload(payload) {
        Ok(reason) => Ok(reason.map(|reason| u16::from(reason.code))),
        Err(_) => Err(FrameError::Protocol("the close frame is malformed")),
    }
}

/// Appends one message as a complete, unmasked binary frame; nothing when the dialect has no words
/// for it. As a function pointer it is the [`EncodeFrame`](crate::session::EncodeFrame) of a
/// dialect's WebSocket door.
pub(crate) fn encode_frame<D: Dialect>(_: &[u8], message: &Outbound, into: &mut BytesMut) {
    put_frame(into, |into| D::encode(message, into));
}

/// Appends a complete, unmasked binary frame with what `write` appends; nothing when that is nothing.
pub(crate) fn put_frame(into: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = into.len();
    // The length decides the size of the head: guess the most common, and move if it was wrong.
    into.put_bytes(0, 2);
    write(into);
    let length = into.len() - start - 2;
    let mut head = [0; 10];
    head[0] = FINAL_BIT | u8::from(OpCode::Binary);
    let head = match length {
        0 => return into.truncate(start),
        1..126 => {
            head[1] = length as u8;
            &head[..2]
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            &head[..4]
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(length as u64).to_be_bytes());
            &head[..]
        }
    };
    let wider = head.len() - 2;
    into.put_bytes(0, wider);
    into.copy_within(start + 2..start + 2 + length, start + head.len());
    into[start..start + head.len()].copy_from_slice(head);
}

/// A control frame to a client; at most 125 bytes of `payload` are sent.
pub(super) fn control_frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    let mut frame = BytesMut::with_capacity(2 + payload.len());
    frame.put_u8(FINAL_BIT | u8::from(opcode));
    frame.put_u8(payload.len() as u8);
    frame.put_slice(payload);
    frame.freeze()
}

/// A close frame, its text cut to what fits.
pub(super) fn close_frame(code: u16, text: &str) -> Bytes {
    let mut end = text.len().min(CLOSE_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&text.as_bytes()[..end]);
    control_frame(OpCode::Close, &payload)
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
