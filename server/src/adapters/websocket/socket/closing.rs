//! How a socket ends: who says goodbye, what is still written, and when it is over.

use std::pin::Pin;
use std::task::Context;

use bytes::BytesMut;
use driftless_proto::engine::CloseReason;

use super::{Phase, Socket};
use crate::adapters::Movable;
use crate::adapters::websocket::Conversation;
use crate::adapters::websocket::frames::close_frame;
use crate::error::Refusal;
use crate::metrics;

/// RFC 6455 section 7.4.1: a normal goodbye.
const NORMAL_CODE: u16 = 1000;

impl<I, C> Socket<I, C>
where
    I: Movable,
    C: Conversation,
{
    /// Refuses the peer: tells it why, in its dialect and in the close frame.
    pub(in crate::adapters::websocket) fn refuse(&mut self, refusal: &Refusal) {
        self.conversation.leave(false);
        self.outbox.abandon();
        self.close(refusal);
    }

    pub(super) fn close(&mut self, refusal: &Refusal) {
        if self.phase != Phase::Open {
            return;
        }
        let mut told = BytesMut::new();
        let close_code = self.conversation.farewell(refusal, &mut told);
        if !told.is_empty() {
            self.say(told.freeze());
        }
        self.begin_closing("server", Some(close_code));
        self.writer
            .frames
            .push_back(close_frame(close_code, &refusal.text));
    }

    /// A message did not come to its end.
    pub(super) fn refuse_slow(&mut self) {
        metrics::refused("frame_timeout");
        self.refuse(&Refusal {
            text: "a message came too slowly (setting frame_timeout_ms)".into(),
            ..CloseReason::TimedOut.into()
        });
    }

    pub(super) fn begin_closing(&mut self, by: &'static str, code: Option<u16>) {
        metrics::connection_closed(by, code);
        self.phase = Phase::Closing;
        self.liveness.closing(self.context.clock.now_ms());
    }

    pub(super) fn answer_goodbye(&mut self, code: Option<u16>) {
        self.peer_said_goodbye = true;
        self.conversation.leave(true);
        if self.phase == Phase::Open {
            self.outbox.abandon();
            self.begin_closing("peer", None);
            self.writer
                .frames
                .push_back(close_frame(code.unwrap_or(NORMAL_CODE), ""));
        }
    }

    /// The peer takes nothing any more; what it sent before is still read.
    pub(super) fn stop_writing(&mut self) {
        self.outbox.abandon();
        self.writer.clear();
        self.situation.write_blocked = false;
        if self.phase == Phase::Open {
            self.begin_closing("lost", None);
        }
        self.phase = Phase::Shut;
    }

    /// Ends our side of the stream once everything is said.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase == Phase::Closing {
            let shut = self
                .io
                .as_mut()
                .map(|io| Pin::new(io).poll_shutdown(cx).is_pending());
            if shut == Some(true) {
                return false;
            }
            self.phase = Phase::Shut;
        }
        if self.phase == Phase::Shut && self.peer_said_goodbye {
            self.phase = Phase::Over;
        }
        false
    }
}
