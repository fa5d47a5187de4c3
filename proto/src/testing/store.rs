//! A model of a store: a log with group commit, slow and failing times, and crashes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::rng::Rng;
use super::violation::Violation;
use crate::ClientId;
use crate::admission::StateVector;
use crate::engine::{Claim, Identity, StoredDocument, build_snapshot};

/// An append that waits for its commit.
#[derive(Debug)]
struct Pending {
    /// The generation of the actor that numbered it.
    generation: u64,
    version: u64,
    update: Bytes,
    claims: Vec<Claim>,
}

/// One document's log, and what waits to become part of it.
#[derive(Debug, Default)]
pub(super) struct Store {
    snapshot: Option<Bytes>,
    appends: Vec<Bytes>,
    tombstone: Option<StateVector>,
    owners: BTreeMap<ClientId, Identity>,
    /// Counts deletions.
    pub(super) epoch: u64,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// The first so many of `pending` are being committed.
    committing: usize,
    pub(super) failing_until_ms: u64,
    pub(super) slow_until_ms: u64,
    /// Counts crashes: a commit that was under way before one is not heard of any more.
    pub(super) run: u64,
}

impl Store {
    pub(super) fn submit(
        &mut self,
        (generation, version): (u64, u64),
        update: Bytes,
        claims: Vec<Claim>,
    ) {
        self.pending_bytes += update.len();
        self.pending.push_back(Pending {
            generation,
            version,
            update,
            claims,
        });
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Starts a commit of all that waits, if none is under way; returns how long it takes.
    pub(super) fn begin_commit(&mut self, now_ms: u64, rng: &mut Rng) -> Option<u64> {
        if self.committing > 0 || self.pending.is_empty() {
            return None;
        }
        self.committing = self.pending.len();
        Some(if now_ms < self.slow_until_ms {
            rng.between(200, 1_500)
        } else {
            rng.between(1, 12)
        })
    }

    /// The commit under way ends; returns the newest generation and version that are durable now,
    /// or `None` when it failed and everything waits on.
    pub(super) fn end_commit(&mut self, now_ms: u64) -> Option<(u64, u64)> {
        let count = std::mem::take(&mut self.committing);
        if now_ms < self.failing_until_ms {
            return None;
        }
        let mut newest = None;
        for append in self.pending.drain(..count) {
            self.pending_bytes -= append.update.len();
            newest = Some((append.generation, append.version));
            self.appends.push(append.update);
            for claim in append.claims {
                self.owners.entry(claim.client).or_insert(claim.owner);
            }
        }
        newest
    }

    /// The process dies. What is being committed becomes durable or not, the rest is lost.
    pub(super) fn crash(&mut self, now_ms: u64, rng: &mut Rng) {
        if rng.percent(50) {
            self.end_commit(now_ms);
        }
        self.pending.clear();
        self.pending_bytes = 0;
        self.committing = 0;
        self.run += 1;
    }

    /// Replaces a prefix of the log by a snapshot built from it.
    pub(super) fn compact(&mut self, rng: &mut Rng) -> Result<(), Violation> {
        let covered = rng.index(self.appends.len() + 1);
        let snapshot = build_snapshot(self.snapshot.as_ref(), &self.appends[..covered])?;
        self.snapshot = Some(snapshot);
        self.appends.drain(..covered);
        Ok(())
    }

    /// Deletes the document, which had reached `vector`.
    pub(super) fn delete(&mut self, vector: &StateVector) {
        self.epoch += 1;
        self.snapshot = None;
        self.appends.clear();
        self.owners.clear();
        self.tombstone.get_or_insert_default().merge_max(vector);
    }

    pub(super) fn stored(&self) -> StoredDocument {
        StoredDocument {
            snapshot: self.snapshot.clone(),
            appends: self.appends.clone(),
            tombstone: self.tombstone.clone(),
            owners: self.owners().collect(),
        }
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = Claim> + '_ {
        self.owners.iter().map(|(client, owner)| Claim {
            client: *client,
            owner: owner.clone(),
        })
    }

    pub(super) fn tombstone(&self) -> Option<&StateVector> {
        self.tombstone.as_ref()
    }
}
