//! WebSocket doors: the upgrade, the framing and the pump, for any dialect that has one document
//! per socket.
//!
//! ```text
//!  upgrade.rs ─▶ socket.rs ─┬─ input.rs   bytes ─▶ frames.rs ─▶ Dialect::messages ─▶ SessionHandle
//!   (checks,     (one task  ├─ writer.rs  Outbox ─▶ one vectored write
//!    101)         a socket) └─ liveness.rs  keep-alives and deadlines
//! ```

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use driftless_proto::wire::{DecodeError, Message, Outbound};
use metrics::{Counter, counter};

use self::liveness::Times;
use super::AdapterOptions;
use crate::clock::Clock;
use crate::metrics::{BYTES_RECEIVED, BYTES_SENT, FRAMES_RECEIVED, FRAMES_SENT};

mod frames;
mod input;
mod liveness;
mod socket;
mod upgrade;
mod writer;

use self::frames::encode_frame;
pub(super) use self::upgrade::{door, turn_away};

/// A way to speak about one document in binary messages: two pure functions.
pub trait Dialect: 'static {
    /// Its name in logs and audit.
    const NAME: &'static str;

    /// The messages of one frame.
    type Messages: Iterator<Item = Result<Message, DecodeError>> + 'static;

    /// Reads the messages of one frame; nothing may follow an error.
    fn messages(frame: Bytes) -> Self::Messages;

    /// Appends one message, without transport framing.
    fn encode(message: &Outbound, into: &mut BytesMut);
}

/// What all sockets of a door have in common.
#[derive(Debug)]
struct SocketContext {
    clock: Clock,
    times: Times,
    frame_bytes_max: usize,
    /// The dialect's keep-alive as a complete frame.
    keepalive: Bytes,
    received_bytes: Counter,
    received_frames: Counter,
    sent_bytes: Counter,
    sent_frames: Counter,
}

impl SocketContext {
    fn new<D: Dialect>(options: &AdapterOptions, clock: Clock) -> Arc<Self> {
        let mut keepalive = BytesMut::new();
        encode_frame::<D>(&Outbound::KeepAlive, &mut keepalive);
        Arc::new(Self {
            clock,
            times: Times {
                keepalive_ms: options.keepalive_ms,
                peer_timeout_ms: options.peer_timeout_ms,
                write_timeout_ms: options.write_timeout_ms,
                close_timeout_ms: options.close_timeout_ms,
            },
            frame_bytes_max: options.frame_bytes_max,
            keepalive: keepalive.freeze(),
            received_bytes: counter!(BYTES_RECEIVED),
            received_frames: counter!(FRAMES_RECEIVED),
            sent_bytes: counter!(BYTES_SENT),
            sent_frames: counter!(FRAMES_SENT),
        })
    }
}
