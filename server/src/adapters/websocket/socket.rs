//! The pump: one task per socket that moves messages in and frames out until either side leaves.
//!
//! It holds no buffer while nothing moves: reads go through one scratch buffer per thread, writes
//! come from shared frames. All frames that wait leave in one write. The ways out:
//!
//! * the peer says goodbye: answer, end the stream, detach as clean;
//! * the document or the server ends the session, or the peer sends what cannot be taken: write what
//!   is queued, say why, end the stream, and go on reading for a while, since closing a socket with
//!   unread bytes would destroy the goodbye on its way;
//! * the connection breaks: deliver what came before, detach as not clean.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::ws::OpCode;
use bytes::Bytes;
use driftless_proto::engine::CloseReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::frames::control_frame;
use super::input::{Delivered, Input};
use super::liveness::{Due, Liveness, Situation};
use super::writer::FrameWriter;
use super::{Dialect, SocketContext};
use crate::adapters::Movable;
use crate::adapters::connections::Connection;
use crate::outbox::{Outbox, Taken};
use crate::session::SessionHandle;

/// Bytes of one read. Larger frames take several reads; a larger buffer would only cool the cache.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Reads and writes of one socket before others of the thread get their turn.
const TURNS_PER_WAKE: usize = 8;

mod closing;

thread_local! {
    /// Where bytes are read to: used within one call only, so one per thread is enough.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES_MAX]);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A close frame is among the frames to write, or the connection takes none any more.
    Closing,
    /// Our side of the stream has ended; the peer's end is awaited.
    Shut,
    Over,
}

/// One upgraded connection. As a future it is done when the connection is.
pub(super) struct Socket<I, D: Dialect> {
    io: I,
    context: Arc<SocketContext>,
    input: Input<D>,
    session: Option<Box<dyn SessionHandle>>,
    outbox: Arc<Outbox>,
    writer: FrameWriter,
    /// The answer to the newest ping; an older one need not be answered (RFC 6455 section 5.5.3).
    pong: Option<Bytes>,
    liveness: Liveness,
    situation: Situation,
    timer: Pin<Box<Sleep>>,
    armed_ms: u64,
    phase: Phase,
    /// The peer's close frame has come.
    peer_said_goodbye: bool,
    /// Counts this connection until it is dropped.
    _connection: Connection,
}

impl<I, D> Socket<I, D>
where
    I: Movable,
    D: Dialect,
{
    /// A socket on an accepted stream. `unsent` (the handshake's answer) goes out first, `unread`
    /// was read behind the handshake.
    pub(super) fn new(
        io: I,
        context: Arc<SocketContext>,
        outbox: Arc<Outbox>,
        connection: Connection,
        unsent: Bytes,
        unread: &[u8],
    ) -> Self {
        let now_ms = context.clock.now_ms();
        outbox.set_stream(Some(io.as_raw_fd()));
        let mut input = Input::new(context.frame_bytes_max);
        input.feed(unread);
        let mut writer = FrameWriter::default();
        writer.frames.push_back(unsent);
        Self {
            io,
            input,
            session: None,
            outbox,
            writer,
            pong: None,
            liveness: Liveness::new(context.times, now_ms),
            situation: Situation {
                write_blocked: false,
                read_paused: false,
            },
            // Not polled before it is armed for real.
            timer: Box::pin(sleep(Duration::ZERO)),
            armed_ms: u64::MAX,
            phase: Phase::Open,
            peer_said_goodbye: false,
            _connection: connection,
            context,
        }
    }

    /// Gives the socket the session its messages are for, on the thread that it stays on.
    pub(super) fn attach(&mut self, session: Box<dyn SessionHandle>) {
        self.session = Some(session);
        if I::IS_PLAIN {
            self.outbox.allow_direct_writes();
        }
    }
}

