//! What a session is owed that is answered by receipts: one for each update that it counts, in order,
//! after the commit.
//!
//! Hocuspocus' clients count: a step 1 of theirs sets the count to 1, for the answer that they will
//! give to ours; every change they send since adds one, and every receipt takes one away. So one
//! answer behind each step 1 is answered by a receipt, and each of those changes.
//! What a client sends behind its step 1 and had made before is not (`backlog.rs`).
//! (Source: `HocuspocusProvider.ts` of 2.15, 3.4 and 4.8: `resetUnsyncedChanges` sets 1 with every
//! step 1 of the client, `decrementUnsyncedChanges` takes 1 for each SyncStatus.)

use std::collections::VecDeque;

use bytes::Bytes;

use super::arrears::Arrears;
use super::backlog::{Backlog, Made};
use super::types::{Effect, SessionId};
use crate::admission::StateVector;

/// The most answers that are kept apart; beyond it the last two become one, which then waits for the
/// later commit. A client that types waits for a few.
const RECEIPTS_MAX: usize = 1_024;

/// Answers of one kind that become due together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owed {
    /// Due when this version is durable; `None` while a part of what was sent is missing.
    version: Option<u64>,
    accepted: bool,
    count: u64,
}

/// Updates of which nobody knows whether the client counts them, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Doubtful {
    accepted: u64,
    refused: u64,
    /// Some may not be here: a former replica had them, or they were refused.
    are_elsewhere: bool,
}

/// The answers a session is owed.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    owed: VecDeque<Owed>,
    /// The client waits for a receipt for its next answer: it asked, and has not answered since.
    awaits_answer: bool,
    backlog: Backlog,
    /// Until a pong tells; without one they are taken for not counted.
    doubtful: Doubtful,
    /// Answers of refusal that the client got since it began to count: it still counts those updates.
    refused: u64,
}

impl Receipts {
    /// What a former replica left open. The updates are due once all that the client has is here.
    pub(super) fn take_over(arrears: &Arrears) -> Self {
        let (owed, refused) = arrears.balance();
        let mut receipts = Self {
            awaits_answer: arrears.awaits_answer,
            backlog: arrears.backlog.clone(),
            doubtful: Doubtful {
                accepted: arrears.doubtful,
                refused: 0,
                are_elsewhere: arrears.doubtful > 0,
            },
            refused,
            ..Self::default()
        };
        if owed > 0 {
            receipts.accept(None, owed);
        }
        receipts
    }

    /// The session answered a step 1. Whether the client waits for a receipt: it does for one answer
    /// behind each step 1 of its own, whichever of our questions that is to.
    pub(super) fn take_answer(&mut self, step2: &Bytes) -> bool {
        let is_counted = std::mem::take(&mut self.awaits_answer);
        if is_counted {
            self.backlog.answer(step2);
            self.doubtful = Doubtful::default();
        }
        is_counted
    }

    /// What waited for the connection has come.
    pub(super) fn note_sent(&mut self) {
        self.backlog.note_sent();
    }

    /// Judges an update: whether the client counts it.
    pub(super) fn judge(&mut self, update: &Bytes) -> Made {
        self.backlog.judge(update)
    }

    /// Nobody knows yet whether the client counts an update.
    pub(super) fn set_aside(&mut self, is_taken: bool) {
        let doubtful = &mut self.doubtful;
        *match is_taken {
            true => &mut doubtful.accepted,
            false => &mut doubtful.refused,
        } += 1;
    }

    /// All that the client sent so far it sent when it made it, so it counts what was set aside. All that is
    /// new in that is in this version, or `None` while a part is missing. Returns what [`Self::refuse`]
    /// does.
    pub(super) fn count_doubtful(&mut self, version: Option<u64>) -> u64 {
        let doubtful = std::mem::take(&mut self.doubtful);
        if doubtful.accepted > 0 {
            let version = version.filter(|_| !doubtful.are_elsewhere);
            self.accept(version, doubtful.accepted);
        }
        match doubtful.refused {
            0 => 0,
            count => self.refuse(count),
        }
    }

    /// Whether the client has updates that were refused and that it still counts.
    pub(super) fn has_refused(&self) -> bool {
        self.refused > 0
    }

