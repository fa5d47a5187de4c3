//! What replicas held beyond logs that were taken back: kept until it is stored again, since nobody else
//! may have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::store::Claim;

/// What an owner of a client id takes besides its name.
const CLAIM_BYTES: u64 = 64;

/// The state of a former replica and the owners of client ids that it knew.
#[derive(Debug)]
pub(super) struct Held {
    /// The whole state (Yjs v1).
    pub(super) state: Bytes,
    pub(super) owners: Vec<Claim>,
    _share: Share,
}

/// Counts what all documents hold, against one bound: what is beyond it is not kept.
#[derive(Debug)]
pub(super) struct HeldBytes {
    bytes_max: u64,
    bytes: AtomicU64,
}

/// A part that counts until this is dropped.
#[derive(Debug)]
struct Share {
    of: Arc<HeldBytes>,
    bytes: u64,
}

impl HeldBytes {
    pub(super) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes: AtomicU64::new(0),
        })
    }

    /// Keeps a state; `None` when too much is kept already.
    pub(super) fn keep(self: &Arc<Self>, state: Bytes, owners: Vec<Claim>) -> Option<Held> {
        let bytes = state.len() as u64 + owners.len() as u64 * CLAIM_BYTES;
        // Counted at once, so that what is refused goes again.
        let share = Share {
            of: self.clone(),
            bytes,
        };
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        (before + bytes <= self.bytes_max).then_some(Held {
            state,
            owners,
            _share: share,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_makes_room_when_it_goes() {
        let bytes = HeldBytes::new(100);
        let keep = |length| bytes.keep(vec![0; length].into(), Vec::new());
        let first = keep(60);
        assert!(first.is_some() && keep(50).is_none());
        let second = keep(40);
        assert!(second.is_some(), "what was refused does not count");
        drop(first);
        assert!(keep(60).is_some());
    }
}
