//! The y-websocket door: `GET /ws/{document}`, for any Yjs app as it is.

use bytes::{Bytes, BytesMut};
use driftless_proto::wire::{Outbound, ywebsocket};

use super::websocket::Dialect;

/// What stands before the document's name in the path.
pub(super) const PATH_PREFIX: &str = "/ws/";

/// The y-websocket dialect.
#[derive(Debug)]
pub(super) struct YWebSocket;

impl Dialect for YWebSocket {
    const NAME: &'static str = "y-websocket";

    type Messages = ywebsocket::Messages;

    fn messages(frame: Bytes) -> Self::Messages {
        ywebsocket::messages(frame)
    }

    fn encode(message: &Outbound, into: &mut BytesMut) {
        ywebsocket::encode(message, into);
    }
}
