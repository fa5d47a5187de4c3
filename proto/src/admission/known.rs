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
        gap_clients_max: usize::MAX,
    };
    match admit(state, &mut known, None, &unlimited)?.gap {
        None => Ok(known),
        Some(_) => Err(Refusal::Incomplete),
    }
}
