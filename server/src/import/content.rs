//! What a document is, taken from untrusted updates or from the store, and how two of them compare.

use bytes::Bytes;
use driftless_proto::admission::{
    Known, Limits, Refusal, StateVector, admit, known_of, merge_unordered,
};
use driftless_proto::engine::{VALUE_NESTING_MAX, build_snapshot, is_same_state};

use crate::store::LoadedDocument;

/// Sizes are bounded where sources are read, and nobody is asked for what is missing.
const UNLIMITED: Limits = Limits {
    update_bytes_max: usize::MAX,
    nesting_max: VALUE_NESTING_MAX,
    gap_clients_max: usize::MAX,
};

/// A document as the engine writes it.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// One Yjs v1 update.
    pub(super) state: Bytes,
    /// Its state vector and what is deleted in it.
    pub(super) known: Known,
}

/// A document of a source.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) content: Content,
    /// Some of its updates need edits that are not there; they are left out.
    pub(super) is_partial: bool,
}

/// How two documents relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// They are the same.
    Equal,
    /// The target has all of the source, and more.
    TargetHasMore,
    /// The source has all of the target, and more.
    SourceHasMore,
    /// Each has what the other lacks.
    BothHaveMore,
    /// Under the same ids they hold different content; they cannot be merged.
    Clash,
}

impl Content {
    /// What a store holds.
    pub(super) fn of_stored(stored: &LoadedDocument) -> Result<Self, String> {
        let snapshot = stored.snapshot.as_ref().map(|snapshot| &snapshot.state);
        let appends = stored.appends.iter().map(|append| append.update.clone());
        let appends: Vec<Bytes> = appends.collect();
        Self::build(snapshot, &appends)
    }

    fn build(snapshot: Option<&Bytes>, appends: &[Bytes]) -> Result<Self, String> {
        let state = build_snapshot(snapshot, appends).map_err(|error| error.to_string())?;
        let known = known_of(&state).map_err(|refusal| refusal.to_string())?;
        Ok(Self { state, known })
    }

    /// True when the store holds these very bytes and nothing else: then there is nothing to compare.
    pub(super) fn is_stored_as(&self, stored: &LoadedDocument) -> bool {
        match (&stored.snapshot, &stored.appends[..]) {
            (None, [only]) => only.update == self.state,
            _ => false,
        }
    }

    /// True when nothing was ever written to it.
    pub(super) fn is_empty(&self) -> bool {
        self.known.vector.is_empty() && self.known.deleted.is_empty()
    }

    /// What `self` has beyond `target`: the bytes to append there. Nothing when there is none.
    pub(super) fn beyond(
        &self,
        target: &Self,
        tombstone: Option<&StateVector>,
    ) -> Result<Option<Bytes>, Refusal> {
        let mut known = target.known.clone();
        let admission = admit(&self.state, &mut known, tombstone, &UNLIMITED)?;
        match admission.gap {
            Some(_) => Err(Refusal::Incomplete),
            None => Ok(admission.admitted.map(|admitted| admitted.update)),
        }
    }
}

/// Takes the updates of a source through the gate, all at once: servers that shared a database wrote
/// them in any order. How much they are together is bounded by whoever read them.
pub(super) fn gather(updates: Vec<Bytes>, document_bytes_max: usize) -> Result<Gathered, String> {
    let refused = |refusal: Refusal| format!("an update of it cannot be taken: {refusal}");
    let merged = merge_unordered(&updates, VALUE_NESTING_MAX).map_err(refused)?;
    drop(updates);
    let admission = admit(&merged, &mut Known::default(), None, &UNLIMITED).map_err(refused)?;
    drop(merged);
    let is_partial = admission.gap.is_some();
    let admitted = admission.admitted.map(|admitted| admitted.update);
    let content = Content::build(None, admitted.as_slice()).map_err(|_| {
        "its edits do not make a document: they would make the CRDT library fail".to_owned()
    })?;
    let bytes = content.state.len();
    if bytes > document_bytes_max {
        return Err(format!(
            "its state has {bytes} bytes and document_bytes_max is {document_bytes_max}; raise that \
             setting, here and for the server"
        ));
    }
    Ok(Gathered {
        content,
        is_partial,
    })
}

/// Compares by content, however both are encoded: merged in either order they have to be the same.
pub(super) fn relation(source: &Content, target: &Content) -> Result<Relation, String> {
    if is_same_state(&source.state, &target.state) {
        return Ok(Relation::Equal);
    }
    let over = |base: &Content, other: &Content| {
        build_snapshot(Some(&base.state), std::slice::from_ref(&other.state))
            .map_err(|error| format!("it cannot be compared: {error}"))
    };
    let merged = over(source, target)?;
    if !is_same_state(&merged, &over(target, source)?) {
        return Ok(Relation::Clash);
    }
    if is_same_state(&merged, &target.state) {
        return Ok(Relation::TargetHasMore);
    }
    match is_same_state(&merged, &source.state) {
        true => Ok(Relation::SourceHasMore),
        false => Ok(Relation::BothHaveMore),
    }
}

/// The state that a merge gives: the target with what the source has beyond it.
pub(super) fn merged(source: &Content, target: &Content) -> Result<Content, String> {
    Content::build(Some(&target.state), std::slice::from_ref(&source.state))
}
