//! What the engine knows of one peer: how far it is brought up to date and which acks it waits for.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::receipts::Receipts;
use super::types::{Access, Acks, Identity, Rights};
use crate::admission::StateVector;

/// The most acks that wait for commits at a time; beyond it the last two become one, since acks
/// are cumulative.
const PROBES_MAX: usize = 64;

/// How far a peer is brought up to date.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// It has everything up to `vector` and hears nothing new until it is served again.
    Behind {
        /// What it was sent, or what it had when it arrived.
        vector: Arc<StateVector>,
        /// When it is served although it did not ask: a listener that never sends a step 1.
        /// `None`: it is served as soon as its queue is empty.
        patience_ms: Option<u64>,
    },
    /// It receives a large state in parts, the next whenever its queue is empty.
    CatchingUp {
        /// Causally closed parts, shared by all who join at this version.
        parts: Arc<[Bytes]>,
        /// The part to send next.
        next: usize,
        /// What it has after the last part.
        vector: Arc<StateVector>,
    },
    /// It hears every change as it happens.
    Live,
}

/// What a peer has to be told besides the document: it may not fit behind a large state, and what
/// does not fit must not lead to the same state again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owed {
    /// Everyone's presence.
    pub(super) presence: bool,
    /// Our questions and its last ack.
    pub(super) replies: bool,
}

impl Owed {
    pub(super) fn is_nothing(self) -> bool {
        !self.presence && !self.replies
    }
}

/// A part of what a peer sent that the replica could not take in yet.
#[derive(Debug, Clone)]
pub(super) struct OpenGap {
    /// What has to be known before the part counts as taken in.
    pub(super) wants: StateVector,
    /// A step 2 of the peer arrived since, and nothing of it was left out. Step 2 holds all that
    /// the peer sent before, so this covers deletes too, which `wants` cannot name.
    pub(super) answered: bool,
    /// The revision of the replica at which the peer was last asked for more.
    pub(super) asked_revision: Option<u64>,
    /// Not before this time is it asked again.
    pub(super) ask_again_ms: u64,
}

/// "All I sent up to my counter `probe` is covered by version `version`."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    version: u64,
    probe: u64,
}

/// The answer of a session to a step 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// A former replica asked for it.
    pub(super) is_stale: bool,
    /// The client waits for a receipt.
    pub(super) is_counted: bool,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) rights: Rights,
    /// Whose changes its are.
    pub(super) identity: Identity,
    /// What it is owed, if it is answered by receipts.
    pub(super) receipts: Option<Receipts>,
    pub(super) phase: Phase,
    /// What it had when it was last served a state: nothing since then is sure to have arrived
    /// while that state is still on its way.
    pub(super) base: Arc<StateVector>,
    /// It answered our step 1: what it wrote while it was away has arrived.
    pub(super) answered: bool,
    /// So many of its next answers are to questions of a former replica. Those may have shown what was
    /// never stored, so that their answers do not tell that all is here.
    pub(super) stale_answers: usize,
    /// Its step 1 names structs, so it may hold deletes too, which no vector tells: only its answer
    /// to our step 1 brings them.
    pub(super) claims_more: bool,
    /// It sent an update. A peer that does so without answering our step 1 has nothing else to
    /// bring, unless it claims more.
    pub(super) updated: bool,
    /// A part of its edits was refused: nothing it sent later counts as saved.
    pub(super) refused: bool,
    /// It was told that its edits are refused.
    pub(super) denied: bool,
    /// What others have to bring before edits that were refused are asked for again.
    pub(super) awaits_others: StateVector,
    /// It sent presence before.
    pub(super) presence_seen: bool,
    pub(super) gap: Option<OpenGap>,
    /// Its queue was full: a question or an ack may be lost.
    pub(super) lost_replies: bool,
    /// The version of the presence that it was told of, or follows since it is live.
    pub(super) presence_version: u64,
    /// What it is sent, one after the other, whenever its queue is empty.
    pub(super) owed: Owed,
    /// Its newest step 1 of this turn.
    pub(super) asked: Option<StateVector>,
    /// It asked, and expects to be asked in return.
    pub(super) is_to_be_asked: bool,
    /// What it was sent before there was a replica, if it says that it has nothing: its first
    /// question is answered with the rest.
    pub(super) sent_stored: Option<Arc<StateVector>>,
    /// It asked for everyone's presence in this turn.
    pub(super) asked_presence: bool,
    probes: VecDeque<Probe>,
    /// The highest probe that cannot be tied to a version yet.
    held: Option<u64>,
    /// The highest probe whose edits are durable.
    saved: u64,
    /// A probe came in that was not answered yet, and when it is answered at the latest.
    reply_by_ms: Option<u64>,
}

