//! The y-websocket dialect as a client speaks it, with y-sweet's save probe (type 102).
//!
//! Source: y-protocols `sync.js`, `awareness.js`; y-sweet `doc_connection.rs`.

use super::lib0::{ReadError, Reader, push_bytes, push_number};
use super::websocket::{BINARY, push_frame};

const SYNC: u64 = 0;
const PRESENCE: u64 = 1;
const AUTH: u64 = 2;
const SAVE_STATUS: u64 = 102;

/// The update that says nothing: no structs, no deletions.
pub(crate) const EMPTY_UPDATE: &[u8] = &[0, 0];
/// The state vector of an empty document.
pub(crate) const EMPTY_VECTOR: &[u8] = &[0];

/// A message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// "This is my state vector, send what I lack."
    Step1(&'a [u8]),
    /// The answer to our step 1.
    Step2(&'a [u8]),
    Update(&'a [u8]),
    /// All edits up to this probe are saved.
    Saved(u64),
    /// The server refused something, in its words.
    Denied(&'a [u8]),
    /// Entries of who is here.
    Presence(&'a [u8]),
    /// Unknown types: nothing a load counts.
    Other,
}

/// Reads the messages of one frame in turn; yrs-based servers put two into one frame.
pub(crate) fn for_each_message<'a>(
    frame: &'a [u8],
    mut visit: impl FnMut(Message<'a>),
) -> Result<(), ReadError> {
    let mut reader = Reader::new(frame);
    while !reader.is_empty() {
        let message = match reader.number()? {
            SYNC => match (reader.number()?, reader.bytes()?) {
                (0, vector) => Message::Step1(vector),
                (1, update) => Message::Step2(update),
                (2, update) => Message::Update(update),
                _ => Message::Other,
            },
            AUTH => match reader.number()? {
                0 => Message::Denied(reader.bytes()?),
                // What a client is allowed to do, in the words of its server.
                _ => return Ok(()),
            },
            SAVE_STATUS => Message::Saved(Reader::new(reader.bytes()?).number()?),
            PRESENCE => Message::Presence(reader.bytes()?),
            // An unknown type has an unknown length: the rest of the frame is its own.
            _ => return Ok(()),
        };
        visit(message);
    }
    Ok(())
}

/// Appends a frame with one sync message: step 1 of a vector, step 2 or update of an update.
fn push_sync(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let mut payload = Vec::with_capacity(body.len() + 8);
    payload.extend_from_slice(&[SYNC as u8, kind]);
    push_bytes(&mut payload, body);
    push_frame(out, BINARY, &payload);
}

pub(crate) fn push_step1(out: &mut Vec<u8>, vector: &[u8]) {
    push_sync(out, 0, vector);
}

pub(crate) fn push_step2(out: &mut Vec<u8>, update: &[u8]) {
    push_sync(out, 1, update);
}

pub(crate) fn push_update(out: &mut Vec<u8>, update: &[u8]) {
    push_sync(out, 2, update);
}

/// Appends "tell me when everything I sent so far is saved".
pub(crate) fn push_save_probe(out: &mut Vec<u8>, version: u64) {
    let mut number = Vec::with_capacity(10);
    push_number(&mut number, version);
    let mut payload = vec![SAVE_STATUS as u8];
    push_bytes(&mut payload, &number);
    push_frame(out, BINARY, &payload);
}

/// Appends presence entries of client, clock and state (JSON).
pub(crate) fn push_entries(out: &mut Vec<u8>, entries: &[(u64, u64, &[u8])]) {
    push_number(out, entries.len() as u64);
    for (client, clock, state) in entries {
        push_number(out, *client);
        push_number(out, *clock);
        push_bytes(out, state);
    }
}

/// Appends a frame with a presence message.
pub(crate) fn push_presence(out: &mut Vec<u8>, entries: &[(u64, u64, &[u8])]) {
    let mut body = Vec::new();
    push_entries(&mut body, entries);
    let mut payload = vec![PRESENCE as u8];
    push_bytes(&mut payload, &body);
    push_frame(out, BINARY, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &[u8]) -> Vec<Message<'_>> {
        let mut messages = Vec::new();
        for_each_message(frame, |message| messages.push(message)).unwrap();
        messages
    }

    #[test]
    fn golden_frames_are_read() {
        assert_eq!(read(&[0, 0, 1, 0]), [Message::Step1(&[0])]);
        assert_eq!(read(&[0, 1, 2, 0, 0]), [Message::Step2(&[0, 0])]);
        assert_eq!(read(&[2, 0, 2, b'n', b'o']), [Message::Denied(b"no")]);
        assert_eq!(read(&[0x66, 1, 5]), [Message::Saved(5)]);
        assert_eq!(read(&[1, 1, 0]), [Message::Presence(&[0])]);
        assert_eq!(
            read(&[0, 0, 1, 0, 1, 1, 0]),
            [Message::Step1(&[0]), Message::Presence(&[0])]
        );
    }

    #[test]
    fn probes_are_written_as_y_sweet_does() {
        let mut frame = Vec::new();
        push_save_probe(&mut frame, 5);
        let mut expected = Vec::new();
        push_frame(&mut expected, BINARY, &[0x66, 1, 5]);
        assert_eq!(frame, expected);
    }
}
