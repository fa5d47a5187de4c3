//! What a replica holds, as far as admission has to know it.

use bytes::Bytes;

use super::admit::{Limits, admit};
use super::places::Places;
use super::{DeleteSet, Refusal, StateVector};

/// What a replica holds. There are no holes: gaps are never admitted.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The structs that were admitted.
    pub vector: StateVector,
    /// The deletes that were admitted; the replica itself may have deleted more.
    pub deleted: DeleteSet,
    pub(super) places: Places,
}

impl Known {
    /// An update that deletes all subdocuments; `None` when there are none.
    ///
    /// Apply it to a yrs document that collects garbage right before dropping that document, and
    /// nowhere else: in yrs 0.28.1 a document and its live subdocuments own each other, so that
    /// neither, nor any of their content, is ever freed otherwise.
    pub fn release_subdocuments(&self) -> Option<Bytes> {
        let subdocuments = &self.places.subdocuments;
        let mut deletes = DeleteSet::default();
        for id in subdocuments {
            deletes.insert(id.client, id.clock, id.clock + 1);
        }
        // No clients, then the deletes.
        let mut update = vec![0];
        deletes.encode(&mut update);
        (!subdocuments.is_empty()).then(|| update.into())
    }
}

/// What a replica holds that was loaded from the full state `state`.
///
/// # Errors
/// [`Refusal::Incomplete`] when the state has a hole, starts above clock 0 or refers to ids that it
/// does not hold; otherwise as [`admit`].
pub fn known_of(state: &Bytes) -> Result<Known, Refusal> {
    let mut known = Known::default();
    let unlimited = Limits {
        update_bytes_max: usize::MAX,
        nesting_max: usize::MAX,
    };
    match admit(state, &mut known, None, &unlimited)?.gap {
        None => Ok(known),
        Some(_) => Err(Refusal::Incomplete),
    }
}
