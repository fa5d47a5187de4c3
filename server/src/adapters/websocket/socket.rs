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
use bytes::{Bytes, BytesMut};
use driftless_proto::engine::CloseReason;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

use super::completion::Completion;
use super::frames::control_frame;
use super::input::Input;
use super::liveness::{Due, Liveness, Situation};
use super::pace::Pace;
use super::writer::FrameWriter;
use super::{Conversation, Delivered, FIRST_PING, HEARD_PING, SocketContext, Work};
use crate::adapters::Movable;
use crate::adapters::connections::Connection;
use crate::outbox::{LineId, Outbox, Taken};

/// Bytes of one read. Larger frames take several reads; a larger buffer would only cool the cache.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Reads and writes of one socket before others of the thread get their turn.
const TURNS_PER_WAKE: usize = 8;

mod closing;
mod moving;

use self::moving::Moving;

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

/// Why a socket is not polled any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The connection is over.
    Over,
    /// It is to be served on the thread of its first document.
    Move,
}

/// One upgraded connection. As a future it is done when the connection is, or wants to move.
pub(super) struct Socket<I: Movable, C> {
    /// `None` on its way from one thread to another.
    io: Option<I>,
    context: Arc<SocketContext>,
    input: Input,
    conversation: C,
    outbox: Arc<Outbox>,
    writer: FrameWriter,
    /// Pings and pongs among what the writer has.
    signs: usize,
    /// The answer to the newest ping; an older one need not be answered (RFC 6455 section 5.5.3).
    pong: Option<Bytes>,
    liveness: Liveness,
    pace: Pace,
    completion: Completion,
    situation: Situation,
    /// `None` before it is armed, and on the way between threads.
    timer: Option<Pin<Box<Sleep>>>,
    armed_ms: u64,
    phase: Phase,
    /// The peer's close frame has come.
    peer_said_goodbye: bool,
    /// Counts this connection until it is dropped.
    connection: Connection,
}

impl<I, C> Socket<I, C>
where
    I: Movable,
    C: Conversation,
{
    /// A socket on an accepted stream. `unsent` (the handshake's answer) goes out first, `unread`
    /// was read behind the handshake.
    pub(super) fn new(
        io: I,
        context: Arc<SocketContext>,
        conversation: C,
        outbox: Arc<Outbox>,
        connection: Connection,
        unsent: Bytes,
        unread: &[u8],
    ) -> Self {
        let now_ms = context.clock.now_ms();
        outbox.set_stream(Some(io.as_raw_fd()));
        if C::PINGS_FIRST {
            let ping = |payload| control_frame(OpCode::Ping, payload);
            outbox.surround_first(ping(FIRST_PING), ping(HEARD_PING));
        }
        let mut input = Input::new(context.first_frame_bytes_max);
        input.feed(unread);
        let mut writer = FrameWriter::default();
        writer.frames.push_back(unsent);
        Self {
            io: Some(io),
            input,
            conversation,
            outbox,
            writer,
            signs: 0,
            pong: None,
            liveness: Liveness::new(context.times, now_ms),
            pace: Pace::new(&context.limits, now_ms),
            completion: Completion::new(context.limits.frame_timeout_ms),
            situation: Situation {
                write_blocked: false,
                read_paused: false,
            },
            timer: None,
            armed_ms: u64::MAX,
            phase: Phase::Open,
            peer_said_goodbye: false,
            connection,
            context,
        }
    }

    /// Serves a connection to its end: here, until it has a document, and then beside that.
    pub(super) async fn serve(mut self) {
        if self.conversation.home().is_none() && (&mut self).await == Outcome::Over {
            return;
        }
        let Some(place) = self.conversation.home().map(|home| home.beside()) else {
            return;
        };
        let Some(Ok(mut moving)) = self.io.take().map(|io| Moving::depart(io, &self.outbox)) else {
            // A stream that cannot be moved is broken: it is closed here, and its sessions with it.
            return;
        };
        self.connection.authenticated();
        self.input.allow(self.context.frame_bytes_max);
        self.timer = None;
        self.armed_ms = u64::MAX;
        place(Box::new(move || {
            Box::pin(async move {
                self.io = moving.arrive();
                if let Some(io) = &self.io {
                    self.outbox.set_stream(Some(io.as_raw_fd()));
                    if I::IS_PLAIN {
                        self.outbox.allow_direct_writes();
                    }
                    self.await;
                }
            })
        }));
    }
}

