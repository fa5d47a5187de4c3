//! How far this node is in a document's log, and what it heard of other nodes that is not applied.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use driftless_proto::engine::NodePresence;

use crate::bus::{Commit, Event};
use crate::metrics;
use crate::store::{AppendId, LogEnd, LogPoint};

/// Commits of other nodes that wait for a turn, and their bytes; what is beyond is read from the log.
const HEARD_COMMITS_MAX: usize = 256;
const HEARD_BYTES_MAX: usize = 1 << 20;

/// Messages about presence that wait for a turn; what is beyond is asked for again.
const HEARD_PRESENCE_MAX: usize = 1_024;

/// Their bytes: all that a few nodes tell anew of thousands of cursors, which is one message of each.
const HEARD_PRESENCE_BYTES_MAX: usize = 8 << 20;

/// Stateless messages that wait for a turn, and their bytes; what is beyond is lost, as it is for a
/// session that is not there.
const HEARD_STATELESS_MAX: usize = 256;
const HEARD_STATELESS_BYTES_MAX: usize = 1 << 20;

/// Ids of appends that are remembered, to notice that the log was taken back: what other nodes appended
/// in the second or two until they say so.
const KNOWN_IDS_MAX: usize = 1_024;

/// The place in the log up to which everything is in the replica, and what runs ahead of it.
#[derive(Debug)]
pub(super) struct LogPlace {
    applied: u64,
    /// Own appends behind one of another node that was not heard of yet.
    ahead: BTreeSet<u64>,
    /// The newest appends that are in the replica; `None` where no other node writes to the log.
    ids: Option<BTreeMap<u64, AppendId>>,
}

impl LogPlace {
    /// A replica that was loaded up to `head`. `newest` are the appends it ends with, where other
    /// nodes write to the log, too.
    pub(super) fn at(head: u64, newest: Option<Vec<LogPoint>>) -> Self {
        let mut place = Self {
            applied: head,
            ahead: BTreeSet::new(),
            ids: newest.is_some().then(BTreeMap::new),
        };
        newest
            .into_iter()
            .flatten()
            .for_each(|point| place.note_id(point));
        place
    }

    /// An append is in the replica.
    pub(super) fn note_id(&mut self, point: LogPoint) {
        if let Some(ids) = &mut self.ids {
            ids.insert(point.sequence, point.id);
            if ids.len() > KNOWN_IDS_MAX {
                ids.pop_first();
            }
        }
    }

    /// Whether another append than the one in the replica is at this place of the log.
    pub(super) fn contradicts(&self, point: LogPoint) -> bool {
        let known = self.ids.as_ref().and_then(|ids| ids.get(&point.sequence));
        known.is_some_and(|id| *id != point.id)
    }

    /// The newest append in the replica that everything before is in, too, if its id is known.
    pub(super) fn point(&self) -> Option<LogPoint> {
        let id = *self.ids.as_ref()?.get(&self.applied)?;
        Some(LogPoint {
            sequence: self.applied,
            id,
        })
    }

    /// An own append got this place.
    pub(super) fn note_own(&mut self, sequence: u64) {
        if sequence == self.applied + 1 {
            self.applied = sequence;
            self.close_up();
        } else if sequence > self.applied {
            self.ahead.insert(sequence);
        }
    }

    /// Whether an append of another node is the next to apply; it then counts as applied.
    pub(super) fn is_next(&mut self, sequence: u64) -> bool {
        if sequence != self.applied + 1 {
            return false;
        }
        self.applied = sequence;
        self.close_up();
        true
    }

    /// Whether this append is in the replica.
    pub(super) fn holds(&self, sequence: u64) -> bool {
        sequence <= self.applied || self.ahead.contains(&sequence)
    }

    /// Everything up to here is in the replica.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// Whether an append of another node is known to be missing.
    pub(super) fn has_hole(&self) -> bool {
        !self.ahead.is_empty()
    }

    fn close_up(&mut self) {
        while self.ahead.first() == Some(&(self.applied + 1)) {
            self.ahead.pop_first();
            self.applied += 1;
        }
    }
}

/// What was heard of presence on another node.
#[derive(Debug)]
pub(super) enum HeardPresence {
    /// It told who is there.
    Told {
        node: u64,
        number: u64,
        told: Arc<NodePresence>,
    },
    /// It is gone.
    Lost { node: u64 },
}

/// What other nodes said since the last turn.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) commits: VecDeque<Arc<Commit>>,
    bytes: usize,
    /// Something was lost: the log has to be read.
    pub(super) is_interrupted: bool,
    /// Everything may have been lost, presence too.
    pub(super) is_rejoined: bool,
    /// What was said of presence, and who is gone.
    pub(super) presence: VecDeque<HeardPresence>,
    presence_bytes: usize,
    /// What sessions of other nodes sent to all.
    pub(super) stateless: VecDeque<Bytes>,
    stateless_bytes: usize,
    /// Where the log ended a moment ago, and where this node was in it before that.
    pub(super) log_end: Option<(LogEnd, u64)>,
    /// The newest epoch that began with a deletion.
    pub(super) deleted: Option<u64>,
}

