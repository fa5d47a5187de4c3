//! Encoded frames, each made once and shared by all sockets that speak the same dialect.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use bytes::Bytes;
use driftless_proto::wire::Outbound;

use crate::session::Encoding;

/// Encoded messages that are kept: one for each dialect in a mixed room, and the part that a slower joiner
/// is at.
const SHARED_FRAMES_MAX: usize = 4;

/// Payloads below this are cheaper to encode again than to look up.
const SHARED_BYTES_MIN: usize = 1_024;

/// Up to so many encodings are found sooner by looking at each.
const FEW: usize = 8;

/// The encodings of one broadcast: one for each dialect, and for each address that a peer invented.
#[derive(Debug, Default)]
pub(super) struct BroadcastFrames {
    few: Vec<(Encoding, Bytes)>,
    more: HashMap<Encoding, Bytes>,
}

impl BroadcastFrames {
    /// The frame of this message in this dialect.
    pub(super) fn get(&mut self, encoding: &Encoding, message: &Outbound) -> Bytes {
        self.get_or(encoding, || encoding.encode(message))
    }

    /// The bytes for this dialect, made when they are needed first.
    pub(super) fn get_or(&mut self, encoding: &Encoding, make: impl FnOnce() -> Bytes) -> Bytes {
        let known = self.few.iter().find(|(other, _)| other == encoding);
        if let Some((_, frame)) = known {
            return frame.clone();
        }
        if self.few.len() >= FEW {
            let frame = self.more.entry(encoding.clone()).or_insert_with(make);
            return frame.clone();
        }
        let frame = make();
        self.few.push((encoding.clone(), frame.clone()));
        frame
    }
}

#[derive(Debug)]
struct SharedFrame {
    encoding: Encoding,
    /// Kept alive, so that its address names it.
    payload: Bytes,
    kind: Discriminant<Outbound>,
    frame: Bytes,
}

/// Frames of large messages that many sessions get one by one: states, for those that join at the same
/// version, and stateless messages.
#[derive(Debug, Default)]
pub(super) struct SharedFrames {
    shared: Vec<SharedFrame>,
}

/// What is worth keeping the frame of: a large payload that other sessions may get, too.
fn shared_payload(message: &Outbound) -> Option<&Bytes> {
    match message {
        Outbound::SyncStep2 { update: payload }
        | Outbound::Update { update: payload }
        | Outbound::Stateless { payload } => Some(payload),
        _ => None,
    }
    .filter(|payload| payload.len() >= SHARED_BYTES_MIN)
}

impl SharedFrames {
    /// The frame of a message to one session.
    pub(super) fn get(&mut self, encoding: &Encoding, message: &Outbound) -> Bytes {
        let Some(payload) = shared_payload(message) else {
            return encoding.encode(message);
        };
        let kind = discriminant(message);
        let known = self.shared.iter().find(|shared| {
            shared.encoding == *encoding
                && shared.kind == kind
                && shared.payload.as_ptr() == payload.as_ptr()
                && shared.payload.len() == payload.len()
        });
        if let Some(shared) = known {
            return shared.frame.clone();
        }
        let frame = encoding.encode(message);
        if self.shared.len() >= SHARED_FRAMES_MAX {
            self.shared.remove(0);
        }
        let payload = payload.clone();
        self.shared.push(SharedFrame {
            encoding: encoding.clone(),
            payload,
            kind,
            frame: frame.clone(),
        });
        frame
    }

    /// Nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }

    /// Drops all that is kept.
    pub(super) fn clear(&mut self) {
        self.shared.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stateless(payload: &Bytes) -> Outbound {
        Outbound::Stateless {
            payload: payload.clone(),
        }
    }

    #[test]
    fn who_gets_the_same_large_payload_shares_its_frame() {
        let encoding = Encoding {
            write: |address, message, into| {
                into.extend_from_slice(address);
                if let Outbound::Stateless { payload } | Outbound::Update { update: payload } =
                    message
                {
                    into.extend_from_slice(payload);
                }
            },
            address: Bytes::from_static(b"a"),
        };
        let other = Encoding {
            address: Bytes::from_static(b"b"),
            ..encoding.clone()
        };
        let payload = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut frames = SharedFrames::default();
        let first = frames.get(&encoding, &stateless(&payload));
        let again = frames.get(&encoding, &stateless(&payload));
        assert_eq!(first.as_ptr(), again.as_ptr(), "made once");
        assert_eq!(frames.get(&other, &stateless(&payload))[0], b'b');
        let update = Outbound::Update {
            update: payload.clone(),
        };
        assert_ne!(frames.get(&encoding, &update).as_ptr(), first.as_ptr());
        let equal = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let fresh = frames.get(&encoding, &stateless(&equal));
        assert_ne!(fresh.as_ptr(), first.as_ptr(), "another payload");
        frames.clear();
        assert!(frames.is_empty());
        frames.get(&encoding, &stateless(&Bytes::from_static(b"small")));
        assert!(frames.is_empty(), "cheaper to make again");
    }
}
