//! The y-websocket dialect, with y-sweet's type 102: one message a frame outbound, any number inbound.
//!
//! Source: y-websocket 3.1.0, y-protocols 1.0.7 (`sync.js`, `awareness.js`, `auth.js`) and
//! y-sweet's `server.rs`.

use bytes::{Bytes, BytesMut};

use super::lib0::{Reader, put_bytes, put_string, put_var_uint, var_uint_len};
use super::shared::{self, EMPTY_AWARENESS, STEP_1, STEP_2, Slices, UPDATE};
use super::{DecodeError, Message, Notice, Outbound};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;
/// y-sweet's SyncStatus.
const SYNC_STATUS: u64 = 102;

const PERMISSION_DENIED: u64 = 0;
/// Sent by yrs only; without a payload.
const PERMISSION_GRANTED: u64 = 1;

/// Reads the messages of a frame one by one; payloads are slices of the frame.
///
/// After an error the iterator ends. The whole frame has to be messages: a cut tail is an error.
pub fn messages(frame: Bytes) -> Messages {
    Messages {
        rest: Slices(frame),
        queried: false,
    }
}

/// The messages of one frame, see [`messages`].
#[derive(Debug, Clone)]
pub struct Messages {
    rest: Slices,
    /// A frame asks for presence once, however often it says so: each answer is many bytes long.
    queried: bool,
}