impl Heard {
    /// Queues an event; when too many wait, they are dropped and the log is read instead.
    pub(super) fn push(&mut self, event: Event) {
        match event {
            Event::Committed(commit)
                if self.commits.len() < HEARD_COMMITS_MAX && self.bytes < HEARD_BYTES_MAX =>
            {
                self.bytes += commit.bytes();
                self.commits.push_back(commit);
            }
            Event::Presence { node, number, told } => {
                let bytes = told.bytes();
                self.push_presence(HeardPresence::Told { node, number, told }, bytes);
            }
            Event::Stateless { payload } => self.push_stateless(payload),
            Event::NodeLost { node } => self.push_presence(HeardPresence::Lost { node }, 0),
            Event::Rejoined => {
                self.is_rejoined = true;
                self.push(Event::Interrupted);
            }
            Event::LogEnd { end, applied } => self.log_end = Some((end, applied)),
            Event::Committed(_) | Event::Interrupted => {
                self.commits.clear();
                self.bytes = 0;
                self.is_interrupted = true;
            }
            Event::Deleted { epoch } => self.deleted = self.deleted.max(Some(epoch)),
        }
    }

    /// Queues what was told of presence; when too much waits, all is dropped and asked for anew.
    fn push_presence(&mut self, heard: HeardPresence, bytes: usize) {
        let waiting = self.presence_bytes + bytes;
        let fits = self.presence.is_empty() || waiting <= HEARD_PRESENCE_BYTES_MAX;
        if fits && self.presence.len() < HEARD_PRESENCE_MAX {
            self.presence_bytes = waiting;
            self.presence.push_back(heard);
        } else {
            self.presence.clear();
            self.presence_bytes = 0;
            self.is_rejoined = true;
        }
    }

    fn push_stateless(&mut self, payload: Bytes) {
        let bytes = self.stateless_bytes + payload.len();
        if self.stateless.len() < HEARD_STATELESS_MAX && bytes <= HEARD_STATELESS_BYTES_MAX {
            self.stateless_bytes = bytes;
            self.stateless.push_back(payload);
        } else {
            metrics::stateless_lost();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_appends_run_ahead_until_the_others_are_heard() {
        let mut place = LogPlace::at(4, None);
        place.note_own(5);
        assert_eq!((place.applied(), place.has_hole()), (5, false));
        place.note_own(8);
        place.note_own(5);
        assert_eq!((place.applied(), place.has_hole()), (5, true));
        assert!(place.holds(8) && !place.holds(7));
        assert!(!place.is_next(7) && !place.is_next(5));
        assert!(place.is_next(6));
        assert!(place.is_next(7));
        assert_eq!((place.applied(), place.has_hole()), (8, false));
        assert!(!place.is_next(8));
    }

    #[test]
    fn another_id_at_a_known_place_is_noticed() {
        let point = |sequence, id| LogPoint {
            sequence,
            id: [id; 16],
        };
        let mut place = LogPlace::at(4, Some(vec![point(3, 3), point(4, 4)]));
        assert_eq!(place.point(), Some(point(4, 4)));
        assert!(place.contradicts(point(3, 9)) && !place.contradicts(point(3, 3)));
        assert!(!place.contradicts(point(2, 9)), "it is not known");
        place.note_own(5);
        assert_eq!(place.point(), None, "its id is not known yet");
        place.note_id(point(5, 5));
        assert_eq!(place.point(), Some(point(5, 5)));
        for sequence in 6..=2 * KNOWN_IDS_MAX as u64 {
            place.note_id(point(sequence, 1));
        }
        assert!(!place.contradicts(point(5, 9)), "it is forgotten");
    }

    #[test]
    fn presence_that_does_not_fit_is_asked_for_anew() {
        let told = Arc::new(NodePresence {
            entries: vec![0; HEARD_PRESENCE_BYTES_MAX / 2].into(),
            ..NodePresence::default()
        });
        let mut heard = Heard::default();
        for number in 0..3 {
            let node = 1;
            let told = told.clone();
            assert!(!heard.is_rejoined);
            heard.push(Event::Presence { node, number, told });
        }
        assert!(heard.is_rejoined && heard.presence.is_empty());
        for _ in 0..=HEARD_PRESENCE_MAX {
            heard.push(Event::NodeLost { node: 1 });
        }
        assert!(heard.presence.len() <= HEARD_PRESENCE_MAX);
    }

    #[test]
    fn what_does_not_fit_is_read_from_the_log() {
        let mut heard = Heard::default();
        let commit = Arc::new(Commit {
            epoch: 1,
            entries: Vec::new(),
        });
        for _ in 0..HEARD_COMMITS_MAX {
            heard.push(Event::Committed(commit.clone()));
        }
        assert!(!heard.is_interrupted);
        heard.push(Event::Committed(commit));
        assert!(heard.is_interrupted && heard.commits.is_empty());
        heard.push(Event::Deleted { epoch: 3 });
        heard.push(Event::Deleted { epoch: 2 });
        assert_eq!(heard.deleted, Some(3));
    }
}
