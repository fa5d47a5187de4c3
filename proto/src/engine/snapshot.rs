//! Building a snapshot from stored data, and proving that it holds the same document.

use bytes::Bytes;

use super::canonical::canonical;
use super::state::State;
use super::types::{LoadError, StoredDocument};

/// Why no snapshot was built; the stored data stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The stored data cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The document failed while it was encoded.
    #[error("the document cannot be encoded")]
    Encode,
    /// The snapshot does not give the same document back.
    #[error("the snapshot does not give the same document back")]
    Different,
}

/// Folds a snapshot and the appends after it into one Yjs v1 update, which is returned only after
/// it was decoded into a fresh document and found to hold the same structs and deletes.
pub fn build_snapshot(base: Option<&Bytes>, appends: &[Bytes]) -> Result<Bytes, SnapshotError> {
    let stored = StoredDocument {
        snapshot: base.cloned(),
        appends: appends.to_vec(),
        ..StoredDocument::default()
    };
    let mut state = State::load(&stored)?;
    let snapshot = state.encode_whole().map_err(|_| SnapshotError::Encode)?;
    let again = StoredDocument {
        snapshot: Some(snapshot.clone()),
        ..StoredDocument::default()
    };
    let mut reloaded = State::load(&again).map_err(|_| SnapshotError::Different)?;
    let round_trip = reloaded
        .encode_whole()
        .map_err(|_| SnapshotError::Different)?;
    // The replica may have deleted more by itself than it was told to, never less.
    let same = reloaded.known.vector == state.known.vector
        && reloaded.known.deleted.covers(&state.known.deleted)
        && is_same_state(&snapshot, &round_trip);
    same.then_some(snapshot).ok_or(SnapshotError::Different)
}

/// Whether two states are the same document, however they are encoded: every clock of every client
/// has the same place and content, and the same is deleted. For states that this engine has written.
pub fn is_same_state(left: &Bytes, right: &Bytes) -> bool {
    if left == right {
        return true;
    }
    match (canonical(left), canonical(right)) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
