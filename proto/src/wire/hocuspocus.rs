//! The Hocuspocus dialect: one message a frame, behind the address of a document.
//!
//! A frame is `varString address`, `varUint type` and a payload. The address is a document's name,
//! with `\0` and a session id behind it where a client attaches twice to one document (provider 4,
//! `sessionAwareness`); answers carry the same address. Ping and pong are single bytes without an
//! address.
//!
//! Source: @hocuspocus/provider 2.15.3, 3.4.4 and 4.8.0 (`MessageReceiver.ts`, `OutgoingMessages`),
//! @hocuspocus/server 4.7.0 (`MessageReceiver.ts`, `OutgoingMessage.ts`), @hocuspocus/common 4.8.0
//! (`auth.ts`).

use bytes::{BufMut, Bytes, BytesMut};

use super::lib0::{put_bytes, put_string, put_var_uint};
use super::shared::{self, EMPTY_AWARENESS, STEP_1, STEP_2, Slices, UPDATE};
use super::{DecodeError, Message, Notice, Outbound};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;
const STATELESS: u64 = 5;
const CLOSE: u64 = 7;
const SYNC_STATUS: u64 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const TOKEN: u64 = 0;
const PERMISSION_DENIED: u64 = 1;
const AUTHENTICATED: u64 = 2;

/// The longest version that a provider may call itself by.
const VERSION_BYTES_MAX: usize = 64;

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Wants a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// Something about one document.
    Addressed {
        /// The address as it came; checked to be UTF-8.
        address: Bytes,
        /// What is said.
        said: Said,
    },
}

/// What is said about one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// "This is who I am."
    Token {
        /// The token, empty if there is none; checked to be UTF-8.
        token: Bytes,
        /// The provider's version, told from 4 on.
        provider_version: Option<Bytes>,
    },
    /// "I am done with this document"; the connection stays.
    Close,
    /// Anything that a document understands.
    Message(Message),
}

/// The document's name in an address, and the session id behind it.
pub fn split_address(address: &str) -> (&str, Option<&str>) {
    match address.split_once('\0') {
        Some((name, session)) => (name, Some(session)),
        None => (address, None),
    }
}

/// Reads one frame; payloads are slices of it.
pub fn read(frame: Bytes) -> Result<Incoming, DecodeError> {
    match frame[..] {
        [PING] => return Ok(Incoming::Ping),
        [PONG] => return Ok(Incoming::Pong),
        _ => {}
    }
    let mut rest = Slices(frame);
    let address = rest.text()?;
    let said = match rest.var_uint()? {
        SYNC => Said::Message(rest.sync()?),
        AWARENESS => Said::Message(Message::Presence {
            entries: rest.bytes()?,
        }),
        AUTH => return read_token(address, rest),
        QUERY_AWARENESS => Said::Message(Message::QueryPresence),
        STATELESS => Said::Message(Message::Stateless {
            payload: rest.text()?,
        }),
        CLOSE => Said::Close,
        unknown => return Err(DecodeError::UnknownType(unknown)),
    };
    if rest.is_empty() {
        Ok(Incoming::Addressed { address, said })
    } else {
        Err(DecodeError::TrailingBytes)
    }
}

/// A token, the provider's version if it is told, and whatever later versions may add.
fn read_token(address: Bytes, mut rest: Slices) -> Result<Incoming, DecodeError> {
    if rest.var_uint()? != TOKEN {
        return Err(DecodeError::UnknownType(AUTH));
    }
    let token = rest.text()?;
    let provider_version = match rest.is_empty() {
        true => None,
        false => Some(rest.text()?).filter(|version| version.len() <= VERSION_BYTES_MAX),
    };
    let said = Said::Token {
        token,
        provider_version,
    };
    Ok(Incoming::Addressed { address, said })
}

/// Appends one message as one frame to `out`; nothing for what the dialect has no words for. A
/// receipt is written once, however many it stands for.
pub fn encode(address: &[u8], message: &Outbound, out: &mut BytesMut) {
    match message {
        Outbound::SyncStep1 { vector } => put_sync(address, out, STEP_1, vector),
        Outbound::SyncStep2 { update } => put_sync(address, out, STEP_2, update),
        Outbound::Update { update } => put_sync(address, out, UPDATE, update),
        Outbound::Presence { entries } => put_payload(address, out, AWARENESS, entries),
        Outbound::KeepAlive => put_payload(address, out, AWARENESS, &EMPTY_AWARENESS),
        Outbound::Stateless { payload } => put_payload(address, out, STATELESS, payload),
        Outbound::Receipts { accepted, .. } => {
            put_head(address, out, SYNC_STATUS, 1);
            put_var_uint(out, u64::from(*accepted));
        }
        Outbound::Notice(Notice::ExpiresSoon { .. }) => {
            put_head(address, out, AUTH, 1);
            put_var_uint(out, TOKEN);
        }
        Outbound::Notice(Notice::Access { can_write }) => {
            put_authenticated(address, *can_write, out);
        }
        // Each refused update gets its own answer; counters are another dialect's.
        Outbound::Denied { .. } | Outbound::Saved { .. } => {}
    }
}

/// Appends "you may" with the scope: everything, or reading only.
pub fn put_authenticated(address: &[u8], can_write: bool, out: &mut BytesMut) {
    put_head(address, out, AUTH, 16);
    put_var_uint(out, AUTHENTICATED);
    put_string(out, if can_write { "read-write" } else { "readonly" });
}

/// Appends "you may not".
pub fn put_permission_denied(address: &[u8], reason: &str, out: &mut BytesMut) {
    put_head(address, out, AUTH, reason.len() + 8);
    put_var_uint(out, PERMISSION_DENIED);
    put_string(out, reason);
}

