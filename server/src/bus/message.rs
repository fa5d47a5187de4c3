//! What nodes say to each other over a network, as bytes. Version 1; a message of another version is
//! ignored and counted, and what it told is read from the log.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use driftless_proto::ClientId;
use driftless_proto::engine::NodePresence;

use super::{Commit, Entry, Event, NodeEvent};
use crate::access::Selection;

/// The version that is written.
const VERSION: u8 = 1;

const COMMITTED: u8 = 1;
const DELETED: u8 = 2;
const INTERRUPTED: u8 = 3;
const PRESENCE: u8 = 4;
const BEAT: u8 = 5;
const STATELESS: u8 = 6;
const RESTRICTIONS_CHANGED: u8 = 7;
const RECHECK_SESSIONS: u8 = 8;
const END_SESSIONS: u8 = 9;

/// Stands for the length of an update that has to be read from the log.
const NOT_INLINE: u32 = u32::MAX;

/// Stands for the length of a part of a selection that is not given.
const ABSENT: u16 = u16::MAX;

/// What an entry takes at least: sequence, id, length.
const ENTRY_BYTES_MIN: usize = 8 + 16 + 4;

/// Flags of a message about presence.
const IS_WHOLE: u8 = 1;
const ASKS: u8 = 2;
/// Owners follow. Written only where there are any, since nodes that do not know of them take such a
/// message for malformed.
const HAS_OWNERS: u8 = 4;

/// What an owner takes at least: client, length.
const OWNER_BYTES_MIN: usize = 8 + 2;

/// A message and who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The sending node's number, random for each process.
    pub(super) node: u64,
    pub(super) said: Said,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Something about the channel's document.
    Event(Event),
    /// Something to all nodes.
    Node(NodeEvent),
    /// "I am here."
    Beat,
}

/// The bytes of a sign of life.
pub(super) fn encode_beat(node: u64) -> Bytes {
    let mut out = begin(node);
    out.put_u8(BEAT);
    out.freeze()
}

/// The bytes of a message to all nodes; nothing for one that is too large to be said.
pub(super) fn encode_node(node: u64, event: &NodeEvent) -> Option<Bytes> {
    let mut out = begin(node);
    match event {
        NodeEvent::RestrictionsChanged => out.put_u8(RESTRICTIONS_CHANGED),
        NodeEvent::RecheckSessions(selection) => {
            put_selection(&mut out, RECHECK_SESSIONS, selection)?;
        }
        NodeEvent::EndSessions(selection) => put_selection(&mut out, END_SESSIONS, selection)?,
        // What a node finds out by itself.
        NodeEvent::Rejoined => return None,
    }
    Some(out.freeze())
}

fn put_selection(out: &mut BytesMut, kind: u8, selection: &Selection) -> Option<()> {
    out.put_u8(kind);
    for part in [&selection.document, &selection.subject, &selection.token_id] {
        match part {
            Some(text) => {
                out.put_u16_le(u16::try_from(text.len()).ok().filter(|it| *it != ABSENT)?);
                out.put_slice(text.as_bytes());
            }
            None => out.put_u16_le(ABSENT),
        }
    }
    Some(())
}

/// Reads whom a message means; a message that means everybody, or nobody, is none.
fn read_selection(bytes: &mut Bytes) -> Option<Selection> {
    let mut part = || match bytes.try_get_u16_le().ok()? {
        ABSENT => Some(None),
        length => {
            let length = usize::from(length);
            let text = (length <= bytes.remaining()).then(|| bytes.split_to(length))?;
            Some(Some(String::from_utf8(text.to_vec()).ok()?))
        }
    };
    let selection = Selection {
        document: part()?,
        subject: part()?,
        token_id: part()?,
    };
    selection.check().ok().map(|()| selection)
}

fn begin(node: u64) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    out.put_u64_le(node);
    out
}

/// Why a message was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Another version wrote it.
    #[error("a message of bus version {0}; this one knows {VERSION}")]
    Version(u8),
    /// It is no message.
    #[error("a malformed message")]
    Malformed,
}

