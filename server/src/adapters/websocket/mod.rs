//! WebSocket doors: the upgrade, the framing and the pump, whatever is said over them.
//!
//! ```text
//!  upgrade.rs ─▶ socket.rs ─┬─ input.rs   bytes ─▶ frames.rs ─▶ Conversation ─▶ SessionHandles
//!   (checks,     (one task  ├─ writer.rs  Outbox ─▶ one vectored write
//!    101)         a socket) ├─ liveness.rs  keep-alives and deadlines
//!                           └─ pace.rs, completion.rs  neither too fast nor too slow
//! ```
//!
//! A [`Conversation`] knows what frames mean: `single.rs` is the one of dialects with one document a
//! socket; others are beside it in `adapters`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;

use bytes::{Bytes, BytesMut};
use driftless_proto::engine::CloseReason;
use driftless_proto::name::{DocumentName, NameError};
use driftless_proto::wire::{DecodeError, Message, Outbound};
use metrics::{Counter, counter};

use self::liveness::Times;
use super::AdapterOptions;
use super::access::Opening;
use super::limits::Limits;
use crate::clock::Clock;
use crate::error::Refusal;
use crate::metrics::{BYTES_RECEIVED, BYTES_SENT, FRAMES_RECEIVED, FRAMES_SENT};
use crate::outbox::{LineId, Recheck};
use crate::session::SessionHandle;

mod completion;
mod frames;
mod input;
mod liveness;
mod pace;
mod single;
mod socket;
mod upgrade;
mod writer;

pub(super) use self::completion::due_ms;
pub(super) use self::frames::{encode_frame, put_frame};
pub(super) use self::single::Single;
pub(super) use self::upgrade::{door, turn_away};

/// However little may wait before a token, the frame with the longest token fits.
const FIRST_FRAME_BYTES_MIN: usize = 64 << 10;

/// The payloads of the pings that stand right before the first message to a peer and right behind it;
/// those that ask whether it is still there have none. They are few: clients end connections over many.
pub(super) const FIRST_PING: &[u8] = b"first";
pub(super) const HEARD_PING: &[u8] = b"heard";

/// A way to speak about one document in binary messages: pure functions.
pub trait Dialect: Send + Sync + 'static {
    /// Its name in logs and audit.
    const NAME: &'static str;

    /// See [`Conversation::ANSWERS_WRITES`].
    const ANSWERS_WRITES: bool;

    /// See [`Conversation::KEEPALIVE_MS_MAX`].
    const KEEPALIVE_MS_MAX: u64 = u64::MAX;

    /// The messages of one frame.
    type Messages: Iterator<Item = Result<Message, DecodeError>> + Send + Unpin + 'static;

    /// The document that a path names; `rest` is what stands behind the door's prefix.
    fn document(rest: &str) -> Result<DocumentName, NameError>;

    /// Reads the messages of one frame; nothing may follow an error.
    fn messages(frame: Bytes) -> Self::Messages;

    /// Appends one message, without transport framing; nothing for what it has no words for.
    fn encode(message: &Outbound, into: &mut BytesMut);
}

/// How far the delivery of what was taken in got.
#[derive(Debug)]
pub(super) enum Delivered {
    /// All of it; more can be taken in.
    All,
    /// A document has no room, or nobody knows yet who asks; the waker is called when that changes.
    Paused,
    /// The session is over and nothing can follow.
    Ended,
    /// The peer wants a pong with this payload.
    Ping(Bytes),
    /// The peer says goodbye.
    Goodbye(Option<u16>),
    /// What follows cannot be taken; everything before it was delivered.
    Refused(Refusal),
}

/// What a conversation did, or wants, on its own account.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing.
    Nothing,
    /// Something; there may be more.
    Progress,
    /// Its first session has come, so the socket should be served beside that document.
    Move,
    /// The connection has to end.
    Close(Refusal),
}

