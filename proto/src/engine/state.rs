//! What a replica holds: the CRDT, what is known of it, and its encodings shared by joiners.

use std::sync::Arc;

use bytes::Bytes;

use super::crdt::{Crdt, Failed};
use super::types::{LoadError, StoredDocument};
use crate::admission::{self, Admission, Admitted, Known, Limits, Refusal, StateVector};
use crate::{ClientId, Clock};

/// Appends applied in one transaction while loading; merging is linear, and one large transaction
/// costs less than many small ones, but a damaged append has to be found again one by one.
const LOAD_BATCH: usize = 512;

/// How many encodings for joiners are kept: the one for empty peers and the newest other.
const ENCODINGS_MAX: usize = 2;

/// A state or difference, ready to be sent in parts.
#[derive(Debug, Clone)]
pub(super) struct Encoding {
    revision: u64,
    from: StateVector,
    /// Causally closed, in order; the last one holds all deletes.
    pub(super) parts: Arc<[Bytes]>,
    /// What a peer has that had `from` and received all parts.
    pub(super) vector: Arc<StateVector>,
}

/// The CRDT and everything derived from it.
#[derive(Debug)]
pub(super) struct State {
    crdt: Crdt,
    pub(super) known: Known,
    pub(super) tombstone: Option<StateVector>,
    /// Moves with every change.
    pub(super) revision: u64,
    encodings: Vec<Encoding>,
    /// The size of the encoded state when it was last encoded, plus the updates since: an upper
    /// bound, since overwritten content only shrinks it.
    size_bytes: usize,
    /// The revision at which `size_bytes` was measured last.
    measured_revision: u64,
}

impl State {
    pub(super) fn empty(tombstone: Option<StateVector>) -> Self {
        Self {
            crdt: Crdt::new(),
            known: Known::default(),
            tombstone,
            revision: 0,
            encodings: Vec::new(),
            size_bytes: 0,
            measured_revision: 0,
        }
    }

    /// Builds the state from stored bytes, through the same gate as a peer's.
    pub(super) fn load(stored: &StoredDocument) -> Result<Self, LoadError> {
        match Self::load_batched(stored, LOAD_BATCH) {
            // A batch fails as a whole; one by one finds the append that is to blame.
            Err(LoadError::Append { .. }) => Self::load_batched(stored, 1),
            loaded => loaded,
        }
    }

    fn load_batched(stored: &StoredDocument, batch_appends: usize) -> Result<Self, LoadError> {
        let mut state = Self::empty(stored.tombstone.clone());
        if let Some(snapshot) = &stored.snapshot {
            let part = state.admit_stored(snapshot).ok_or(LoadError::Snapshot)?;
            state
                .apply(&part.into_iter().collect::<Vec<_>>())
                .map_err(|Failed| LoadError::Snapshot)?;
        }
        for (batch, appends) in stored.appends.chunks(batch_appends).enumerate() {
            let first = batch * batch_appends;
            let mut parts = Vec::with_capacity(appends.len());
            for (offset, append) in appends.iter().enumerate() {
                let part = state.admit_stored(append);
                parts.extend(part.ok_or(LoadError::Append {
                    index: first + offset,
                })?);
            }
            state
                .apply(&parts)
                .map_err(|Failed| LoadError::Append { index: first })?;
        }
        Ok(state)
    }

    /// Admits stored bytes whole; `None` when they do not fit what came before.
    pub(super) fn admit_stored(&mut self, update: &Bytes) -> Option<Option<Admitted>> {
        let limits = Limits {
            update_bytes_max: usize::MAX,
            nesting_max: usize::MAX,
            gap_clients_max: usize::MAX,
        };
        match admission::admit(update, &mut self.known, None, &limits) {
            Ok(Admission {
                admitted,
                gap: None,
            }) => Some(admitted),
            Ok(_) | Err(_) => None,
        }
    }

    /// Admits a peer's update against what is known, which moves on at once; the admitted part
    /// must be given to [`Self::apply`] before anything is encoded.
    pub(super) fn admit(&mut self, update: &Bytes, limits: &Limits) -> Result<Admission, Refusal> {
        admission::admit(update, &mut self.known, self.tombstone.as_ref(), limits)
    }