/// The bytes of a message; nothing for one that is too large to be said.
pub(super) fn encode(node: u64, event: &Event) -> Option<Bytes> {
    let mut out = begin(node);
    match event {
        Event::Committed(commit) => {
            out.put_u8(COMMITTED);
            out.put_u64_le(commit.epoch);
            out.put_u32_le(u32::try_from(commit.entries.len()).ok()?);
            for entry in &commit.entries {
                out.put_u64_le(entry.sequence);
                out.put_slice(&entry.id);
                match &entry.update {
                    Some(update) => {
                        out.put_u32_le(u32::try_from(update.len()).ok()?);
                        out.put_slice(update);
                    }
                    None => out.put_u32_le(NOT_INLINE),
                }
            }
        }
        Event::Deleted { epoch } => {
            out.put_u8(DELETED);
            out.put_u64_le(*epoch);
        }
        Event::Interrupted => out.put_u8(INTERRUPTED),
        Event::Presence { number, told, .. } => put_presence(&mut out, *number, told)?,
        Event::Stateless { payload } => {
            out.put_u8(STATELESS);
            out.put_u32_le(u32::try_from(payload.len()).ok()?);
            out.put_slice(payload);
        }
        // What a node finds out by itself.
        Event::Rejoined | Event::NodeLost { .. } | Event::LogEnd { .. } => return None,
    }
    Some(out.freeze())
}

fn put_presence(out: &mut BytesMut, number: u64, told: &NodePresence) -> Option<()> {
    let whole = if told.is_whole { IS_WHOLE } else { 0 };
    let asks = if told.asks { ASKS } else { 0 };
    out.put_u8(PRESENCE);
    out.put_u64_le(number);
    let owners = match told.owners.is_empty() {
        true => 0,
        false => HAS_OWNERS,
    };
    out.put_u8(whole | asks | owners);
    out.put_u32_le(u32::try_from(told.released.len()).ok()?);
    told.released
        .iter()
        .for_each(|client| out.put_u64_le(*client));
    out.put_u32_le(u32::try_from(told.entries.len()).ok()?);
    out.put_slice(&told.entries);
    if owners != 0 {
        out.put_u32_le(u32::try_from(told.owners.len()).ok()?);
    }
    for (client, owner) in &told.owners {
        out.put_u64_le(*client);
        out.put_u16_le(u16::try_from(owner.len()).ok()?);
        out.put_slice(owner.as_bytes());
    }
    Some(())
}

/// Reads a message. Counts in it are believed only as far as its bytes go.
pub(super) fn decode(mut bytes: Bytes) -> Result<Envelope, Unreadable> {
    let version = bytes.try_get_u8().map_err(|_| Unreadable::Malformed)?;
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    let envelope = read(&mut bytes).ok_or(Unreadable::Malformed)?;
    if bytes.has_remaining() {
        return Err(Unreadable::Malformed);
    }
    Ok(envelope)
}

fn read(bytes: &mut Bytes) -> Option<Envelope> {
    let node = bytes.try_get_u64_le().ok()?;
    let event = match bytes.try_get_u8().ok()? {
        COMMITTED => {
            let epoch = bytes.try_get_u64_le().ok()?;
            let count = bytes.try_get_u32_le().ok()? as usize;
            if count > bytes.remaining() / ENTRY_BYTES_MIN {
                return None;
            }
            let entries = (0..count)
                .map(|_| read_entry(bytes))
                .collect::<Option<_>>()?;
            Event::Committed(Arc::new(Commit { epoch, entries }))
        }
        DELETED => Event::Deleted {
            epoch: bytes.try_get_u64_le().ok()?,
        },
        INTERRUPTED => Event::Interrupted,
        PRESENCE => read_presence(node, bytes)?,
        STATELESS => {
            let length = bytes.try_get_u32_le().ok()? as usize;
            let payload = (length <= bytes.remaining()).then(|| bytes.split_to(length))?;
            std::str::from_utf8(&payload).ok()?;
            Event::Stateless { payload }
        }
        BEAT => {
            let said = Said::Beat;
            return Some(Envelope { node, said });
        }
        kind @ (RESTRICTIONS_CHANGED | RECHECK_SESSIONS | END_SESSIONS) => {
            let said = Said::Node(read_node(kind, bytes)?);
            return Some(Envelope { node, said });
        }
        _ => return None,
    };
    let said = Said::Event(event);
    Some(Envelope { node, said })
}

fn read_node(kind: u8, bytes: &mut Bytes) -> Option<NodeEvent> {
    Some(match kind {
        RECHECK_SESSIONS => NodeEvent::RecheckSessions(read_selection(bytes)?),
        END_SESSIONS => NodeEvent::EndSessions(read_selection(bytes)?),
        _ => NodeEvent::RestrictionsChanged,
    })
}