/// What is said over one connection: what its frames mean and which documents they are for.
///
/// It runs in the socket's task and holds its sessions; dropping it ends them as not clean.
pub(super) trait Conversation: Send + Unpin + Sized + 'static {
    /// Its name in logs and audit.
    const NAME: &'static str;

    /// Whether peers hear of each write, once it is stored. A peer that gathers small writes (Nagle's
    /// algorithm, which browsers switch off and other clients may not) sends its next one when the
    /// one before is acknowledged, and kernels like to acknowledge along with an answer: each write
    /// would wait for the commit of the one before.
    const ANSWERS_WRITES: bool;

    /// The longest silence, in milliseconds, before something is said to a quiet peer, whatever the
    /// settings allow: well below the patience of its clients.
    const KEEPALIVE_MS_MAX: u64 = u64::MAX;

    /// Whether pings stand around the first message to the peer: [`FIRST_PING`] and [`HEARD_PING`].
    const PINGS_FIRST: bool;

    /// Begins; whatever is wrong is told by [`Self::work`].
    fn begin(opening: Opening) -> Self;

    /// The session whose document the socket should be beside; `None` while there is none.
    fn home(&self) -> Option<&dyn SessionHandle>;

    /// Whether anybody wants what the peer sends.
    fn is_listening(&self) -> bool;

    /// Takes one frame in, after [`Self::deliver`] said that all before it was delivered.
    fn take(&mut self, frame: Bytes);

    /// The answer to a ping with this payload came; as [`Self::take`].
    fn ponged(&mut self, payload: &[u8]);

    /// Gives documents what they have room for.
    fn deliver(&mut self, cx: &mut Context<'_>) -> Delivered;

    /// Does what is due by itself: answers that came, times that passed.
    fn work(&mut self, cx: &mut Context<'_>, now_ms: u64) -> Work;

    /// When [`Self::work`] has something to do by itself; `u64::MAX` for never.
    fn deadline_ms(&self) -> u64;

    /// All that was queued for these sessions is written.
    fn drained(&mut self, lines: &[LineId]);

    /// These sessions have to show again that they may be here.
    fn recheck(&mut self, lines: &BTreeMap<LineId, Recheck>);

    /// A document has ended this session; appends what the peer is told. Whether the whole connection
    /// has to end over it.
    fn ended(&mut self, line: LineId, reason: CloseReason, into: &mut BytesMut) -> Option<Refusal>;

    /// The peer left; `clean` when it said goodbye.
    fn leave(&mut self, clean: bool);

    /// Appends a message that keeps the peer's silence watchdog calm.
    fn keep_alive(&self, into: &mut BytesMut);

    /// Appends what the peer is told before the connection ends; returns the close code.
    fn farewell(&self, refusal: &Refusal, into: &mut BytesMut) -> u16;
}

/// What all sockets of a door have in common.
#[derive(Debug)]
struct SocketContext {
    clock: Clock,
    times: Times,
    frame_bytes_max: usize,
    /// The same before a document was opened: what may wait then.
    first_frame_bytes_max: usize,
    limits: Limits,
    received_bytes: Counter,
    received_frames: Counter,
    sent_bytes: Counter,
    sent_frames: Counter,
}

impl SocketContext {
    fn new<C: Conversation>(options: &AdapterOptions, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            times: Times {
                keepalive_ms: options.keepalive_ms.min(C::KEEPALIVE_MS_MAX),
                peer_timeout_ms: options.peer_timeout_ms,
                write_timeout_ms: options.write_timeout_ms,
                close_timeout_ms: options.close_timeout_ms,
            },
            frame_bytes_max: options.frame_bytes_max,
            first_frame_bytes_max: options
                .unauthenticated_bytes_max
                .max(FIRST_FRAME_BYTES_MIN)
                .min(options.frame_bytes_max),
            limits: options.limits.clone(),
            received_bytes: counter!(BYTES_RECEIVED),
            received_frames: counter!(FRAMES_RECEIVED),
            sent_bytes: counter!(BYTES_SENT),
            sent_frames: counter!(FRAMES_SENT),
        })
    }
}
