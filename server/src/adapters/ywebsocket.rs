//! The y-websocket door: `GET /ws/{document}`, for any Yjs app as it is.

use bytes::{Bytes, BytesMut};
use driftless_proto::name::{DocumentName, NameError};
use driftless_proto::wire::{Outbound, ywebsocket};

use super::http::DoorSign;
use super::websocket::Dialect;

/// The door's place.
pub(super) const SIGN: DoorSign = DoorSign {
    matches: |path| path.strip_prefix("/ws/"),
    place: "/ws/{document}",
    dialect: YWebSocket::NAME,
    client: "new WebsocketProvider(\"ws://HOST/ws\", name, doc)",
};

/// The y-websocket dialect.
#[derive(Debug)]
pub(super) struct YWebSocket;

impl Dialect for YWebSocket {
    const NAME: &'static str = "y-websocket";
    const ANSWERS_WRITES: bool = false;

    type Messages = ywebsocket::Messages;

    fn document(rest: &str) -> Result<DocumentName, NameError> {
        DocumentName::from_raw_path(rest)
    }

    fn messages(frame: Bytes) -> Self::Messages {
        ywebsocket::messages(frame)
    }

    fn encode(message: &Outbound, into: &mut BytesMut) {
        ywebsocket::encode(message, into);
    }
}
