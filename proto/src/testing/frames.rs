//! Frames as y-websocket clients write and read them; the dialect is symmetric but for "denied".

use bytes::{Bytes, BytesMut};

use crate::wire::{Outbound, ywebsocket};

/// The first byte of an auth message, which only says that something was denied.
const AUTH: u8 = 2;
/// "Send me everyone's presence."
const QUERY_PRESENCE: u8 = 3;

/// A frame of one message. A save probe looks like its answer.
pub(super) fn frame(message: &Outbound) -> Bytes {
    let mut out = BytesMut::new();
    ywebsocket::encode(message, &mut out);
    out.freeze()
}

pub(super) fn query_presence() -> Bytes {
    Bytes::from_static(&[QUERY_PRESENCE])
}

pub(super) fn is_denial(frame: &Bytes) -> bool {
    frame.first() == Some(&AUTH)
}
