//! Encoded frames, each made once and shared by all sockets that speak the same dialect.

use bytes::{Bytes, BytesMut};
use driftless_proto::wire::Outbound;

use crate::session::EncodeFrame;

/// Encoded states kept for the joiners of one version: one for each dialect in a mixed room, and
/// the part a slower joiner is at.
const SHARED_STATES_MAX: usize = 4;

/// Payloads below this are cheaper to encode again than to look up.
const SHARED_BYTES_MIN: usize = 1_024;

/// The encodings of one broadcast, by dialect.
#[derive(Debug, Default)]
pub(super) struct BroadcastFrames {
    frames: Vec<(EncodeFrame, Bytes)>,
}

impl BroadcastFrames {
    /// The frame of this message in this dialect.
    pub(super) fn get(&mut self, encode: EncodeFrame, message: &Outbound) -> Bytes {
        self.get_or(encode, || encode_frame(encode, message))
    }

    /// The bytes for this dialect, made when they are needed first.
    pub(super) fn get_or(&mut self, encode: EncodeFrame, make: impl FnOnce() -> Bytes) -> Bytes {
        let known = self
            .frames
            .iter()
            .find(|(other, _)| std::ptr::fn_addr_eq(*other, encode));
        if let Some((_, frame)) = known {
            return frame.clone();
        }
        let frame = make();
        self.frames.push((encode, frame.clone()));
        frame
    }
}

#[derive(Debug)]
struct SharedState {
    encode: EncodeFrame,
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
    pub(super) fn get(&mut self, encode: EncodeFrame, message: &Outbound) -> Bytes {
        let (payload, is_last) = match message {
            Outbound::SyncStep2 { update } => (update, true),
            Outbound::Update { update } => (update, false),
            _ => return encode_frame(encode, message),
        };
        if payload.len() < SHARED_BYTES_MIN {
            return encode_frame(encode, message);
        }
        let known = self.shared.iter().find(|shared| {
            std::ptr::fn_addr_eq(shared.encode, encode)
                && shared.is_last == is_last
                && shared.payload.as_ptr() == payload.as_ptr()
                && shared.payload.len() == payload.len()
        });
        if let Some(shared) = known {
            return shared.frame.clone();
        }
        let frame = encode_frame(encode, message);
        if self.shared.len() >= SHARED_STATES_MAX {
            self.shared.remove(0);
        }
        let payload = payload.clone();
        self.shared.push(SharedState {
            encode,
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

fn encode_frame(encode: EncodeFrame, message: &Outbound) -> Bytes {
    let mut frame = BytesMut::new();
    encode(message, &mut frame);
    frame.freeze()
}