/// The engine reads the entries within its own bounds.
fn read_presence(node: u64, bytes: &mut Bytes) -> Option<Event> {
    let number = bytes.try_get_u64_le().ok()?;
    let flags = bytes.try_get_u8().ok()?;
    let count = bytes.try_get_u32_le().ok()? as usize;
    if flags & !(IS_WHOLE | ASKS | HAS_OWNERS) != 0 || count > bytes.remaining() / size_of::<u64>()
    {
        return None;
    }
    let released = (0..count).map(|_| bytes.try_get_u64_le().ok());
    let released = released.collect::<Option<_>>()?;
    let length = bytes.try_get_u32_le().ok()? as usize;
    let told = NodePresence {
        is_whole: flags & IS_WHOLE != 0,
        asks: flags & ASKS != 0,
        released,
        entries: (length <= bytes.remaining()).then(|| bytes.split_to(length))?,
        owners: match flags & HAS_OWNERS {
            0 => Vec::new(),
            _ => read_owners(bytes)?,
        },
    };
    let told = Arc::new(told);
    Some(Event::Presence { node, number, told })
}

fn read_owners(bytes: &mut Bytes) -> Option<Vec<(ClientId, Arc<str>)>> {
    let count = bytes.try_get_u32_le().ok()? as usize;
    if count > bytes.remaining() / OWNER_BYTES_MIN {
        return None;
    }
    let mut owner = || {
        let client = bytes.try_get_u64_le().ok()?;
        let length = usize::from(bytes.try_get_u16_le().ok()?);
        let owner = (length <= bytes.remaining()).then(|| bytes.split_to(length))?;
        Some((client, Arc::from(std::str::from_utf8(&owner).ok()?)))
    };
    (0..count).map(|_| owner()).collect()
}

