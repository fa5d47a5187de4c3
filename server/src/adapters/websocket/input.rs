//! The incoming half of a socket: bytes to frames to a conversation.
//!
//! Strictly in order and without a queue: while a document has no room for a message, nothing
//! behind it is parsed and the socket is not read, so TCP slows the writer down.

use std::task::Context;

use driftless_proto::engine::CloseReason;

use super::frames::{FrameError, FrameReader, Incoming, Incomplete};
use super::{Conversation, Delivered};
use crate::error::{PROTOCOL_ERROR_CODE, Refusal};

/// What was received and not delivered yet.
pub(super) struct Input {
    reader: FrameReader,
    /// Data frames since the count was last taken.
    pub(super) frames: u64,
}

impl Input {
    pub(super) fn new(frame_bytes_max: usize) -> Self {
        let reader = FrameReader::new(frame_bytes_max);
        Self { reader, frames: 0 }
    }

    /// Allows larger messages from now on.
    pub(super) fn allow(&mut self, frame_bytes_max: usize) {
        self.reader.allow(frame_bytes_max);
    }

    /// The message that has begun to come and is not complete.
    pub(super) fn incomplete(&self) -> Option<Incomplete> {
        self.reader.incomplete()
    }

    /// Takes in what was read.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
    }

    /// Gives the documents what they have room for.
    pub(super) fn deliver(
        &mut self,
        conversation: &mut impl Conversation,
        cx: &mut Context<'_>,
    ) -> Delivered {
        loop {
            match conversation.deliver(cx) {
                Delivered::All => {}
                stop => return stop,
            }
            match self.reader.next() {
                Ok(Some(Incoming::Binary(frame))) => {
                    self.frames += 1;
                    conversation.take(frame);
                }
                Ok(Some(Incoming::Ping(payload))) => return Delivered::Ping(payload),
                Ok(Some(Incoming::Pong(payload))) => conversation.ponged(&payload),
                Ok(Some(Incoming::Close(code))) => return Delivered::Goodbye(code),
                Ok(Some(Incoming::Text)) => {
                    return Delivered::Refused(CloseReason::Unsupported.into());
                }
                Ok(None) => return Delivered::All,
                Err(error) => return Delivered::Refused(unreadable(error)),
            }
        }
    }
}

fn unreadable(error: FrameError) -> Refusal {
    let text = error.to_string().into();
    match error {
        FrameError::TooLarge { .. } => Refusal {
            text,
            ..CloseReason::TooLarge.into()
        },
        FrameError::Protocol(_) => Refusal {
            text,
            close_code: PROTOCOL_ERROR_CODE,
            ..CloseReason::Malformed.into()
        },
    }
}
