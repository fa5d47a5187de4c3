//! What became of a document's own appends: told to its cell, and to other nodes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::cell::{DocumentCell, Refused};
use super::super::lock;
use super::super::place::LogPlace;
use crate::bus::{Commit, Entry, Event, INLINE_BYTES_MAX, Subscription};
use crate::metrics;
use crate::store::LogPoint;
use crate::store::committer::{CommitListener, CommitRefusal, Committed};

/// Commits of one generation.
#[derive(Debug)]
pub(super) struct Commits {
    cell: Arc<DocumentCell>,
    generation: u64,
    epoch: u64,
    place: Arc<Mutex<LogPlace>>,
    subscription: Option<Arc<dyn Subscription>>,
    /// The highest version committed. Versions are a replica's own, so this is one generation's: a
    /// commit that is told late must not count for the next.
    committed_version: AtomicU64,
}

impl Commits {
    pub(super) fn new(
        cell: Arc<DocumentCell>,
        (generation, epoch): (u64, u64),
        place: Arc<Mutex<LogPlace>>,
        subscription: Option<Arc<dyn Subscription>>,
    ) -> Self {
        Self {
            cell,
            generation,
            epoch,
            place,
            subscription,
            committed_version: AtomicU64::new(0),
        }
    }

    /// The highest version of this replica that is committed.
    pub(super) fn committed_version(&self) -> u64 {
        self.committed_version.load(Ordering::SeqCst)
    }

    /// At the end of a turn in which commits up to `known_version` were known: whether the next one
    /// has to wake the document.
    pub(super) fn await_commit(&self, awaits: bool, known_version: u64) {
        self.cell.set_awaits_commit(awaits);
        if awaits && self.committed_version() > known_version {
            self.cell.wake();
        }
    }

    /// The channel to other nodes, if there is one.
    pub(super) fn subscription(&self) -> Option<Arc<dyn Subscription>> {
        self.subscription.clone()
    }
}

impl CommitListener for Commits {
    fn on_committed(&self, version: u64, committed: &[Committed<'_>]) {
        let mut place = lock(&self.place);
        for append in committed {
            place.note_own(append.sequence);
            place.note_id(LogPoint {
                sequence: append.sequence,
                id: append.append.id,
            });
        }
        self.cell.note_applied(place.applied());
        drop(place);
        // In one order with the actor's: either it sees this version, or this its wish.
        self.committed_version.fetch_max(version, Ordering::SeqCst);
        self.cell.wake_for_commit(self.generation);
        let heard = self
            .subscription
            .as_ref()
            .filter(|others| others.has_peers());
        if let (Some(others), Some(commit)) = (heard, commit(committed)) {
            metrics::bus_published();
            others.publish(Event::Committed(Arc::new(commit)));
        }
    }

    fn on_refused(&self, version: u64, refusal: CommitRefusal) {
        tracing::warn!(document = %self.cell.name, version, %refusal, "append refused");
        let refused = match refusal {
            CommitRefusal::LogLost => Refused::LogLost,
            CommitRefusal::EpochChanged { current } if current < self.epoch => Refused::LogLost,
            CommitRefusal::EpochChanged { .. } | CommitRefusal::Quarantined => Refused::Outdated,
            CommitRefusal::Failed(_) => Refused::Failed,
        };
        self.cell.note_refused(self.generation, refused);
    }
}

/// One message for all that a commit added to the document.
fn commit(committed: &[Committed<'_>]) -> Option<Commit> {
    let bytes: usize = committed.iter().map(|one| one.append.update.len()).sum();
    let is_inline = bytes <= INLINE_BYTES_MAX;
    Some(Commit {
        epoch: committed.first()?.append.epoch,
        entries: committed
            .iter()
            .map(|one| Entry {
                sequence: one.sequence,
                id: one.append.id,
                // Who takes a client id is read with the log.
                update: (is_inline && one.append.claims.is_empty())
                    .then(|| one.append.update.clone()),
            })
            .collect(),
    })
}