    /// Whether anything is owed.
    pub(super) fn is_owing(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Updates were taken in; all of it is in this version, or `None` while a part is missing.
    pub(super) fn accept(&mut self, version: Option<u64>, count: u64) {
        let is_full = self.owed.len() >= RECEIPTS_MAX;
        match self.owed.back_mut() {
            Some(last) if last.accepted && (is_full || last.version == version) => {
                last.count += count;
                // What is incomplete stays so.
                last.version = last.version.and(version);
            }
            _ => self.owed.push_back(Owed {
                version,
                accepted: true,
                count,
            }),
        }
    }

    /// Updates were not taken in. Returns how many such answers are given up, since too many wait:
    /// to the client they change nothing.
    pub(super) fn refuse(&mut self, count: u64) -> u64 {
        self.refused += count;
        let is_full = self.owed.len() >= RECEIPTS_MAX;
        match self.owed.back_mut() {
            Some(last) if !last.accepted => last.count += count,
            _ if is_full => return count,
            _ => self.owed.push_back(Owed {
                version: Some(0),
                accepted: false,
                count,
            }),
        }
        0
    }

    /// What was refused is taken in after all, once the client has sent it again; how many updates.
    pub(super) fn restore(&mut self) -> u64 {
        let doubtful = &mut self.doubtful;
        doubtful.are_elsewhere |= doubtful.refused > 0;
        doubtful.accepted += std::mem::take(&mut doubtful.refused);
        let count = std::mem::take(&mut self.refused);
        if count > 0 {
            self.accept(None, count);
        }
        count
    }

    /// What was to bring all that is missing was refused. Without this what waits for it would hold up
    /// all answers behind it.
    pub(super) fn refuse_missing(&mut self) {
        for owed in self.owed.iter_mut().filter(|owed| owed.version.is_none()) {
            (owed.version, owed.accepted) = (Some(0), false);
            self.refused += owed.count;
        }
    }

    /// What was taken in last is not known to be all: the next answer tells.
    pub(super) fn doubt(&mut self) {
        if let Some(last) = self.owed.back_mut() {
            last.version = None;
        }
    }

    /// What was missing has arrived.
    pub(super) fn settle(&mut self, version: u64) {
        for owed in &mut self.owed {
            owed.version.get_or_insert(version);
        }
    }

    /// The client begins to count anew: what it is owed from before is covered by the answer to the
    /// step 1 that it is about to be sent.
    pub(super) fn start_anew(&mut self, announced: &StateVector) {
        self.refused = 0;
        self.doubtful = Doubtful::default();
        self.backlog.begin(announced);
        self.awaits_answer = true;
        self.owed.clear();
    }

    /// The next answers that are due, all of one kind.
    pub(super) fn take_due(&mut self, durable_version: u64) -> Option<(bool, u64)> {
        let mut due: Option<(bool, u64)> = None;
        while let Some(first) = self.owed.front()
            && first
                .version
                .is_some_and(|version| version <= durable_version)
            && due.is_none_or(|(accepted, _)| accepted == first.accepted)
        {
            let (_, count) = due.unwrap_or((first.accepted, 0));
            due = Some((first.accepted, count + first.count));
            self.owed.pop_front();
        }
        due
    }
}

/// Says that refusals are not told.
pub(super) fn give_up_receipts(session: SessionId, count: u64, effects: &mut Vec<Effect>) {
    if count > 0 {
        effects.push(Effect::Receipts {
            session,
            accepted: None,
            count,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_after_their_commits() {
        let mut receipts = Receipts::default();
        receipts.accept(Some(1), 1);
        receipts.accept(Some(1), 1);
        receipts.accept(Some(2), 1);
        assert_eq!(receipts.refuse(1), 0);
        assert_eq!(receipts.take_due(0), None);
        assert_eq!(receipts.take_due(1), Some((true, 2)));
        assert_eq!(receipts.take_due(1), None, "a refusal keeps its place");
        assert_eq!(receipts.take_due(2), Some((true, 1)));
        assert_eq!(receipts.take_due(2), Some((false, 1)));
        assert!(!receipts.is_owing());
    }

    #[test]
    fn what_is_incomplete_holds_back_all_behind_it() {
        let mut receipts = Receipts::default();
        receipts.accept(None, 1);
        receipts.accept(Some(3), 1);
        assert_eq!(receipts.take_due(9), None);
        receipts.settle(4);
        assert_eq!(receipts.take_due(3), None);
        assert_eq!(receipts.take_due(4), Some((true, 2)));
    }

    #[test]
    fn only_answers_that_the_client_counts_are_answered() {
        let mut receipts = Receipts::default();
        let answer = Bytes::from_static(&[0, 0]);
        assert!(!receipts.take_answer(&answer), "it has not asked");
        receipts.start_anew(&StateVector::default());
        assert!(receipts.take_answer(&answer));
        assert!(!receipts.take_answer(&answer));
        receipts.accept(Some(7), 3);
        receipts.start_anew(&StateVector::default());
        assert_eq!(receipts.take_due(7), None);
        assert!(receipts.take_answer(&answer));
    }

    #[test]
    fn what_waits_is_bounded_and_no_acceptance_is_lost() {
        let mut receipts = Receipts::default();
        let mut given_up = 0;
        for version in 0..100_000 {
            receipts.accept(Some(version), 1);
            given_up += receipts.refuse(1);
            assert!(receipts.owed.len() <= RECEIPTS_MAX + 1);
        }
        let (mut accepted, mut refused) = (0, 0);
        while let Some((is_accepted, count)) = receipts.take_due(100_000) {
            *(if is_accepted {
                &mut accepted
            } else {
                &mut refused
            }) += count;
        }
        assert_eq!((accepted, refused + given_up), (100_000, 100_000));
    }
}
