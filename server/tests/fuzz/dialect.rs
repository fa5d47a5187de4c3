//! The three dialects as clients write them and hear them.

use bytes::Bytes;
use driftless_proto::wire::hocuspocus::{self, Incoming, Said};
use driftless_proto::wire::lib0::{Reader, put_bytes, put_string, put_var_uint};
use driftless_proto::wire::{Message, ywebsocket};

/// A way to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    YWebSocket,
    YSweet,
    Hocuspocus,
}

/// What a client says about a document.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    Step1(Vec<u8>),
    Step2(Vec<u8>),
    Update(Vec<u8>),
    Presence(Vec<u8>),
    /// The same as an answer to a query, as y-sweet's clients write it.
    PresenceAsQuery(Vec<u8>),
    Query,
    Probe(u64),
    Stateless(String),
    Close,
    Token(String, Option<&'static str>),
    /// A ping or a pong without an address.
    Beat(u8),
    /// A type that only servers send, or that nobody knows.
    Other(u64, Vec<u8>),
}

/// What a server says, as far as anybody here acts on it.
#[derive(Debug)]
pub(crate) enum Heard {
    Asked(Vec<u8>),
    Changed(Vec<u8>),
    Presence,
    Stateless,
    Saved(u64),
    Receipt { accepted: bool },
    Other,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::YWebSocket, Self::YSweet, Self::Hocuspocus];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::YWebSocket => "y-websocket",
            Self::YSweet => "y-sweet",
            Self::Hocuspocus => "hocuspocus",
        }
    }

    /// Where a document is opened.
    pub(crate) fn path(self, document: &str) -> String {
        match self {
            Self::YWebSocket => format!("/ws/{document}"),
            Self::YSweet => format!("/d/{document}/ws/{document}"),
            Self::Hocuspocus => "/hocuspocus".to_owned(),
        }
    }

    /// Writes one message.
    pub(crate) fn write(self, address: &str, say: &Say) -> Vec<u8> {
        let mut out = Vec::new();
        if let Say::Beat(byte) = say {
            return vec![*byte];
        }
        if self == Self::Hocuspocus {
            put_string(&mut out, address);
        }
        let sync = |out: &mut Vec<u8>, kind: u64, bytes: &[u8]| {
            put_var_uint(out, 0);
            put_var_uint(out, kind);
            put_bytes(out, bytes);
        };
        let typed = |out: &mut Vec<u8>, kind: u64, bytes: &[u8]| {
            put_var_uint(out, kind);
            put_bytes(out, bytes);
        };
        match say {
            Say::Step1(bytes) => sync(&mut out, 0, bytes),
            Say::Step2(bytes) => sync(&mut out, 1, bytes),
            Say::Update(bytes) => sync(&mut out, 2, bytes),
            Say::Presence(bytes) => typed(&mut out, 1, bytes),
            Say::PresenceAsQuery(bytes) => typed(&mut out, 3, bytes),
            Say::Query => put_var_uint(&mut out, 3),
            Say::Probe(version) => {
                let mut payload = Vec::new();
                put_var_uint(&mut payload, *version);
                typed(&mut out, 102, &payload);
            }
            Say::Stateless(text) => typed(&mut out, 5, text.as_bytes()),
            Say::Close => put_var_uint(&mut out, 7),
            Say::Token(token, version) => {
                typed(&mut out, 2, &[]);
                put_string(&mut out, token);
                if let Some(version) = version {
                    put_string(&mut out, version);
                }
            }
            Say::Beat(_) => {}
            Say::Other(kind, bytes) => typed(&mut out, *kind, bytes),
        }
        out
    }

    /// The address before a message of the server, and what it says; what cannot be read is a fault.
    pub(crate) fn hear(self, frame: &[u8]) -> Result<(String, Vec<Heard>), String> {
        let fault = |error| format!("a frame of the server cannot be read: {error:?} {frame:?}");
        match self {
            Self::Hocuspocus => hear_addressed(frame).map_err(fault),
            _ => hear_plain(frame).map_err(fault),
        }
    }
}

fn hear_plain(frame: &[u8]) -> Result<(String, Vec<Heard>), driftless_proto::wire::DecodeError> {
    let messages = ywebsocket::messages(Bytes::copy_from_slice(frame));
    let heard = messages.map(|message| {
        Ok(match message? {
            Message::SyncStep1 { vector } => Heard::Asked(vector.to_vec()),
            Message::SyncStep2 { update } | Message::Update { update } => {
                Heard::Changed(update.to_vec())
            }
            Message::SaveProbe { version } => Heard::Saved(version),
            Message::Presence { .. } => Heard::Presence,
            Message::QueryPresence
            | Message::Stateless { .. }
            | Message::Leftover { .. }
            | Message::Pong
            | Message::QueueSent => Heard::Other,
        })
    });
    Ok((String::new(), heard.collect::<Result<_, _>>()?))
}

fn hear_addressed(
    frame: &[u8],
) -> Result<(String, Vec<Heard>), driftless_proto::wire::DecodeError> {
    if matches!(frame, [9 | 10]) {
        return Ok((String::new(), vec![Heard::Other]));
    }
    let mut reader = Reader::new(frame);
    let address = reader.string()?.to_owned();
    let heard = match reader.var_uint()? {
        0 => match (reader.var_uint()?, reader.bytes()?.to_vec()) {
            (0, bytes) => Heard::Asked(bytes),
            (_, bytes) => Heard::Changed(bytes),
        },
        1 => {
            reader.bytes()?;
            Heard::Presence
        }
        5 => {
            reader.string()?;
            Heard::Stateless
        }
        8 => Heard::Receipt {
            accepted: reader.var_uint()? == 1,
        },
        _ => Heard::Other,
    };
    Ok((address, vec![heard]))
}

/// What the server may make of a message for a document: what it is worth to the one who sends it.
#[derive(Debug, Default)]
pub(crate) struct Meaning {
    /// The document, when the message names one.
    pub(crate) document: Option<String>,
    pub(crate) address: String,
    pub(crate) token: Option<String>,
    /// A provider counts an answer to it.
    pub(crate) is_counted: bool,
}

/// What a frame of the Hocuspocus dialect means; nothing when it cannot be read.
pub(crate) fn meaning(frame: &[u8]) -> Meaning {
    let Ok(Incoming::Addressed { address, said }) = hocuspocus::read(Bytes::copy_from_slice(frame))
    else {
        return Meaning::default();
    };
    let address = String::from_utf8_lossy(&address).into_owned();
    let (name, _) = hocuspocus::split_address(&address);
    let token = match &said {
        Said::Token { token, .. } => Some(String::from_utf8_lossy(token).into_owned()),
        _ => None,
    };
    let is_counted = matches!(
        said,
        Said::Message(Message::Update { .. } | Message::SyncStep2 { .. })
    );
    Meaning {
        document: Some(name.to_owned()),
        address,
        token,
        is_counted,
    }
}
