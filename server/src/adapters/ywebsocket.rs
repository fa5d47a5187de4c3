//! The y-websocket door: `GET /ws/{document}`, for any Yjs app as it is.

use bytes::{Bytes, BytesMut};
use driftless_proto::name::{DocumentName, NameError};
use driftless_proto::wire::{Outbound, ywebsocket};

use super::websocket::Dialect;

/// What stands before the document's name in the path.
pub(super) const PATH_PREFIX: &str = "/ws/";

/// What is behind the prefix, if it is this door's.
pub(super) fn matches(path: &str) -> Option<&str> {
    path.strip_prefix(PATH_PREFIX)
}

/// The y-websocket dialect.
#[derive(Debug)]
pub(super) struct YWebSocket;

impl Dialect for YWebSocket {
    const NAME: &'static str = "y-websocket";

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
