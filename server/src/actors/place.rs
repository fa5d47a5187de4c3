//! How far this node is in a document's log, and what it heard of other nodes that is not applied.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::bus::{Commit, Event};

/// Commits of other nodes that wait for a turn, and their bytes; what is beyond is read from the log.
const HEARD_COMMITS_MAX: usize = 256;
const HEARD_BYTES_MAX: usize = 1 << 20;

/// The place in the log up to which everything is in the replica, and what runs ahead of it.
#[derive(Debug)]
pub(super) struct LogPlace {
    applied: u64,
    /// Own appends behind one of another node that was not heard of yet.
    ahead: BTreeSet<u64>,
}

impl LogPlace {
    /// A replica that was loaded up to `head`.
    pub(super) fn at(head: u64) -> Self {
        Self {
            applied: head,
            ahead: BTreeSet::new(),
        }
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

/// What other nodes said since the last turn.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) commits: VecDeque<Arc<Commit>>,
    bytes: usize,
    /// Something was lost: the log has to be read.
    pub(super) is_interrupted: bool,
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
            Event::Committed(_) | Event::Interrupted => {
                self.commits.clear();
                self.bytes = 0;
                self.is_interrupted = true;
            }
            Event::Deleted { epoch } => self.deleted = self.deleted.max(Some(epoch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_appends_run_ahead_until_the_others_are_heard() {
        let mut place = LogPlace::at(4);
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