    /// The same, unless `may_add` refuses new structs of a client up to a clock.
    pub(super) fn admit_if(
        &mut self,
        update: &Bytes,
        limits: &Limits,
        may_add: impl FnMut(ClientId, Clock) -> bool,
    ) -> Result<Admission, Refusal> {
        let tombstone = self.tombstone.as_ref();
        admission::admit_if(update, &mut self.known, tombstone, limits, may_add)
    }

    /// Whether an update brings anything, without taking it in.
    pub(super) fn preview(
        &mut self,
        update: &Bytes,
        limits: &Limits,
    ) -> Result<Admission, Refusal> {
        admission::preview(update, &mut self.known, self.tombstone.as_ref(), limits)
    }

    /// Applies admitted parts, in order, in one transaction; returns them as one update.
    pub(super) fn apply(&mut self, parts: &[Admitted]) -> Result<Option<Bytes>, Failed> {
        let update = match parts {
            [] => return Ok(None),
            [only] => only.update.clone(),
            several => admission::merge(several),
        };
        let advances: Vec<_> = parts
            .iter()
            .flat_map(|part| part.advances.iter().copied())
            .collect();
        let hide = parts.iter().any(|part| part.has_subdocuments);
        self.crdt.apply(&update, &advances, hide)?;
        self.revision += 1;
        self.size_bytes += update.len();
        Ok(Some(update))
    }

    /// The state beyond `from`, shared by all who ask for the same between two changes.
    pub(super) fn encode(
        &mut self,
        from: &StateVector,
        chunk_bytes: usize,
    ) -> Result<Encoding, Failed> {
        let revision = self.revision;
        self.encodings
            .retain(|encoding| encoding.revision == revision);
        if let Some(found) = self
            .encodings
            .iter()
            .find(|encoding| encoding.from == *from)
        {
            return Ok(found.clone());
        }
        let whole = self.crdt.encode(from)?;
        if from.is_empty() {
            self.size_bytes = whole.len();
            self.measured_revision = revision;
        }
        let parts: Arc<[Bytes]> = if whole.len() <= chunk_bytes {
            Arc::from([whole])
        } else {
            // A state that cannot be split is sent whole: slow, never wrong.
            match admission::chunks(&whole, from, chunk_bytes) {
                Ok(parts) if !parts.is_empty() => parts.into(),
                Ok(_) | Err(_) => Arc::from([whole]),
            }
        };
        let mut vector = self.known.vector.clone();
        vector.merge_max(from);
        let encoding = Encoding {
            revision,
            from: from.clone(),
            parts,
            vector: Arc::new(vector),
        };
        if self.encodings.len() >= ENCODINGS_MAX {
            self.encodings.retain(|encoding| encoding.from.is_empty());
            self.encodings.truncate(ENCODINGS_MAX - 1);
        }
        self.encodings.push(encoding.clone());
        Ok(encoding)
    }

    /// The whole state as one v1 update.
    pub(super) fn encode_whole(&mut self) -> Result<Bytes, Failed> {
        self.crdt.encode(&StateVector::default())
    }

    /// Makes the next change or encoding fail, as a panic inside yrs does.
    #[cfg(test)]
    pub(super) fn break_crdt(&mut self) {
        self.crdt.break_down();
    }

    /// Drops the encodings kept for joiners.
    pub(super) fn forget_encodings(&mut self) {
        self.encodings.clear();
    }

    /// Whether `more` bytes still fit under `bytes_max`; measures only when the bound says no.
    pub(super) fn has_room(&mut self, more: usize, bytes_max: usize) -> Result<bool, Failed> {
        if self.size_bytes.saturating_add(more) <= bytes_max {
            return Ok(true);
        }
        if self.measured_revision != self.revision {
            self.size_bytes = self.encode_whole()?.len();
            self.measured_revision = self.revision;
        }
        Ok(self.size_bytes.saturating_add(more) <= bytes_max)
    }

    /// About how much memory and disk the state takes, in bytes of its encoding.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}
