//! What other nodes committed: applied in the order of the log, read from it where it is missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use driftless_proto::engine::Input;

use super::super::lock;
use super::super::place::LogPlace;
use super::{Ready, TurnEnd};
use crate::bus::{Commit, Subscription};
use crate::metrics;
use crate::store::{LogRange, StoreError};

/// How long a hole is left open: what fills it is often on its way from another node.
const HOLE_PATIENCE_MS: u64 = 20;

/// How long a log that could not be read is left alone.
const READ_AGAIN_MS: u64 = 1_000;

/// Appends kept while those before them are missing, and their bytes; more are read from the log.
const EARLY_MAX: usize = 1_024;
const EARLY_BYTES_MAX: usize = 4 << 20;

/// Where this node is among the others.
#[derive(Debug)]
pub(super) struct Others {
    place: Arc<Mutex<LogPlace>>,
    /// Kept to stay on the channel.
    _subscription: Option<Arc<dyn Subscription>>,
    /// Appends whose predecessors are missing.
    early: BTreeMap<u64, Bytes>,
    early_bytes: usize,
    /// When the log is read, unless the hole is filled before.
    read_at_ms: Option<u64>,
    /// Where the log is being read from.
    reading_after: Option<u64>,
}

impl Others {
    pub(super) fn new(
        place: Arc<Mutex<LogPlace>>,
        subscription: Option<Arc<dyn Subscription>>,
    ) -> Self {
        Self {
            place,
            _subscription: subscription,
            early: BTreeMap::new(),
            early_bytes: 0,
            read_at_ms: None,
            reading_after: None,
        }
    }

    /// Where to read the log from, if it is time to.
    pub(super) fn read_after(&mut self, now_ms: u64) -> Option<u64> {
        if self.reading_after.is_some() || self.read_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return None;
        }
        self.read_at_ms = None;
        metrics::bus_repaired();
        self.reading_after = Some(lock(&self.place).applied());
        self.reading_after
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.read_at_ms.filter(|_| self.reading_after.is_none())
    }

    fn read_by(&mut self, at_ms: u64) {
        self.read_at_ms = Some(self.read_at_ms.map_or(at_ms, |other| other.min(at_ms)));
    }

    fn keep(&mut self, commit: &Commit, now_ms: u64) {
        for entry in &commit.entries {
            let has_room = self.early.len() < EARLY_MAX && self.early_bytes < EARLY_BYTES_MAX;
            match &entry.update {
                Some(update) if has_room => self.insert(entry.sequence, update.clone()),
                _ => self.read_by(now_ms),
            }
        }
    }

    fn insert(&mut self, sequence: u64, update: Bytes) {
        self.early_bytes += update.len();
        let former = self.early.insert(sequence, update);
        self.early_bytes -= former.map_or(0, |former| former.len());
    }

    /// Takes what is next in the log, as far as it is here, and looks whether something is missing.
    fn take_next(&mut self, now_ms: u64) -> Vec<Bytes> {
        let mut place = lock(&self.place);
        let mut next = Vec::new();
        while let Some((&sequence, _)) = self.early.first_key_value() {
            let is_held = place.holds(sequence);
            if !is_held && !place.is_next(sequence) {
                break;
            }
            let update = self.early.remove(&sequence).unwrap_or_default();
            self.early_bytes -= update.len();
            if !is_held {
                next.push(update);
            }
        }
        let has_hole = place.has_hole() || !self.early.is_empty();
        drop(place);
        if has_hole {
            if self.read_at_ms.is_none() {
                metrics::bus_hole();
            }
            self.read_by(now_ms + HOLE_PATIENCE_MS);
        }
        next
    }
}

impl Ready {
    /// Applies what other nodes said since the last turn.
    pub(super) fn hear_others(&mut self, now_ms: u64) -> Option<TurnEnd> {
        if let Some(heard) = self.cell.take_heard().filter(|_| !self.frozen) {
            if heard.deleted.is_some_and(|epoch| epoch > self.epoch) {
                return Some(TurnEnd::DeletedElsewhere);
            }
            if heard.is_interrupted {
                self.others.read_by(now_ms);
            }
            for commit in heard.commits {
                if commit.epoch > self.epoch {
                    return Some(TurnEnd::Reload);
                }
                if commit.epoch == self.epoch {
                    metrics::bus_received();
                    self.others.keep(&commit, now_ms);
                }
            }
        }
        self.apply_next(now_ms);
        None
    }

    /// Takes in a part of the log that was missing here.
    pub(in super::super) fn catch_up(&mut self, range: Result<LogRange, StoreError>) -> TurnEnd {
        let now_ms = self.shared.clock.now_ms();
        let after = self.others.reading_after.take().unwrap_or(0);
        let range = match range {
            Ok(range) => range,
            // Nobody has written to it yet.
            Err(StoreError::NotFound) => return self.turn(),
            Err(error) => {
                let document = &self.cell.name;
                tracing::warn!(%document, %error, "the log of other nodes cannot be read yet");
                self.others.read_by(now_ms + READ_AGAIN_MS);
                return self.turn();
            }
        };
        // A snapshot means that the log was cut below this place; an end before it, that the log went
        // backwards.
        let is_cut = range.snapshot.is_some() || range.head < after;
        if range.epoch != self.epoch || is_cut || range.damage.is_some() {
            return TurnEnd::Reload;
        }
        let read_until = range.appends.last().map_or(0, |append| append.sequence);
        for append in range.appends {
            self.others.insert(append.sequence, append.update);
        }
        if read_until < range.head && read_until > 0 {
            self.others.read_by(now_ms);
        }
        let end = self.turn();
        // What is still missing was not in the log a moment ago.
        if self.others.read_at_ms.is_some_and(|at_ms| at_ms > now_ms) {
            self.others.read_at_ms = Some(now_ms + READ_AGAIN_MS);
        }
        end
    }

    fn apply_next(&mut self, now_ms: u64) {
        for update in self.others.take_next(now_ms) {
            let input = Input::Foreign { update };
            self.replica.handle(now_ms, input, &mut self.effects);
        }
    }
}