impl<I, C> Socket<I, C>
where
    I: Movable,
    C: Conversation,
{
    /// One step of the incoming half; true when there may be another.
    fn poll_input(&mut self, cx: &mut Context<'_>, now_ms: u64) -> bool {
        if self.outbox.is_overfull() {
            // The peer takes none of its answers: what it says next waits until it has.
            self.pause_reading();
            return false;
        }
        if self.conversation.is_listening() {
            let delivered = self.input.deliver(&mut self.conversation, cx);
            self.situation.read_paused = matches!(delivered, Delivered::Paused);
            match delivered {
                Delivered::All => self.completion.look(now_ms, self.input.incomplete()),
                Delivered::Paused => {
                    self.pause_reading();
                    self.liveness.heard(now_ms);
                    return false;
                }
                other => {
                    self.interrupt(other);
                    return true;
                }
            }
        }
        if self.pace.resumes_ms(now_ms).is_some() {
            self.pause_reading();
            self.liveness.heard(now_ms);
            return false;
        }
        match self.poll_read(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(bytes @ 1..)) => {
                self.pace.read(now_ms, bytes);
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

    fn pause_reading(&mut self) {
        self.situation.read_paused = true;
        self.completion.suspend();
    }

    /// Something other than a message came.
    fn interrupt(&mut self, delivered: Delivered) {
        match delivered {
            Delivered::All | Delivered::Paused => {}
            Delivered::Ping(payload) => self.pong = Some(control_frame(OpCode::Pong, &payload)),
            Delivered::Goodbye(code) => self.answer_goodbye(code),
            Delivered::Refused(refusal) if self.phase == Phase::Open => self.refuse(&refusal),
            Delivered::Refused(_) => self.conversation.leave(false),
            Delivered::Ended => {
                self.conversation.leave(false);
                // A session that ends gives its reason first; without one it was a fault.
                self.outbox.close(CloseReason::Internal);
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(Ok(0));
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut read))?;
            // When nobody wants the bytes they are read to let the peer finish.
            if self.conversation.is_listening() {
                self.input.feed(read.filled());
            }
            if C::ANSWERS_WRITES && !read.filled().is_empty() {
                io.acknowledge();
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
                self.sign(pong);
            } else if self.phase != Phase::Open {
                return self.poll_shutdown(cx);
            } else if let Some(progress) = self.poll_take(cx) {
                return progress;
            }
        }
        let Some(io) = &mut self.io else {
            return false;
        };
        match self.writer.poll_write(Pin::new(io), cx) {
            Poll::Pending => {
                self.situation.write_blocked = true;
                self.outbox.block(cx);
                false
            }
            Poll::Ready(Ok(written)) => {
                self.situation.write_blocked = false;
                if !self.writer.is_empty() {
                    self.outbox.unpark();
                }
                self.liveness.said(now_ms);
                let signs = self.signs.min(written.frames);
                self.signs -= signs;
                if written.frames > signs {
                    self.liveness.told(now_ms);
                }
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
        let was_overfull = self.outbox.is_overfull();
        match self.outbox.poll_take(cx, &mut self.writer.frames) {
            Poll::Ready(Taken::Frames) => None,
            Poll::Ready(Taken::Drained(lines)) => {
                self.conversation.drained(&lines);
                Some(true)
            }
            Poll::Ready(Taken::Ended(line, reason)) => {
                self.end(line, reason);
                Some(true)
            }
            Poll::Ready(Taken::Close(reason)) => {
                // Sessions stay: what the peer sent before it reads the goodbye still counts.
                self.close(&reason.into());
                Some(true)
            }
            // All answers are written: what was left unread over them is read now.
            Poll::Pending => Some(was_overfull && !self.outbox.is_overfull()),
        }
    }

    /// Does what is due, or arms the timer; true when something was done.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now_ms: u64) -> bool {
        if self.armed_ms <= now_ms {
            self.liveness.told(self.outbox.flushed_ms());
        }
        let due_ms = match self.liveness.due(now_ms, self.situation) {
            Due::At(due_ms) => due_ms,
            due => {
                self.act(due);
                return true;
            }
        };
        let mut due_ms = due_ms.min(self.conversation.deadline_ms().max(now_ms));
        if self.phase == Phase::Open {
            if self.completion.deadline_ms() <= now_ms {
                self.refuse_slow();
                return true;
            }
            due_ms = due_ms.min(self.completion.deadline_ms());
        }
        if let Some(resumes_ms) = self.pace.resumes_ms(now_ms) {
            due_ms = due_ms.min(resumes_ms);
        }
        if due_ms < self.armed_ms {
            self.arm(now_ms, due_ms);
        }
        let timer = self.timer.as_mut().map(|timer| timer.as_mut().poll(cx));
        if timer.is_none_or(|timer| timer.is_pending()) {
            return false;
        }
        // It fired for a time that has moved on since.
        self.arm(now_ms, due_ms);
        true
    }

    fn arm(&mut self, now_ms: u64, due_ms: u64) {
        self.armed_ms = due_ms;
        let wait = Duration::from_millis(due_ms.saturating_sub(now_ms));
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + wait),
            None => self.timer = Some(Box::pin(sleep(wait))),
        }
    }

    /// Sends something that the peer's watchdog counts.
    fn keep_alive(&mut self) {
        let mut frame = BytesMut::new();
        self.conversation.keep_alive(&mut frame);
        self.say(frame.freeze());
    }

    /// Has a frame written that is no message.
    fn sign(&mut self, frame: Bytes) {
        self.signs += 1;
        self.writer.frames.push_back(frame);
    }

    /// Has a frame written that no document pushed.
    fn say(&mut self, frame: Bytes) {
        match self.outbox.take_around_first() {
            Some([before, behind]) => self.writer.frames.extend([before, frame, behind]),
            None => self.writer.frames.push_back(frame),
        }
    }

    /// Holds sessions to what has changed about their access. Comes before what the peer says next is
    /// read, and does not wait for the peer to take what was written.
    fn recheck(&mut self) {
        let lines = self.outbox.take_rechecks();
        if self.phase == Phase::Open && !lines.is_empty() {
            self.conversation.recheck(&lines);
        }
    }

    /// A document has ended a session.
    fn end(&mut self, line: LineId, reason: CloseReason) {
        let mut told = BytesMut::new();
        let refusal = self.conversation.ended(line, reason, &mut told);
        if !told.is_empty() {
            self.say(told.freeze());
        }
        if let Some(refusal) = refusal {
            self.close(&refusal);
        }
    }

    fn act(&mut self, due: Due) {
        match due {
            Due::At(_) => {}
            Due::KeepAlive => self.keep_alive(),
            Due::Ping => {
                self.liveness.pinged();
                self.sign(control_frame(OpCode::Ping, b""));
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

impl<I, C> Future for Socket<I, C>
where
    I: Movable,
    C: Conversation,
{
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let socket = self.get_mut();
        if socket.outbox.is_severed() {
            return Poll::Ready(Outcome::Over);
        }
        if let Some(rest) = socket.outbox.take_rest() {
            socket.writer.frames.push_front(rest);
        }
        for _ in 0..TURNS_PER_WAKE {
            let now_ms = socket.context.clock.now_ms();
            socket.recheck();
            let worked = match socket.conversation.work(cx, now_ms) {
                Work::Nothing => false,
                Work::Progress => true,
                Work::Move => return Poll::Ready(Outcome::Move),
                Work::Close(refusal) => {
                    socket.refuse(&refusal);
                    true
                }
            };
            let read = socket.poll_input(cx, now_ms);
            let wrote = socket.phase != Phase::Over && socket.poll_output(cx, now_ms);
            let frames = std::mem::take(&mut socket.input.frames);
            socket.context.received_frames.increment(frames);
            socket.pace.heard(now_ms, frames);
            if socket.phase == Phase::Over {
                return Poll::Ready(Outcome::Over);
            }
            if !(worked || read || wrote || socket.poll_timer(cx, now_ms)) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<I: Movable, C> Drop for Socket<I, C> {
    /// However it ends, documents must not go on queueing; sessions that are still here are dropped,
    /// which detaches them as not clean. The stream is closed after this.
    fn drop(&mut self) {
        self.outbox.abandon();
        self.outbox.set_stream(None);
    }
}
