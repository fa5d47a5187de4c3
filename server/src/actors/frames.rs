//! Encoded frames, each made once and shared by all sockets that speak the same dialect.

use std::collections::HashMap;

use bytes::Bytes;
use driftless_proto::wire::Outbound;

use crate::session::Encoding;

/// Encoded states kept for the joiners of one version: one for each dialect in a mixed room, and
/// the part a slower joiner is at.
const SHARED_STATES_MAX: usize = 4;

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
struct SharedState {
    encoding: Encoding,
    /// Kept alive, so that its address names it.
    payload: Bytes,
    is_last: bool,
    frame: Bytes,
}

/// Frames of large states, shared by sessions that join at the same version.
#[derive(Debug, Default)]
pub(super) struct StateFrames {
    shared: Vec<SharedState>,
}

impl StateFrames {
    /// The frame of a message to one session.
    pub(super) fn get(&mut self, encoding: &Encoding, message: &Outbound) -> Bytes {
        let (payload, is_last) = match message {
            Outbound::SyncStep2 { update } => (update, true),
            Outbound::Update { update } => (update, false),
            _ => return encoding.encode(message),
        };
        if payload.len() < SHARED_BYTES_MIN {
            return encoding.encode(message);
        }
        let known = self.shared.iter().find(|shared| {
            shared.encoding == *encoding
                && shared.is_last == is_last
                && shared.payload.as_ptr() == payload.as_ptr()
                && shared.payload.len() == payload.len()
        });
        if let Some(shared) = known {
            return shared.frame.clone();
        }
        let frame = encoding.encode(message);
        if self.shared.len() >= SHARED_STATES_MAX {
            self.shared.remove(0);
        }
        let payload = payload.clone();
        self.shared.push(SharedState {
            encoding: encoding.clone(),
            payload,
            is_last,
            frame: frame.clone(),
        });
        frame
    }

    /// Drops all that is kept.
    pub(super) fn clear(&mut self) {
        self.shared.clear();
    }
}
