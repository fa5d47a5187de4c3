//! What the dialects of y-protocols have in common: values read as slices of a frame, sync messages,
//! and the smallest awareness update.
//!
//! Source: y-protocols 1.0.7 (`sync.js`, `awareness.js`).

use bytes::{Buf, Bytes, BytesMut};

use super::lib0::{Reader, put_bytes, put_var_uint};
use super::{DecodeError, Message};

pub(super) const STEP_1: u64 = 0;
pub(super) const STEP_2: u64 = 1;
pub(super) const UPDATE: u64 = 2;

/// An awareness update of no clients: harmless, and enough for every client's silence watchdog.
pub(super) const EMPTY_AWARENESS: [u8; 1] = [0];

/// What is left of a frame; what is read are slices of it.
#[derive(Debug, Clone)]
pub(super) struct Slices(pub(super) Bytes);

impl Slices {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn var_uint(&mut self) -> Result<u64, DecodeError> {
        let mut reader = Reader::new(&self.0);
        let value = reader.var_uint()?;
        let read = reader.position();
        self.0.advance(read);
        Ok(value)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        match usize::try_from(self.var_uint()?) {
            Ok(length) if length <= self.0.len() => Ok(self.0.split_to(length)),
            _ => Err(DecodeError::Truncated),
        }
    }

    /// A string, still as bytes.
    pub(super) fn text(&mut self) -> Result<Bytes, DecodeError> {
        let text = self.bytes()?;
        match std::str::from_utf8(&text) {
            Ok(_) => Ok(text),
            Err(_) => Err(DecodeError::NotUtf8),
        }
    }

    /// A sync message behind its type.
    pub(super) fn sync(&mut self) -> Result<Message, DecodeError> {
        Ok(match self.var_uint()? {
            STEP_1 => Message::SyncStep1 {
                vector: self.bytes()?,
            },
            STEP_2 => Message::SyncStep2 {
                update: self.bytes()?,
            },
            UPDATE => Message::Update {
                update: self.bytes()?,
            },
            unknown => return Err(DecodeError::UnknownSyncType(unknown)),
        })
    }
}

/// Appends a sync message behind its type.
pub(super) fn put_sync(out: &mut BytesMut, kind: u64, payload: &[u8]) {
    put_var_uint(out, kind);
    put_bytes(out, payload);
}
