//! What other nodes committed: applied in the order of the log, read from it where it is missing.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use driftless_proto::engine::{Input, NodeId};

use super::super::lock;
use super::super::place::{Heard, HeardPresence, LogPlace};
use super::{Ready, TurnEnd};
use crate::bus::{Commit, Subscription};
use crate::metrics;
use crate::store::{AppendId, Claim, LogEnd, LogPoint, LogRange, StoreError};

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
    early: BTreeMap<u64, (AppendId, Bytes)>,
    early_bytes: usize,
    /// When the log is read, unless the hole is filled before.
    read_at_ms: Option<u64>,
    /// Where the replica was in the log when a part of it was asked for that is on its way.
    reading: Option<u64>,
    /// The log was taken back to an earlier state.
    is_log_lost: bool,
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
            reading: None,
            is_log_lost: false,
        }
    }

    /// Where to read the log from, if it is time to.
    pub(super) fn read_after(&mut self, now_ms: u64) -> Option<u64> {
        if self.reading.is_some() || self.read_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return None;
        }
        self.read_at_ms = None;
        metrics::bus_repaired();
        let place = lock(&self.place);
        // From the last one that is known, to see whether it is still the same.
        let known = u64::from(place.point().is_some());
        let applied = place.applied();
        self.reading = Some(applied);
        Some(applied - known)
    }

    /// What a change made now may rest on.
    pub(super) fn point(&self) -> Option<LogPoint> {
        lock(&self.place).point()
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.read_at_ms.filter(|_| self.reading.is_none())
    }

    fn read_by(&mut self, at_ms: u64) {
        self.read_at_ms = Some(self.read_at_ms.map_or(at_ms, |other| other.min(at_ms)));
    }

    fn keep(&mut self, commit: &Commit, now_ms: u64) {
        for entry in &commit.entries {
            let has_room = self.early.len() < EARLY_MAX && self.early_bytes < EARLY_BYTES_MAX;
            let point = LogPoint {
                sequence: entry.sequence,
                id: entry.id,
            };
            match &entry.update {
                Some(update) if has_room => self.insert(point, update.clone()),
                _ => self.read_by(now_ms),
            }
        }
    }

    fn insert(&mut self, point: LogPoint, update: Bytes) {
        self.is_log_lost |= lock(&self.place).contradicts(point);
        self.early_bytes += update.len();
        let former = self.early.insert(point.sequence, (point.id, update));
        self.early_bytes -= former.map_or(0, |(_, former)| former.len());
    }

    /// Compares where the log ended a moment ago with where this node was in it before.
    fn look_at_end(&mut self, end: LogEnd, applied_before: u64, now_ms: u64) {
        let point = end.id.map(|id| LogPoint {
            sequence: end.head,
            id,
        });
        let place = lock(&self.place);
        let is_other = point.is_some_and(|point| place.contradicts(point));
        let applied = place.applied();
        drop(place);
        self.is_log_lost |= is_other || end.head < applied_before.min(applied);
        if end.head > applied {
            self.read_by(now_ms);
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
            let (id, update) = self.early.remove(&sequence).unwrap_or_default();
            self.early_bytes -= update.len();
            if !is_held {
                place.note_id(LogPoint { sequence, id });
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
        if let Some(mut heard) = self.cell.take_heard() {
            self.hear_presence(&mut heard, now_ms);
            for payload in heard.stateless.drain(..) {
                let input = Input::NodeStateless { payload };
                self.replica.handle(now_ms, input, &mut self.effects);
            }
            if !self.frozen
                && let Some(end) = self.hear_log(heard, now_ms)
            {
                return Some(end);
            }
        }
        if self.others.is_log_lost {
            return Some(TurnEnd::LogLost);
        }
        self.apply_next(now_ms);
        None
    }

    /// Takes in what other nodes said of the log.
    fn hear_log(&mut self, heard: Heard, now_ms: u64) -> Option<TurnEnd> {
        if heard.deleted.is_some_and(|epoch| epoch > self.epoch) {
            return Some(TurnEnd::DeletedElsewhere);
        }
        if heard.is_interrupted {
            self.others.read_by(now_ms);
        }
        if let Some((end, applied)) = heard.log_end {
            match end.epoch.cmp(&self.epoch) {
                Ordering::Greater => return Some(TurnEnd::Reload),
                Ordering::Less => return Some(TurnEnd::LogLost),
                Ordering::Equal => self.others.look_at_end(end, applied, now_ms),
            }
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
        None
    }

    fn hear_presence(&mut self, heard: &mut Heard, now_ms: u64) {
        let told = heard.presence.drain(..).map(|one| match one {
            HeardPresence::Told { node, number, told } => Input::NodePresence {
                node: NodeId(node),
                number,
                told: Arc::unwrap_or_clone(told),
            },
            HeardPresence::Lost { node } => Input::NodeLost { node: NodeId(node) },
        });
        for input in told.chain(heard.is_rejoined.then_some(Input::MeetNodes)) {
            self.replica.handle(now_ms, input, &mut self.effects);
        }
    }

    /// Takes in a part of the log that was missing here.
    pub(in super::super) fn catch_up(
        &mut self,
        read: Result<(LogRange, Vec<Claim>), StoreError>,
    ) -> TurnEnd {
        let now_ms = self.shared.clock.now_ms();
        let applied = self.others.reading.take().unwrap_or(0);
        let (range, owners) = match read {
            Ok(read) => read,
            // Nobody has written to it yet.
            Err(StoreError::NotFound) => return self.turn(),
            Err(error) => {
                let document = &self.cell.name;
                tracing::warn!(%document, %error, "the log of other nodes cannot be read yet");
                self.others.read_by(now_ms + READ_AGAIN_MS);
                return self.turn();
            }
        };
        if range.epoch < self.epoch || range.epoch == self.epoch && range.head < applied {
            return TurnEnd::LogLost;
        }
        // The log was cut behind this place.
        let is_cut = range.snapshot.is_some_and(|base| base.sequence > applied);
        if range.epoch != self.epoch || is_cut || range.damage.is_some() {
            return TurnEnd::Reload;
        }
        if !owners.is_empty() {
            let input = Input::Owners { owners };
            self.replica.handle(now_ms, input, &mut self.effects);
        }
        let read_until = range.appends.last().map_or(0, |append| append.sequence);
        for append in range.appends {
            let point = LogPoint {
                sequence: append.sequence,
                id: append.id,
            };
            self.others.insert(point, append.update);
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
        self.cell.note_applied(lock(&self.others.place).applied());
    }
}