impl Session {
    pub(super) fn new(access: Access, identity: Identity, phase: Phase) -> Self {
        Self {
            rights: access.rights,
            identity,
            receipts: (access.acks == Acks::Receipts).then(Receipts::default),
            phase,
            base: Arc::default(),
            answered: false,
            stale_answers: 0,
            claims_more: false,
            updated: false,
            refused: false,
            denied: false,
            awaits_others: StateVector::default(),
            presence_seen: false,
            gap: None,
            lost_replies: false,
            presence_version: 0,
            owed: Owed::default(),
            asked: None,
            is_to_be_asked: false,
            sent_stored: None,
            asked_presence: false,
            probes: VecDeque::new(),
            held: None,
            saved: 0,
            reply_by_ms: None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// True when all it sent is part of the replica.
    fn is_settled(&self) -> bool {
        let arrived = self.answered || (self.updated && !self.claims_more);
        arrived && !self.refused && self.gap.is_none()
    }

    /// An answer to a step 1 has come.
    pub(super) fn take_answer(&mut self, step2: &Bytes) -> Answer {
        let is_stale = self.stale_answers > 0;
        if is_stale {
            self.stale_answers -= 1;
        } else {
            self.answered = true;
            if let Some(open) = &mut self.gap {
                open.answered = true;
            }
        }
        let receipts = self.receipts.as_mut();
        Answer {
            is_stale,
            is_counted: receipts.is_some_and(|receipts| receipts.take_answer(step2)),
        }
    }

    /// Takes a probe; `version` is the newest version that covers what the peer sent before.
    pub(super) fn probe(&mut self, probe: u64, version: u64, reply_by_ms: u64) {
        self.reply_by_ms.get_or_insert(reply_by_ms);
        if !self.is_settled() {
            self.held = self.held.max(Some(probe));
            return;
        }
        if self.probes.len() >= PROBES_MAX {
            self.probes.pop_back();
        }
        self.probes.push_back(Probe { version, probe });
    }

    /// Ties a held probe, and receipts that were held, to a version once everything the peer sent is
    /// part of the replica.
    pub(super) fn settle(&mut self, version: u64) {
        let has_arrived = self.answered || !self.claims_more;
        if has_arrived
            && self.gap.is_none()
            && let Some(receipts) = &mut self.receipts
        {
            receipts.settle(version);
        }
        if self.is_settled()
            && let Some(probe) = self.held.take()
        {
            self.probes.push_back(Probe { version, probe });
        }
    }

    /// Whether acks of this session depend on commits, time, or what it has yet to bring.
    pub(super) fn awaits_ack(&self) -> bool {
        !self.probes.is_empty()
            || self.held.is_some()
            || self.reply_by_ms.is_some()
            || self.receipts.as_ref().is_some_and(Receipts::is_owing)
    }

    /// When an answer is due although nothing was committed.
    pub(super) fn reply_by_ms(&self) -> Option<u64> {
        self.reply_by_ms
    }

    /// The ack to send now, if any: after a commit, or because the peer waited long enough.
    pub(super) fn due_ack(&mut self, now_ms: u64, durable_version: u64) -> Option<u64> {
        let mut advanced = false;
        while let Some(first) = self.probes.front()
            && first.version <= durable_version
        {
            advanced = true;
            self.saved = self.saved.max(first.probe);
            self.probes.pop_front();
        }
        let overdue = self.reply_by_ms.is_some_and(|by_ms| by_ms <= now_ms);
        if !advanced && !overdue {
            return None;
        }
        self.reply_by_ms = None;
        Some(self.saved)
    }

    /// The last ack, for a peer whose queue overflowed and may have lost it.
    pub(super) fn last_ack(&self) -> Option<u64> {
        (self.saved > 0).then_some(self.saved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBING: Access = Access {
        rights: Rights::Write,
        acks: Acks::Probes,
    };

    fn settled() -> Session {
        let mut session = Session::new(PROBING, None, Phase::Live);
        session.answered = true;
        session
    }

    #[test]
    fn a_probe_is_answered_after_the_commit_that_covers_it() {
        let mut session = settled();
        session.probe(1, 10, 1_000);
        session.probe(2, 11, 1_000);
        assert_eq!(session.due_ack(0, 9), None);
        assert_eq!(session.due_ack(0, 10), Some(1));
        assert_eq!(session.due_ack(2_000, 10), None, "one answer a wait");
        assert_eq!(session.due_ack(0, 11), Some(2));
    }

    #[test]
    fn an_overdue_probe_is_answered_with_what_is_durable() {
        let mut session = settled();
        session.probe(1, 10, 1_000);
        assert_eq!(session.due_ack(999, 9), None);
        assert_eq!(session.due_ack(1_000, 9), Some(0));
        assert_eq!(session.due_ack(1_000, 10), Some(1));
    }

    #[test]
    fn nothing_counts_as_saved_before_offline_edits_arrived() {
        let mut session = Session::new(PROBING, None, Phase::Live);
        session.probe(7, 3, 1_000);
        assert_eq!(session.due_ack(1_000, 3), Some(0));
        session.answered = true;
        session.settle(5);
        assert_eq!(session.due_ack(1_000, 4), None);
        assert_eq!(session.due_ack(1_000, 5), Some(7));
    }

    #[test]
    fn a_peer_that_only_sends_updates_is_acknowledged_unless_it_claims_more() {
        let mut session = Session::new(PROBING, None, Phase::Live);
        session.updated = true;
        session.probe(1, 3, 1_000);
        assert_eq!(session.due_ack(0, 3), Some(1));
        session.claims_more = true;
        session.probe(2, 3, 1_000);
        assert_eq!(session.due_ack(0, 3), None);
    }

    #[test]
    fn nothing_counts_as_saved_after_a_refusal() {
        let mut session = settled();
        session.refused = true;
        session.probe(7, 3, 1_000);
        session.settle(3);
        assert_eq!(session.due_ack(1_000, 99), Some(0));
    }

    #[test]
    fn probes_are_bounded_and_the_last_wins() {
        let mut session = settled();
        for probe in 1..=1_000 {
            session.probe(probe, probe, 1_000);
        }
        assert!(session.probes.len() <= PROBES_MAX);
        assert_eq!(session.due_ack(0, 1_000), Some(1_000));
    }
}
