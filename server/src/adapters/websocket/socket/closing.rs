//! How a socket ends: who says goodbye, what is still written, and when it is over.

use std::pin::Pin;
use std::task::Context;

use bytes::BytesMut;
use driftless_proto::wire::Outbound;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Phase, Socket};
use crate::adapters::websocket::Dialect;
use crate::adapters::websocket::frames::{close_frame, encode_frame};
use crate::error::Refusal;
use crate::metrics;

/// RFC 6455 section 7.4.1: a normal goodbye.
const NORMAL_CODE: u16 = 1000;

impl<I, D> Socket<I, D>
where
    I: AsyncRead + AsyncWrite + Unpin,
    D: Dialect,
{
    /// Refuses the peer: tells it why, in its dialect and in the close frame.
    pub(in crate::adapters::websocket) fn refuse(&mut self, refusal: &Refusal) {
        self.session = None;
        self.outbox.abandon();
        self.close(refusal);
    }

    pub(super) fn close(&mut self, refusal: &Refusal) {
        if refusal.is_final() {
            let mut denied = BytesMut::new();
            let reason = refusal.text.clone().into_owned();
            encode_frame::<D>(&Outbound::Denied { reason }, &mut denied);
            self.writer.frames.push_back(denied.freeze());
        }
        self.begin_closing("server", Some(refusal.close_code));
        self.writer
            .frames
            .push_back(close_frame(refusal.close_code, &refusal.text));
    }

    pub(super) fn begin_closing(&mut self, by: &'static str, code: Option<u16>) {
        metrics::connection_closed(by, code);
        self.phase = Phase::Closing;
        self.liveness.closing(self.context.clock.now_ms());
    }

    pub(super) fn answer_goodbye(&mut self, code: Option<u16>) {
        self.peer_said_goodbye = true;
        if let Some(session) = self.session.take() {
            session.detach(true);
        }
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
            if Pin::new(&mut self.io).poll_shutdown(cx).is_pending() {
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