/// Appends "this document is closed"; providers before 4 do not know it.
pub fn put_closed(address: &[u8], reason: &str, out: &mut BytesMut) {
    put_head(address, out, CLOSE, reason.len() + 8);
    put_string(out, reason);
}

/// Appends a ping; providers before 4 do not know it.
pub fn put_ping(out: &mut BytesMut) {
    out.put_u8(PING);
}

/// Appends the answer to a ping.
pub fn put_pong(out: &mut BytesMut) {
    out.put_u8(PONG);
}

fn put_head(address: &[u8], out: &mut BytesMut, kind: u64, payload_bytes: usize) {
    // Two lengths and two numbers, each of at most ten bytes: one growth a frame.
    out.reserve(address.len() + payload_bytes + 24);
    put_bytes(out, address);
    put_var_uint(out, kind);
}

fn put_sync(address: &[u8], out: &mut BytesMut, kind: u64, payload: &[u8]) {
    put_head(address, out, SYNC, payload.len());
    shared::put_sync(out, kind, payload);
}

fn put_payload(address: &[u8], out: &mut BytesMut, kind: u64, payload: &[u8]) {
    put_head(address, out, kind, payload.len());
    put_bytes(out, payload);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex(text: &str) -> Bytes {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn said(frame: &str) -> Said {
        match read(hex(frame)).unwrap() {
            Incoming::Addressed { address, said } => {
                assert_eq!(&address[..], b"doc");
                said
            }
            other => panic!("{other:?}"),
        }
    }

    /// Golden frames made with yjs 13.6.33 and the providers 3.4.4 and 4.8.0.
    #[test]
    fn golden_frames_are_read() {
        let token = |version: Option<&'static str>| Said::Token {
            token: Bytes::from_static(b"tok"),
            provider_version: version.map(|version| Bytes::from_static(version.as_bytes())),
        };
        let update = hex("010101000401017402686900");
        let table = [
            ("03646f63020003746f6b", token(None)),
            ("03646f63020003746f6b05342e382e30", token(Some("4.8.0"))),
            (
                "03646f6300000100",
                Said::Message(Message::SyncStep1 { vector: hex("00") }),
            ),
            (
                "03646f6300020c010101000401017402686900",
                Said::Message(Message::Update { update }),
            ),
            (
                "03646f63050178",
                Said::Message(Message::Stateless {
                    payload: Bytes::from_static(b"x"),
                }),
            ),
            ("03646f6303", Said::Message(Message::QueryPresence)),
            ("03646f6307", Said::Close),
        ];
        for (frame, wanted) in table {
            assert_eq!(said(frame), wanted, "{frame}");
        }
        assert_eq!(read(hex("09")), Ok(Incoming::Ping));
        assert_eq!(read(hex("0a")), Ok(Incoming::Pong));
    }

    #[test]
    fn golden_frames_are_written_to_the_byte() {
        let update = hex("010101000401017402686900");
        let table = [
            (
                Outbound::SyncStep1 { vector: hex("00") },
                "03646f6300000100",
            ),
            (
                Outbound::Update { update },
                "03646f6300020c010101000401017402686900",
            ),
            (
                Outbound::Receipts {
                    accepted: true,
                    count: 1,
                },
                "03646f630801",
            ),
            (
                Outbound::Receipts {
                    accepted: false,
                    count: 9,
                },
                "03646f630800",
            ),
            (
                Outbound::Stateless {
                    payload: Bytes::from_static(b"x"),
                },
                "03646f63050178",
            ),
            (
                Outbound::Notice(Notice::ExpiresSoon { seconds: 5 }),
                "03646f630200",
            ),
            (
                Outbound::Notice(Notice::Access { can_write: true }),
                "03646f6302020a726561642d7772697465",
            ),
            (Outbound::KeepAlive, "03646f63010100"),
        ];
        for (message, wanted) in table {
            let mut out = BytesMut::new();
            encode(b"doc", &message, &mut out);
            assert_eq!(out.freeze(), hex(wanted), "{message:?}");
        }
        let mut out = BytesMut::new();
        put_permission_denied(b"doc", "permission-denied", &mut out);
        assert_eq!(
            out.split().freeze(),
            hex("03646f630201117065726d697373696f6e2d64656e696564")
        );
        put_closed(b"doc", "bye", &mut out);
        assert_eq!(out.freeze(), hex("03646f630703627965"));
    }

    #[test]
    fn broken_frames_are_refused() {
        let table = [
            ("", DecodeError::Truncated),
            ("03646f", DecodeError::Truncated),
            ("02fffe00", DecodeError::NotUtf8),
            ("03646f6304000100", DecodeError::UnknownType(4)),
            ("03646f63060178", DecodeError::UnknownType(6)),
            ("03646f630801", DecodeError::UnknownType(8)),
            ("03646f630003", DecodeError::UnknownSyncType(3)),
            ("03646f63020102", DecodeError::UnknownType(AUTH)),
            ("03646f630000010000", DecodeError::TrailingBytes),
            ("03646f630700", DecodeError::TrailingBytes),
            ("03646f630502fffe", DecodeError::NotUtf8),
            ("ffffffffffffffffffff7f", DecodeError::NumberTooLarge),
        ];
        for (frame, wanted) in table {
            assert_eq!(read(hex(frame)), Err(wanted), "{frame}");
        }
    }

    #[test]
    fn an_address_is_a_name_and_maybe_a_session() {
        assert_eq!(split_address("a/b"), ("a/b", None));
        assert_eq!(split_address("a\0s\0t"), ("a", Some("s\0t")));
        assert_eq!(split_address("\0s"), ("", Some("s")));
    }
}
