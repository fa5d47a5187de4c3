//! May a document of the target give way to the source's? Only if the source has all that it holds.

use super::super::tombstone;
use super::DocumentCopy;

/// Without a way to prove that nothing is lost, nothing is overwritten.
const ADVICE: &str = "it is not overwritten; copy to an empty store, or see which of both you need";

/// A state vector without any client.
const NO_CLOCKS: [u8; 1] = [0];

/// Says why the target's document has to stay, if it has to.
pub(super) fn may_replace(target: &DocumentCopy, source: &DocumentCopy) -> Result<(), String> {
    let stays = |reason: String| Err(format!("the target's document {reason}; {ADVICE}"));
    if target.epoch > source.epoch {
        return stays(format!(
            "was deleted more often (epoch {}, the source has {})",
            target.epoch, source.epoch
        ));
    }
    if !has_clocks_of(source, target) {
        return stays("was deleted with content that the source never had".to_owned());
    }
    if target.head == target.epoch_start {
        return Ok(());
    }
    if target.epoch < source.epoch {
        return stays("has content that the source deleted since".to_owned());
    }
    if target.epoch_start != source.epoch_start {
        return stays("has another history".to_owned());
    }
    if target.head > source.head {
        return stays(format!(
            "is newer (its head is {}, the source's {})",
            target.head, source.head
        ));
    }
    match shares_history(target, source) {
        Some(true) => Ok(()),
        Some(false) => stays("has other content".to_owned()),
        None => stays("may have other content: the source keeps no history so far back".to_owned()),
    }
}

fn has_clocks_of(source: &DocumentCopy, target: &DocumentCopy) -> bool {
    let Some(theirs) = &target.tombstone else {
        return true;
    };
    let ours = source.tombstone.as_deref();
    let merged = tombstone::merge(ours, theirs);
    let alone = tombstone::merge(ours, &NO_CLOCKS);
    merged.is_ok() && merged == alone
}

/// Whether both logs are one up to the target's head. An append's id is random: two logs that have the
/// same at one place have the same below it. Nothing if there is no place to compare.
fn shares_history(target: &DocumentCopy, source: &DocumentCopy) -> Option<bool> {
    let at = target.head;
    let id = |copy: &DocumentCopy| {
        let appends = &copy.appends;
        let place = appends.binary_search_by_key(&at, |append| append.sequence);
        place.ok().map(|place| appends[place].id)
    };
    if let (Some(theirs), Some(ours)) = (id(target), id(source)) {
        return Some(theirs == ours);
    }
    let state = |copy: &DocumentCopy| {
        let mut states = copy.snapshots().map(|(_, snapshot)| snapshot);
        states.find(|snapshot| snapshot.sequence == at).cloned()
    };
    Some(state(target)? == state(source)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::super::tests::{append, empty};
    use super::*;
    use crate::store::Snapshot;

    fn with(appends: std::ops::RangeInclusive<u64>) -> DocumentCopy {
        let mut copy = empty("a");
        copy.floor = appends.start() - 1;
        copy.head = *appends.end();
        copy.appends = appends.map(append).collect();
        copy
    }

    #[test]
    fn a_prefix_gives_way_and_anything_else_stays() {
        let source = with(1..=5);
        may_replace(&with(1..=3), &source).unwrap();
        may_replace(&with(1..=5), &source).unwrap();
        may_replace(&empty("a"), &source).unwrap();
        assert!(
            may_replace(&with(1..=6), &source)
                .unwrap_err()
                .contains("newer")
        );
        let mut other = with(1..=3);
        other.appends[2].id = [9; 16];
        assert!(
            may_replace(&other, &source)
                .unwrap_err()
                .contains("other content")
        );
        let mut deleted = empty("a");
        deleted.epoch = 2;
        assert!(
            may_replace(&deleted, &source)
                .unwrap_err()
                .contains("more often")
        );
    }

    #[test]
    fn what_the_source_deleted_since_stays() {
        let mut source = empty("a");
        source.epoch = 2;
        source.tombstone = Some(Bytes::from_static(&[1, 1, 5]));
        assert!(may_replace(&with(1..=3), &source).is_err());
        let mut emptied = empty("a");
        emptied.tombstone = Some(Bytes::from_static(&[1, 1, 4]));
        may_replace(&emptied, &source).unwrap();
        emptied.tombstone = Some(Bytes::from_static(&[1, 2, 1]));
        assert!(
            may_replace(&emptied, &source)
                .unwrap_err()
                .contains("never had")
        );
    }

    #[test]
    fn behind_the_horizon_equal_states_prove_equal_histories() {
        let state = |state: &'static [u8]| {
            Some(Snapshot {
                sequence: 5,
                state: Bytes::from_static(state),
            })
        };
        let mut source = with(6..=9);
        source.base = state(b"five");
        let target = with(1..=5);
        assert!(
            may_replace(&target, &source)
                .unwrap_err()
                .contains("may have")
        );
        let mut snapped = target.clone();
        snapped.latest = state(b"five");
        may_replace(&snapped, &source).unwrap();
        snapped.latest = state(b"other");
        assert!(may_replace(&snapped, &source).is_err());
    }
}
