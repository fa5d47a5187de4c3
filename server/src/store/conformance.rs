//! The suite that every store passes. A backend enrols with one line:
//! `crate::store::conformance::enrol!(MyBackend);`

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use driftless_proto::name::DocumentName;

use super::{Append, AppendId, CommitOutcome, Origin, Snapshot, SnapshotKind, Store};

mod claims;
mod damage;
mod deletion;
mod history;
mod listing;
mod log;
mod repair;
mod restrictions;

pub(crate) use {
    claims::*, damage::*, deletion::*, history::*, listing::*, log::*, repair::*, restrictions::*,
};

/// A fresh, empty store and the power to harm what it holds.
pub(crate) trait Backend: Sized {
    /// Starts an empty store.
    fn start() -> impl Future<Output = Self>;

    /// The store under test.
    fn store(&self) -> Arc<dyn Store>;

    /// Flips a bit in a stored update, behind the store's back.
    fn spoil_append(&self, document: &DocumentName, sequence: u64) -> impl Future<Output = ()>;

    /// Removes an append, behind the store's back.
    fn remove_append(&self, document: &DocumentName, sequence: u64) -> impl Future<Output = ()>;

    /// Flips a bit in a stored snapshot, behind the store's back.
    fn spoil_snapshot(
        &self,
        document: &DocumentName,
        kind: SnapshotKind,
    ) -> impl Future<Output = ()>;
}

/// Makes one test of every function of the suite.
macro_rules! enrol {
    ($backend:ty) => {
        crate::store::conformance::enrol! { $backend:
            an_unknown_document_is_empty,
            appends_come_back_as_they_were,
            sequences_are_contiguous_over_many_documents,
            a_repeated_id_is_stored_once,
            a_repeat_within_a_batch_is_stored_once,
            an_append_of_another_epoch_is_refused,
            concurrent_commits_and_loads_see_prefixes,
            names_are_bytes,
            an_empty_batch_is_fine,
            log_ends_are_told_in_the_order_asked,
            a_deleted_document_keeps_its_tombstone_only,
            tombstones_merge_over_deletes,
            deleting_what_is_not_there_says_so,
            a_document_lives_on_after_its_deletion,
            a_snapshot_shortens_the_load,
            a_snapshot_must_fit_the_log,
            an_older_snapshot_does_not_replace_a_newer,
            below_the_horizon_the_base_answers,
            the_horizon_may_pass_the_latest_snapshot,
            log_reads_keep_to_their_limits,
            sizes_are_told_for_housekeeping,
            a_spoilt_append_ends_the_readable_part,
            a_missing_append_is_noticed,
            a_missing_end_is_noticed,
            a_spoilt_snapshot_gives_way_to_the_log,
            a_spoilt_snapshot_gives_way_to_the_base,
            nothing_readable_is_an_error_not_an_empty_document,
            a_quarantined_document_is_read_only,
            listing_pages_in_byte_order,
            listing_takes_prefixes_literally,
            listing_tells_sizes_and_states,
            inspection_finds_nothing_in_good_documents,
            repair_cuts_a_damaged_end,
            repair_moves_the_horizon_over_damaged_history,
            repair_drops_a_damaged_snapshot,
            repair_of_nothing_intact_is_refused,
            owners_are_stored_with_their_appends,
            the_first_owner_that_is_stored_counts,
            claims_of_what_is_not_stored_are_not_either,
            owners_outlive_history_and_go_with_their_document,
            restrictions_come_back_as_they_were,
            restrictions_that_ran_out_go_with_the_next_one,
            restrictions_are_bounded_in_number,
        }
    };
    ($backend:ty: $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let backend = <$backend as crate::store::conformance::Backend>::start().await;
                crate::store::conformance::$test(&backend).await;
            }
        )*
    };
}
pub(crate) use enrol;

/// A document name; the tests use only valid ones.
pub(crate) fn name(text: &str) -> DocumentName {
    DocumentName::new(text).unwrap()
}

/// An append with everything derived from a number, so that each is recognisable.
pub(crate) fn append(document: &str, epoch: u64, number: u64) -> Append {
    Append {
        document: name(document),
        epoch,
        id: id(number),
        origin: Origin {
            identity: number.is_multiple_of(2).then(|| format!("user {number}")),
            door: format!("ws 127.0.0.1:{number}"),
        },
        time_ms: 1_000 + number,
        update: Bytes::from(format!("update {number}")),
        after: None,
        claims: Vec::new(),
    }
}

/// An append id derived from a number.
pub(crate) fn id(number: u64) -> AppendId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id[8..].copy_from_slice(&number.to_le_bytes());
    id
}

/// Commits appends `numbers` to a document, one batch, all of them new.
pub(crate) async fn fill(
    store: &dyn Store,
    document: &str,
    numbers: std::ops::RangeInclusive<u64>,
) {
    let batch: Vec<Append> = numbers.map(|number| append(document, 1, number)).collect();
    for outcome in store.commit(&batch).await.unwrap() {
        assert!(matches!(outcome, CommitOutcome::Committed { .. }));
    }
}

/// A snapshot with a recognisable state.
pub(crate) fn snapshot(sequence: u64) -> Snapshot {
    Snapshot {
        sequence,
        state: Bytes::from(format!("state at {sequence}")),
    }
}

/// The outcome of an append that is stored at `sequence`.
pub(crate) fn committed(sequence: u64) -> CommitOutcome {
    CommitOutcome::Committed { sequence }
}
