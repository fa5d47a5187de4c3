//! The y-sweet door: `GET /d/{id}/ws/{id}` speaks y-websocket with y-sweet's type 102, and a few
//! calls over HTTP create documents, hand out client tokens, read and write states.
//!
//! Source: y-sweet 0.9.1, `crates/y-sweet/src/server.rs`, and the packages @y-sweet/client and
//! @y-sweet/sdk 0.9.1.

use bytes::{Bytes, BytesMut};
use driftless_proto::name::{DocumentName, NameError};
use driftless_proto::wire::{Outbound, ywebsocket};

use super::http::DoorSign;
use super::websocket::Dialect;

mod calls;

pub(super) use self::calls::{Calls, configure};

/// The name of this door in logs and metrics.
const NAME: &str = "y-sweet";

/// The door's place.
pub(super) const SIGN: DoorSign = DoorSign {
    matches,
    place: "/d/{document}/ws/{document}",
    dialect: NAME,
    client: "createYjsProvider(doc, name, authEndpoint)",
};

/// What is left of a path at this door: `{id}/ws/{id}`, since the client appends the document's id to
/// a URL that names it already; older clients ask for `/doc/ws/{id}`.
fn matches(path: &str) -> Option<&str> {
    if let Some(id) = path.strip_prefix("/doc/ws/") {
        return Some(id);
    }
    path.strip_prefix("/d/")
        .filter(|rest| rest.split('/').nth(1) == Some("ws"))
}

/// y-sweet's dialect: y-websocket's frames with type 102.
#[derive(Debug)]
pub(super) struct YSweet;

impl Dialect for YSweet {
    const NAME: &'static str = NAME;
    const ANSWERS_WRITES: bool = true;
    /// Its client asks after 2 s of silence whether all is saved, and connects anew 3 s later. (Source:
    /// `@y-sweet/client` 0.9, `MAX_TIMEOUT_BETWEEN_HEARTBEATS` and the one below it.) The answer comes
    /// first, unless the document is loading, or is full.
    const KEEPALIVE_MS_MAX: u64 = 2_500;

    type Messages = ywebsocket::Messages;

    fn document(rest: &str) -> Result<DocumentName, NameError> {
        let (first, last) = rest.split_once("/ws/").unwrap_or((rest, rest));
        match first == last {
            true => document(first),
            false => Err(NameError::NotPlain),
        }
    }

    fn messages(frame: Bytes) -> Self::Messages {
        ywebsocket::messages(frame)
    }

    fn encode(message: &Outbound, into: &mut BytesMut) {
        ywebsocket::encode(message, into);
    }
}

/// y-sweet's ids are letters, digits, `_` and `-`; they need no escaping anywhere.
fn document(id: &str) -> Result<DocumentName, NameError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match id.bytes().all(is_plain) {
        true => DocumentName::new(id),
        false => Err(NameError::NotPlain),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_id_stands_twice_and_both_are_the_same() {
        let named = |path: &str| YSweet::document(matches(path)?).ok();
        assert_eq!(named("/d/a-b_1/ws/a-b_1").unwrap().as_str(), "a-b_1");
        assert_eq!(named("/doc/ws/abc").unwrap().as_str(), "abc");
        for path in [
            "/d/a/ws/b",
            "/d/a/ws",
            "/d/a/ws/",
            "/d/a/as-update",
            "/d/a%2Fb/ws/a%2Fb",
            "/d//ws/",
            "/doc/ws/",
            "/doc/a/auth",
            "/ws/a",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
    }
}
