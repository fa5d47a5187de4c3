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

/// Appends kept while those before them are missing; more are read from the log.
const EARLY_MAX: usize = 1_024;

/// Where this node is among the others.
#[derive(Debug)]
pub(super) struct Others {
    place: Arc<Mutex<LogPlace>>,
    /// Kept to stay on the channel.
    _subscription: Option<Arc<dyn Subscription>>,
    /// Appends whose predecessors are missing.
    early: BTreeMap<u64, Bytes>,
    /// When the log is read, unless the hole is filled before.
    read_at_ms: Option<u64>,
    is_reading: bool,
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
            read_at_ms: None,
            is_reading: false,
        }
    }

    /// Where to read the log from, if it is time to.
    pub(super) fn read_after(&mut self, now_ms: u64) -> Option<u64> {
        if self.is_reading || self.read_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return None;
        }
        self.read_at_ms = None;
        self.is_reading = true;
        metrics::bus_repaired();
        Some(lock(&self.place).applied())
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.read_at_ms.filter(|_| !self.is_reading)
    }

    fn read_by(&mut self, at_ms: u64) {
        self.read_at_ms = Some(self.read_at_ms.map_or(at_ms, |other| other.min(at_ms)));
    }

    fn keep(&mut self, commit: &Commit, now_ms: u64) {
        for entry in &commit.entries {
            match &entry.update {
                Some(update) if self.early.len() < EARLY_MAX => {
                    self.early.insert(entry.sequence, update.clone());
                }
                _ => self.read_by(now_ms),
            }
        }
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
            let update = self.early.remove(&sequence);
            next.extend(update.filter(|_| !is_held));
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
        if let Some(heard) = self.cell.take_heard() {
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
        self.others.is_reading = false;
        let range = match range {
            Ok(range) => range,
            Err(error) => {
                let document = &self.cell.name;
                tracing::warn!(%document, %error, "the log of other nodes cannot be read yet");
                self.others.read_by(now_ms + READ_AGAIN_MS);
                return self.turn();
            }
        };
        // A snapshot means that the log was cut below this place.
        if range.epoch != self.epoch || range.snapshot.is_some() || range.damage.is_some() {
            return TurnEnd::Reload;
        }
        let read_until = range.appends.last().map_or(0, |append| append.sequence);
        let read = range.appends.into_iter();
        self.others
            .early
            .extend(read.map(|append| (append.sequence, append.update)));
        if read_until < range.head && read_until > 0 {
            self.others.read_by(now_ms);
        }
        self.turn()
    }

    fn apply_next(&mut self, now_ms: u64) {
        for update in self.others.take_next(now_ms) {
            let input = Input::Foreign { update };
            self.replica.handle(now_ms, input, &mut self.effects);
        }
    }
}