impl<I, D> Socket<I, D>
where
    I: AsyncRead + AsyncWrite + Unpin,
    D: Dialect,
{
    /// One step of the incoming half; true when there may be another.
    fn poll_input(&mut self, cx: &mut Context<'_>, now_ms: u64) -> bool {
        if let Some(session) = &mut self.session {
            let delivered = self.input.deliver(&mut **session, cx);
            self.situation.read_paused = matches!(delivered, Delivered::Paused);
            match delivered {
                Delivered::All => {}
                Delivered::Paused => {
                    self.liveness.heard(now_ms);
                    return false;
                }
                other => {
                    self.interrupt(other);
                    return true;
                }
            }
        }
        match self.poll_read(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes @ 1..)) => {
                self.liveness.heard(now_ms);
                self.context.received_bytes.increment(bytes as u64);
                true
            }
            Poll::Ready(Ok(0) | Err(_)) => {
                if self.phase == Phase::Open {
                    self.begin_closing("lost", None);
                }
                self.phase = Phase::Over;
                false
            }
        }
    }

    /// Something other than a message came.
    fn interrupt(&mut self, delivered: Delivered) {
        match delivered {
            Delivered::All | Delivered::Paused => {}
            Delivered::Ping(payload) => self.pong = Some(control_frame(OpCode::Pong, &payload)),
            Delivered::Goodbye(code) => self.answer_goodbye(code),
            Delivered::Refused(refusal) if self.phase == Phase::Open => self.refuse(&refusal),
            Delivered::Refused(_) => self.session = None,
            Delivered::Ended => {
                self.session = None;
                // A session that ends gives its reason first; without one it was a fault.
                self.outbox.close(CloseReason::Internal);
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            // Without a session nobody wants the bytes; they are read to let the peer finish.
            if self.session.is_some() {
                self.input.feed(read.filled());
            }
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    /// One step of the outgoing half; true when there may be another.
    fn poll_output(&mut self, cx: &mut Context<'_>, now_ms: u64) -> bool {
        if self.phase == Phase::Shut {
            self.pong = None;
            return self.poll_shutdown(cx);
        }
        if self.writer.is_empty() {
            if let Some(pong) = self.pong.take() {
                self.writer.frames.push_back(pong);
            } else if self.phase != Phase::Open {
                return self.poll_shutdown(cx);
            } else if let Some(progress) = self.poll_take(cx) {
                return progress;
            }
        }
        match self.writer.poll_write(Pin::new(&mut self.io), cx) {
            Poll::Pending => {
                self.situation.write_blocked = true;
                self.outbox.unpark();
                false
            }
            Poll::Ready(Ok(written)) => {
                self.situation.write_blocked = false;
                if !self.writer.is_empty() {
                    self.outbox.unpark();
                }
                self.liveness.said(now_ms);
                self.context.sent_bytes.increment(written.bytes as u64);
                self.context.sent_frames.increment(written.frames as u64);
                true
            }
            Poll::Ready(Err(_)) => {
                self.stop_writing();
                true
            }
        }
    }

    /// Takes what the document queued; `Some` when that was no frame.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        match self.outbox.poll_take(cx, &mut self.writer.frames) {
            Poll::Ready(Taken::Frames) => None,
            Poll::Ready(Taken::Drained) => {
                if let Some(session) = &self.session {
                    session.drained();
                }
                Some(true)
            }
            Poll::Ready(Taken::Close(reason)) => {
                // The session stays: what the peer sent before it reads the goodbye still counts.
                self.close(&reason.into());
                Some(true)
            }
            Poll::Pending => Some(false),
        }
    }

    /// Does what is due, or arms the timer; true when something was done.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now_ms: u64) -> bool {
        if self.armed_ms <= now_ms {
            self.liveness.said(self.outbox.flushed_ms());
        }
        let due_ms = match self.liveness.due(now_ms, self.situation) {
            Due::At(due_ms) => due_ms,
            due => {
                self.act(due);
                return true;
            }
        };
        if due_ms < self.armed_ms {
            self.arm(now_ms, due_ms);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        // It fired for a time that has moved on since.
        self.arm(now_ms, due_ms);
        true
    }

    fn arm(&mut self, now_ms: u64, due_ms: u64) {
        self.armed_ms = due_ms;
        let wait = Duration::from_millis(due_ms.saturating_sub(now_ms));
        self.timer.as_mut().reset(Instant::now() + wait);
    }

    fn act(&mut self, due: Due) {
        match due {
            Due::At(_) => {}
            Due::KeepAlive => self.writer.frames.push_back(self.context.keepalive.clone()),
            Due::Ping => {
                self.liveness.pinged();
                self.writer
                    .frames
                    .push_back(control_frame(OpCode::Ping, b""));
            }
            Due::PeerSilent => self.refuse(&CloseReason::TimedOut.into()),
            Due::Overdue => {
                if self.phase == Phase::Open {
                    self.begin_closing("lost", None);
                }
                self.phase = Phase::Over;
            }
        }
    }
}

impl<I, D> Future for Socket<I, D>
where
    I: AsyncRead + AsyncWrite + Unpin,
    D: Dialect,
    Self: Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let socket = self.get_mut();
        if socket.outbox.is_severed() {
            return Poll::Ready(());
        }
        if let Some(rest) = socket.outbox.take_rest() {
            socket.writer.frames.push_front(rest);
        }
        for _ in 0..TURNS_PER_WAKE {
            let now_ms = socket.context.clock.now_ms();
            let read = socket.poll_input(cx, now_ms);
            let wrote = socket.phase != Phase::Over && socket.poll_output(cx, now_ms);
            socket
                .context
                .received_frames
                .increment(std::mem::take(&mut socket.input.frames));
            if socket.phase == Phase::Over {
                return Poll::Ready(());
            }
            if !(read || wrote || socket.poll_timer(cx, now_ms)) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<I, D: Dialect> Drop for Socket<I, D> {
    /// However it ends, the document must not go on queueing; a session that is still here is
    /// dropped, which detaches it as not clean. The stream is closed after this.
    fn drop(&mut self) {
        self.outbox.abandon();
        self.outbox.set_stream(None);
    }
}