impl Iterator for Messages {
    type Item = Result<Message, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.read() {
                Ok(None | Some(Message::QueryPresence)) if self.queried => {}
                Ok(Some(message)) => {
                    self.queried |= message == Message::QueryPresence;
                    return Some(Ok(message));
                }
                Ok(None) => {}
                Err(error) => {
                    self.rest = Slices(Bytes::new());
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Messages {
    /// Reads one message; `None` for one that carries nothing for a server.
    fn read(&mut self) -> Result<Option<Message>, DecodeError> {
        let message = match self.rest.var_uint()? {
            SYNC => self.rest.sync()?,
            AWARENESS => Message::Presence {
                entries: self.rest.bytes()?,
            },
            AUTH => return self.skip_auth().map(|()| None),
            QUERY_AWARENESS => self.read_query()?,
            SYNC_STATUS => {
                let payload = self.rest.bytes()?;
                let mut reader = Reader::new(&payload);
                let version = reader.var_uint()?;
                if !reader.is_empty() {
                    return Err(DecodeError::TrailingBytes);
                }
                Message::SaveProbe { version }
            }
            unknown => return Err(DecodeError::UnknownType(unknown)),
        };
        Ok(Some(message))
    }

    /// y-sweet clients answer a query with type 3 and awareness bytes instead of type 1: told by
    /// the rest of the frame being exactly one byte string.
    fn read_query(&mut self) -> Result<Message, DecodeError> {
        let mut reader = Reader::new(&self.rest.0);
        if !reader.is_empty() && reader.bytes().is_ok() && reader.is_empty() {
            return Ok(Message::Presence {
                entries: self.rest.bytes()?,
            });
        }
        Ok(Message::QueryPresence)
    }

    /// Auth messages flow from server to client; yrs-based peers send "granted" both ways.
    fn skip_auth(&mut self) -> Result<(), DecodeError> {
        match self.rest.var_uint()? {
            PERMISSION_DENIED => {
                self.rest.text()?;
                Ok(())
            }
            PERMISSION_GRANTED => Ok(()),
            _ => Err(DecodeError::UnknownType(AUTH)),
        }
    }
}

/// Appends one message as one frame to `out`.
pub fn encode(message: &Outbound, out: &mut BytesMut) {
    match message {
        Outbound::SyncStep1 { vector } => put_sync(out, STEP_1, vector),
        Outbound::SyncStep2 { update } => put_sync(out, STEP_2, update),
        Outbound::Update { update } => put_sync(out, UPDATE, update),
        Outbound::Presence { entries } => put_payload(out, AWARENESS, entries),
        Outbound::KeepAlive => put_payload(out, AWARENESS, &EMPTY_AWARENESS),
        Outbound::Saved { version } => {
            put_var_uint(out, SYNC_STATUS);
            put_var_uint(out, var_uint_len(*version) as u64);
            put_var_uint(out, *version);
        }
        Outbound::Denied { reason } => put_denied(out, reason),
        Outbound::Notice(Notice::ExpiresSoon { seconds }) => put_denied(
            out,
            &format!("Your access ends in {seconds} s; connect again with a new token."),
        ),
        Outbound::Notice(Notice::Access { can_write: false }) => put_denied(
            out,
            "You may still read this document and no longer change it.",
        ),
        // There are no words for these.
        Outbound::Notice(Notice::Access { can_write: true })
        | Outbound::Receipts { .. }
        | Outbound::Stateless { .. } => {}
    }
}

/// Clients log the reason as a warning and go on.
fn put_denied(out: &mut BytesMut, reason: &str) {
    put_var_uint(out, AUTH);
    put_var_uint(out, PERMISSION_DENIED);
    put_string(out, reason);
}

fn put_sync(out: &mut BytesMut, kind: u64, payload: &[u8]) {
    // Type, kind and the longest length: one growth a frame.
    out.reserve(payload.len() + 12);
    put_var_uint(out, SYNC);
    shared::put_sync(out, kind, payload);
}

fn put_payload(out: &mut BytesMut, kind: u64, payload: &[u8]) {
    out.reserve(payload.len() + 11);
    put_var_uint(out, kind);
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

    fn read(frame: &str) -> Result<Vec<Message>, DecodeError> {
        messages(hex(frame)).collect()
    }

    /// Golden frames made with yjs 13.6.33 and y-protocols 1.0.7 (y-sweet for type 102).
    #[test]
    fn golden_frames_are_written_to_the_byte() {
        let table = [
            (Outbound::SyncStep1 { vector: hex("00") }, "00000100"),
            (
                Outbound::SyncStep1 {
                    vector: hex("010102"),
                },
                "000003010102",
            ),
            (
                Outbound::SyncStep2 {
                    update: hex("010101000401017402686900"),
                },
                "00010c010101000401017402686900",
            ),
            (
                Outbound::SyncStep2 {
                    update: hex("0000"),
                },
                "0001020000",
            ),
            (
                Outbound::Update {
                    update: hex("010101000401017402686900"),
                },
                "00020c010101000401017402686900",
            ),
            (
                Outbound::Presence {
                    entries: hex("010101077b226e223a317d"),
                },
                "010b010101077b226e223a317d",
            ),
            (Outbound::KeepAlive, "010100"),
            (
                Outbound::Denied {
                    reason: "no".into(),
                },
                "0200026e6f",
            ),
            (Outbound::Saved { version: 5 }, "660105"),
            (Outbound::Saved { version: 300 }, "6602ac02"),
        ];
        for (message, wanted) in table {
            let mut out = BytesMut::new();
            encode(&message, &mut out);
            assert_eq!(out.freeze(), hex(wanted), "{message:?}");
        }
    }

    #[test]
    fn golden_frames_are_read() {
        let update = hex("010101000401017402686900");
        let table = [
            ("00000100", Message::SyncStep1 { vector: hex("00") }),
            (
                "000003010102",
                Message::SyncStep1 {
                    vector: hex("010102"),
                },
            ),
            (
                "00010c010101000401017402686900",
                Message::SyncStep2 {
                    update: update.clone(),
                },
            ),
            ("00020c010101000401017402686900", Message::Update { update }),
            (
                "010b010101077b226e223a317d",
                Message::Presence {
                    entries: hex("010101077b226e223a317d"),
                },
            ),
            ("010100", Message::Presence { entries: hex("00") }),
            ("03", Message::QueryPresence),
            ("660105", Message::SaveProbe { version: 5 }),
            // y-sweet's answer to a query.
            ("030100", Message::Presence { entries: hex("00") }),
        ];
        for (frame, wanted) in table {
            assert_eq!(read(frame), Ok(vec![wanted]), "{frame}");
        }
    }

    #[test]
    fn a_frame_holds_any_number_of_messages() {
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(
            read("0000010001010003030300010200000303"),
            Ok(vec![
                Message::SyncStep1 { vector: hex("00") },
                Message::Presence { entries: hex("00") },
                Message::QueryPresence,
                Message::SyncStep2 {
                    update: hex("0000")
                },
            ])
        );
        assert_eq!(read("0200026e6f0201"), Ok(vec![]), "auth is ignored");
    }

    #[test]
    fn malformed_frames_are_refused() {
        let table = [
            ("00", DecodeError::Truncated),
            ("0000", DecodeError::Truncated),
            ("000005010102", DecodeError::Truncated),
            ("000100ff", DecodeError::Truncated),
            ("0003", DecodeError::UnknownSyncType(3)),
            ("04", DecodeError::UnknownType(4)),
            ("0202", DecodeError::UnknownType(2)),
            ("020001ff", DecodeError::NotUtf8),
            ("66020500", DecodeError::TrailingBytes),
            ("6600", DecodeError::Truncated),
            ("0000ffffffffffffffffffff", DecodeError::NumberTooLarge),
        ];
        for (frame, wanted) in table {
            let last = messages(hex(frame)).last();
            assert_eq!(last, Some(Err(wanted)), "{frame}");
        }
    }

    #[test]
    fn messages_before_a_cut_tail_are_still_read() {
        let read: Vec<_> = messages(hex("0101000001")).collect();
        assert_eq!(
            read,
            [
                Ok(Message::Presence { entries: hex("00") }),
                Err(DecodeError::Truncated)
            ]
        );
    }
}