fn read_entry(bytes: &mut Bytes) -> Option<Entry> {
    let sequence = bytes.try_get_u64_le().ok()?;
    let mut id = [0; 16];
    bytes.try_copy_to_slice(&mut id).ok()?;
    let length = bytes.try_get_u32_le().ok()?;
    let update = match length {
        NOT_INLINE => None,
        length if length as usize <= bytes.remaining() => Some(bytes.split_to(length as usize)),
        _ => return None,
    };
    Some(Entry {
        sequence,
        id,
        update,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn events() -> Vec<Event> {
        let entry = |sequence: u64, update: Option<&'static [u8]>| Entry {
            sequence,
            id: [sequence as u8; 16],
            update: update.map(Bytes::from_static),
        };
        let commit = |entries| Event::Committed(Arc::new(Commit { epoch: 3, entries }));
        vec![
            commit(vec![]),
            commit(vec![
                entry(1, Some(b"")),
                entry(9, None),
                entry(10, Some(b"update")),
            ]),
            Event::Deleted { epoch: u64::MAX },
            Event::Interrupted,
            Event::Presence {
                node: 7,
                number: 12,
                told: Arc::new(NodePresence {
                    is_whole: true,
                    asks: false,
                    entries: Bytes::from_static(b"entries"),
                    released: vec![1, u64::MAX],
                    owners: vec![],
                }),
            },
            Event::Stateless {
                payload: Bytes::from_static(b"text"),
            },
            Event::Presence {
                node: 7,
                number: 13,
                told: Arc::new(NodePresence {
                    is_whole: false,
                    asks: true,
                    entries: Bytes::from_static(b"entries"),
                    released: vec![],
                    owners: vec![(1, "ada".into()), (u64::MAX, "".into())],
                }),
            },
        ]
    }

    #[test]
    fn messages_come_back_as_they_were() {
        for event in events() {
            let bytes = encode(7, &event).unwrap();
            let said = Said::Event(event);
            assert_eq!(decode(bytes), Ok(Envelope { node: 7, said }));
        }
    }

    /// What version 1 wrote of these events, so that later versions go on reading it.
    const VERSION_1: [&str; 7] = [
        "01 0700000000000000 01 0300000000000000 00000000",
        "01 0700000000000000 01 0300000000000000 03000000 \
         0100000000000000 01010101010101010101010101010101 00000000 \
         0900000000000000 09090909090909090909090909090909 ffffffff \
         0a00000000000000 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a 06000000 757064617465",
        "01 0700000000000000 02 ffffffffffffffff",
        "01 0700000000000000 03",
        "01 0700000000000000 04 0c00000000000000 01 02000000 \
         0100000000000000 ffffffffffffffff 07000000 656e7472696573",
        "01 0700000000000000 06 04000000 74657874",
        // Since presence shows identities.
        "01 0700000000000000 04 0d00000000000000 06 00000000 07000000 656e7472696573 \
         02000000 0100000000000000 0300 616461 ffffffffffffffff 0000",
    ];
    const BEAT_OF_VERSION_1: &str = "01 0700000000000000 05";

    fn node_events() -> Vec<NodeEvent> {
        let selection = Selection {
            document: Some("team/*".into()),
            subject: None,
            token_id: Some("t".into()),
        };
        let ada = Selection {
            subject: Some("ada".into()),
            ..Selection::default()
        };
        vec![
            NodeEvent::RestrictionsChanged,
            NodeEvent::RecheckSessions(selection),
            NodeEvent::EndSessions(ada),
        ]
    }

    /// What version 1 wrote to all nodes.
    const NODES_OF_VERSION_1: [&str; 3] = [
        "01 0700000000000000 07",
        "01 0700000000000000 08 0600 7465616d2f2a ffff 0100 74",
        "01 0700000000000000 09 ffff 0300 616461 ffff",
    ];

    #[test]
    fn what_is_told_to_all_nodes_stays_readable() {
        for (written, event) in NODES_OF_VERSION_1.into_iter().zip(node_events()) {
            let written = bytes_of(written);
            assert_eq!(encode_node(7, &event), Some(written.clone()));
            for length in 0..written.len() {
                let cut = written.slice(..length);
                assert_eq!(decode(cut), Err(Unreadable::Malformed));
            }
            let said = Said::Node(event);
            assert_eq!(decode(written), Ok(Envelope { node: 7, said }));
        }
        assert_eq!(encode_node(7, &NodeEvent::Rejoined), None);
        let everybody = bytes_of("01 0700000000000000 09 ffff ffff ffff");
        assert_eq!(decode(everybody), Err(Unreadable::Malformed));
        let unknown = bytes_of("01 0700000000000000 63");
        assert_eq!(decode(unknown), Err(Unreadable::Malformed));
    }

    fn bytes_of(digits: &str) -> Bytes {
        let digits: Vec<u8> = digits.bytes().filter(|digit| *digit != b' ').collect();
        let pairs = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    #[test]
    fn the_first_version_stays_readable_and_is_what_is_written() {
        for (written, event) in VERSION_1.into_iter().zip(events()) {
            let written = bytes_of(written);
            assert_eq!(encode(7, &event), Some(written.clone()));
            let said = Said::Event(event);
            assert_eq!(decode(written), Ok(Envelope { node: 7, said }));
        }
        let beat = bytes_of(BEAT_OF_VERSION_1);
        assert_eq!(encode_beat(7), beat);
        let said = Said::Beat;
        assert_eq!(decode(beat), Ok(Envelope { node: 7, said }));
    }

    #[test]
    fn cut_grown_and_foreign_messages_are_refused() {
        for event in events() {
            let bytes = encode(7, &event).unwrap();
            for length in 0..bytes.len() {
                assert_eq!(decode(bytes.slice(..length)), Err(Unreadable::Malformed));
            }
            let mut grown = bytes.to_vec();
            grown.push(0);
            assert_eq!(decode(grown.into()), Err(Unreadable::Malformed));
            let mut foreign = bytes.to_vec();
            foreign[0] = 2;
            assert_eq!(decode(foreign.into()), Err(Unreadable::Version(2)));
        }
        let mut lies = encode(7, &events()[0]).unwrap().to_vec();
        let end = lies.len();
        lies[end - 4..].fill(0xfe);
        assert_eq!(decode(lies.into()), Err(Unreadable::Malformed));
        let owners = "01 0700000000000000 04 0d00000000000000 04 00000000 00000000";
        for lie in [
            "ffffffff",
            "02000000 0100000000000000 0000",
            "01000000 0100000000000000 0100 ff",
        ] {
            let lie = bytes_of(&format!("{owners} {lie}"));
            assert_eq!(decode(lie), Err(Unreadable::Malformed));
        }
    }
}
