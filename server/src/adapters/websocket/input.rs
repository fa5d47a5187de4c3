//! The incoming half of a socket: bytes to frames to messages to the document.
//!
//! Strictly in order and without a queue: while the document has no room for a message, nothing
//! behind it is parsed and the socket is not read, so TCP slows the writer down.

use std::task::{Context, Poll};

use bytes::Bytes;
use driftless_proto::engine::CloseReason;
use driftless_proto::wire::Message;

use super::Dialect;
use super::frames::{FrameError, FrameReader, Incoming};
use crate::error::{PROTOCOL_ERROR_CODE, Refusal};
use crate::session::{Ended, ReceiveError, SessionHandle};

/// How far the input got.
#[derive(Debug)]
pub(super) enum Delivered {
    /// All that was fed; more bytes are needed.
    All,
    /// The document has no room; the waker is called when it may have.
    Paused,
    /// The session is over.
    Ended,
    /// The peer wants a pong with this payload.
    Ping(Bytes),
    /// The peer says goodbye.
    Goodbye(Option<u16>),
    /// What follows cannot be taken; everything before it was delivered.
    Refused(Refusal),
}

/// What was received and not delivered yet.
pub(super) struct Input<D: Dialect> {
    reader: FrameReader,
    /// The rest of the frame that is being delivered.
    messages: Option<D::Messages>,
    /// The message that the document had no room for.
    undelivered: Option<Message>,
    /// Data frames since the count was last taken.
    pub(super) frames: u64,
}

impl<D: Dialect> Input<D> {
    pub(super) fn new(frame_bytes_max: usize) -> Self {
        let reader = FrameReader::new(frame_bytes_max);
        Self {
            reader,
            messages: None,
            undelivered: None,
            frames: 0,
        }
    }

    /// Takes in what was read.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
    }

    /// Gives the document what it has room for.
    pub(super) fn deliver(
        &mut self,
        session: &mut dyn SessionHandle,
        cx: &mut Context<'_>,
    ) -> Delivered {
        loop {
            if let Some(stop) = self.deliver_frame(session, cx) {
                return stop;
            }
            match self.reader.next() {
                Ok(Some(Incoming::Binary(frame))) => {
                    self.frames += 1;
                    self.messages = Some(D::messages(frame));
                }
                Ok(Some(Incoming::Ping(payload))) => return Delivered::Ping(payload),
                Ok(Some(Incoming::Pong)) => {}
                Ok(Some(Incoming::Close(code))) => return Delivered::Goodbye(code),
                Ok(Some(Incoming::Text)) => {
                    return Delivered::Refused(CloseReason::Unsupported.into());
                }
                Ok(None) => return Delivered::All,
                Err(error) => return Delivered::Refused(unreadable(error)),
            }
        }
    }

    /// Delivers what is left of the current frame; `None` when all of it was taken.
    fn deliver_frame(
        &mut self,
        session: &mut dyn SessionHandle,
        cx: &mut Context<'_>,
    ) -> Option<Delivered> {
        loop {
            let message = match self.undelivered.take() {
                Some(message) => message,
                None => match self.messages.as_mut()?.next() {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => {
                        let text = error.to_string().into();
                        let refusal = Refusal {
                            text,
                            ..CloseReason::Malformed.into()
                        };
                        return Some(Delivered::Refused(refusal));
                    }
                    None => {
                        self.messages = None;
                        return None;
                    }
                },
            };
            match session.try_receive(message) {
                Ok(()) => {}
                Err(ReceiveError::Ended) => return Some(Delivered::Ended),
                Err(ReceiveError::Full(message)) => {
                    self.undelivered = Some(message);
                    match session.poll_room(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(Ended)) => return Some(Delivered::Ended),
                        Poll::Pending => return Some(Delivered::Paused),
                    }
                }
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
