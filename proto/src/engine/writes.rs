//! Updates: admission, refusals, gaps, and what becomes of all that a turn brought.

use bytes::Bytes;

use super::backlog::Made;
use super::close::CloseReason;
use super::owners::NotAdmitted;
use super::receipts::give_up_receipts;
use super::replica::{Replica, Staged};
use super::session::{Answer, OpenGap};
use super::types::{Claim, Effect, HELD, Observation, Rights, SessionId, Suspect, Writes};
use crate::admission::{self, Admission, Admitted, Advance, Gap, Limits, Refusal, StateVector};
use crate::wire::Outbound;

/// How long a peer with an open gap is left alone between two questions. Its answer to the first
/// usually fills the gap; while it does not, each further one costs a whole step 2.
const GAP_PATIENCE_MS: u64 = 1_000;

/// What a peer reads when it has no right to write.
const MAY_NOT_WRITE: &str = "You may read this document and not change it. Your latest changes are \
    not saved.";

/// What a peer reads when the document is as large as it may get.
const DOCUMENT_FULL: &str = "This document has reached its size limit and is read-only. \
    Your latest changes are not saved; copy what you need, or ask the operator to raise \
    document_bytes_max.";

impl Replica {
    /// The version that everything handled so far will have.
    pub fn staged_version(&self) -> u64 {
        self.version + self.staged_own
    }

    /// Applies what was staged; false when the replica died of it.
    pub(super) fn apply_staged(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.staged.is_empty() {
            return true;
        }
        let staged = std::mem::take(&mut self.staged);
        (self.staged_bytes, self.staged_own) = (0, 0);
        let mut origins = Vec::with_capacity(staged.len());
        let mut parts = Vec::with_capacity(staged.len());
        for Staged {
            author,
            admitted,
            claims,
        } in staged
        {
            origins.push((author, claims));
            parts.push(admitted);
        }
        let Ok(merged) = self.state.apply(&parts) else {
            let suspects = origins
                .into_iter()
                .zip(parts)
                .filter_map(|((author, _), part)| {
                    Some(Suspect {
                        session: author?,
                        update: part.update,
                        advances: part.advances,
                    })
                });
            return self.die(suspects.collect(), effects);
        };
        effects.push(Effect::Observed(Observation::Applied {
            updates: parts.len(),
        }));
        let advances = parts
            .iter()
            .flat_map(|part| part.advances.iter().copied())
            .collect();
        let only = self.append(origins, &parts, merged.as_ref(), effects);
        if let Some(update) = merged {
            self.broadcast(only, Outbound::Update { update }, advances, effects);
        }
        true
    }

    /// One append for what a session sent without another one in between: sooner or later of two
    /// sessions is kept, and each append has one author. What another node has committed is not
    /// stored again. Returns the author if there is only one.
    fn append(
        &mut self,
        mut origins: Vec<Origin>,
        parts: &[Admitted],
        merged: Option<&Bytes>,
        effects: &mut Vec<Effect>,
    ) -> Option<SessionId> {
        let mut only = None;
        let mut rest = parts;
        let count = origins.len();
        for run in origins.chunk_by_mut(|one, next| one.0 == next.0) {
            let (group, behind) = rest.split_at(run.len().min(rest.len()));
            rest = behind;
            let Some(session) = run.first().and_then(|(author, _)| *author) else {
                continue;
            };
            only = (run.len() == count).then_some(session);
            let update = match (only, merged) {
                (Some(_), Some(merged)) => merged.clone(),
                _ => admission::merge(group),
            };
            let claims = run.iter_mut().flat_map(|(_, claims)| claims.drain(..));
            self.version += group.len() as u64;
            effects.push(Effect::Append {
                version: self.version,
                session,
                update,
                claims: claims.collect(),
            });
        }
        only
    }

    pub(super) fn die(&mut self, suspects: Vec<Suspect>, effects: &mut Vec<Effect>) -> bool {
        self.dead = true;
        effects.push(Effect::Poisoned { suspects });
        false
    }

    /// Takes an update in, or says why not; true when all that is new in it is part of the document, or
    /// will be once a gap is filled. A session that is answered by receipts is owed one for what it made
    /// since it began to count.
    pub(super) fn receive_update(
        &mut self,
        now_ms: u64,
        session: SessionId,
        update: &Bytes,
        made: Made,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let is_taken = self.take_update(now_ms, session, update, effects);
        let version = self.staged_version();
        let Some(peer) = self.sessions.get_mut(&session) else {
            return is_taken;
        };
        let is_complete = peer.gap.is_none();
        let Some(receipts) = &mut peer.receipts else {
            return is_taken;
        };
        match made {
            Made::Before => {}
            Made::Unknown => receipts.set_aside(is_taken),
            Made::Since if is_taken => receipts.accept(is_complete.then_some(version), 1),
            Made::Since => {
                let given_up = receipts.refuse(1);
                give_up_receipts(session, given_up, effects);
            }
        }
        self.probing.insert(session);
        is_taken
    }

    /// What the session sent so far did not wait for its connection.
    pub(super) fn receive_pong(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let version = self.staged_version();
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        let is_complete = peer.gap.is_none();
        if let Some(receipts) = &mut peer.receipts {
            let given_up = receipts.count_doubtful(is_complete.then_some(version));
            give_up_receipts(session, given_up, effects);
            self.probing.insert(session);
        }
    }

    /// Takes in what answers a step 1. What waits for it is refused when it is.
    pub(super) fn receive_answer(
        &mut self,
        now_ms: u64,
        session: SessionId,
        update: &Bytes,
        answer: Answer,
        effects: &mut Vec<Effect>,
    ) {
        let made = match answer.is_counted {
            true => Made::Since,
            false => Made::Before,
        };
        let is_taken = self.receive_update(now_ms, session, update, made, effects);
        let peer = self.sessions.get_mut(&session);
        let Some(receipts) = peer.and_then(|peer| peer.receipts.as_mut()) else {
            return;
        };
        if !is_taken {
            receipts.refuse_missing();
        } else if answer.is_stale && answer.is_counted {
            receipts.doubt();
        }
    }

    /// Stages what an update brings, or says why not.
    fn take_update(
        &mut self,
        now_ms: u64,
        session: SessionId,
        update: &Bytes,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let may_write = self.sessions.get(&session).map(|peer| peer.rights) >= Some(Rights::Write);
        if !may_write || self.writes != Writes::Open {
            return self.receive_unwelcome(now_ms, session, update, may_write, effects);
        }
        if self.is_banned(update) {
            self.refuse(now_ms, session, Refusal::TornNeighbours, effects);
            return false;
        }
        match self.may_grow(update) {
            Ok(true) => {}
            Ok(false) => {
                self.deny(session, DOCUMENT_FULL.to_owned(), effects);
                return false;
            }
            Err(WriteError::Refused(refusal)) => {
                self.refuse(now_ms, session, refusal, effects);
                return false;
            }
            Err(WriteError::Failed) => {
                self.die(Vec::new(), effects);
                return false;
            }
        }
        match self.admit_from(session, update) {
            Ok(Admission { admitted, gap }) => {
                match admitted {
                    Some(admitted) => {
                        let claims = self.claim(session, &admitted.advances);
                        self.stage(session, admitted, claims);
                    }
                    None => effects.push(Effect::Observed(Observation::Duplicate)),
                }
                match gap {
                    Some(gap) => self.open_gap(session, gap, effects),
                    None => self.settle(session),
                }
                true
            }
            Err(NotAdmitted::NotYours(others)) => {
                self.deny_in_others_name(session, &others, effects);
                false
            }
            Err(NotAdmitted::Refused(refusal)) => {
                self.refuse(now_ms, session, refusal, effects);
                false
            }
        }
    }

    /// Has an update applied and stored at the end of the turn.
    fn stage(&mut self, author: SessionId, admitted: Admitted, claims: Vec<Claim>) {
        self.staged_bytes += admitted.update.len();
        self.staged_own += 1;
        self.staged.push(Staged {
            author: Some(author),
            admitted,
            claims,
        });
    }

    /// Stages what another node has committed. It builds on what came before it in the log: if that
    /// is not here, the replica is not what the log says.
    pub(super) fn receive_foreign(&mut self, update: &Bytes, effects: &mut Vec<Effect>) {
        match self.state.admit_stored(update) {
            Some(Some(admitted)) => {
                self.staged_bytes += admitted.update.len();
                self.staged.push(Staged {
                    author: None,
                    admitted,
                    claims: Vec::new(),
                });
            }
            Some(None) => effects.push(Effect::Observed(Observation::Duplicate)),
            None => {
                self.dead = true;
                effects.push(Effect::Diverged);
            }
        }
    }

    /// Stages what a former replica held beyond the log.
    pub(super) fn receive_held(
        &mut self,
        update: &Bytes,
        owners: Vec<Claim>,
        effects: &mut Vec<Effect>,
    ) {
        // It was taken in update by update.
        let limits = Limits {
            update_bytes_max: usize::MAX,
            ..self.limits
        };
        match self.state.admit(update, &limits) {
            Ok(Admission { admitted, .. }) => {
                if let Some(admitted) = admitted {
                    let claims = self.claim_held(owners);
                    self.stage(HELD, admitted, claims);
                }
            }
            Err(refusal) => {
                effects.push(Effect::Observed(Observation::Refused(refusal.reason())));
            }
        }
    }

    /// An update while nothing is taken in, or from a peer that may not write. What brings nothing
    /// new is no offence: every peer answers our step 1.
    fn receive_unwelcome(
        &mut self,
        now_ms: u64,
        session: SessionId,
        update: &Bytes,
        may_write: bool,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let admission = match self.state.preview(update, &self.limits) {
            Ok(admission) => admission,
            Err(refusal) => {
                self.refuse(now_ms, session, refusal, effects);
                return false;
            }
        };
        let is_taken = admission.admitted.is_none() && admission.gap.is_none();
        match self.writes.clone() {
            _ if is_taken => {
                effects.push(Effect::Observed(Observation::Duplicate));
                // What was refused is neither here nor on its way.
                let peer = self.sessions.get(&session);
                if peer.is_some_and(|peer| !peer.refused) {
                    self.settle(session);
                }
            }
            _ if !may_write => self.deny(session, MAY_NOT_WRITE.to_owned(), effects),
            Writes::ReadOnly(reason) => self.deny(session, reason, effects),
            Writes::StoreFull => self.close(now_ms, session, CloseReason::StoreFull, effects),
            Writes::Open => {}
        }
        is_taken
    }

    /// Whether an update brings structs that broke the document before.
    fn is_banned(&mut self, update: &Bytes) -> bool {
        if self.banned.is_empty() {
            return false;
        }
        let Ok(Admission {
            admitted: Some(admitted),
            ..
        }) = self.state.preview(update, &self.limits)
        else {
            return false;
        };
        let hits = |brought: &Advance, banned: &Advance| {
            brought.client == banned.client && brought.from < banned.to && banned.from < brought.to
        };
        admitted
            .advances
            .iter()
            .any(|brought| self.banned.iter().any(|banned| hits(brought, banned)))
    }

    /// Whether the document may take this update: it has room, or the update only deletes.
    fn may_grow(&mut self, update: &Bytes) -> Result<bool, WriteError> {
        let staged = self.staged_bytes;
        let bytes_max = self.options.document_bytes_max;
        if self.state.size_bytes() + staged + update.len() <= bytes_max {
            return Ok(true);
        }
        let admission = self
            .state
            .preview(update, &self.limits)
            .map_err(WriteError::Refused)?;
        let Some(admitted) = admission.admitted.filter(|part| !part.advances.is_empty()) else {
            return Ok(true);
        };
        if !self.staged.is_empty() {
            // What was staged counts by its bytes: a close bound that needs no measuring.
            return Ok(self.state.size_bytes() + staged + admitted.update.len() <= bytes_max);
        }
        self.state
            .has_room(admitted.update.len(), bytes_max)
            .map_err(|_| WriteError::Failed)
    }

    /// Tells a session once that its changes are not taken in; it stays and can read.
    pub(super) fn deny(&mut self, session: SessionId, reason: String, effects: &mut Vec<Effect>) {
        effects.push(Effect::Observed(Observation::Denied));
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        peer.refused = true;
        if !std::mem::replace(&mut peer.denied, true) {
            effects.push(Effect::Send {
                to: session,
                message: Outbound::Denied { reason },
            });
        }
    }

    /// Ties a probe that was held back to what the peer has brought by now.
    fn settle(&mut self, session: SessionId) {
        let version = self.staged_version();
        if let Some(peer) = self.sessions.get_mut(&session) {
            peer.settle(version);
        }
    }

    /// Notes what a peer has to send again, and asks for it.
    fn open_gap(&mut self, session: SessionId, gap: Gap, effects: &mut Vec<Effect>) {
        effects.push(Effect::Observed(Observation::Gap));
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        let open = peer.gap.get_or_insert_with(|| OpenGap {
            wants: StateVector::default(),
            answered: false,
            asked_revision: None,
            ask_again_ms: 0,
        });
        open.answered = false;
        gap.wants
            .into_iter()
            .for_each(|(client, clock)| open.wants.raise_to(client, clock));
        self.gapped.insert(session);
    }

    /// Closes gaps that were filled, and asks again where the state vector has moved since.
    pub(super) fn reask_gaps(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.gapped.is_empty() {
            return;
        }
        let version = self.staged_version();
        for session in std::mem::take(&mut self.gapped) {
            let Some(peer) = self.sessions.get_mut(&session) else {
                continue;
            };
            let Some(open) = &mut peer.gap else {
                continue;
            };
            if open.answered && self.state.known.vector.covers(&open.wants) {
                peer.gap = None;
                peer.settle(version);
                continue;
            }
            let moved = open.asked_revision != Some(self.state.revision);
            let asks = moved && now_ms >= open.ask_again_ms;
            if asks {
                open.asked_revision = Some(self.state.revision);
                open.ask_again_ms = now_ms + GAP_PATIENCE_MS;
            }
            self.gapped.insert(session);
            if asks {
                self.ask_step1(session, effects);
            }
        }
    }
}

/// Who sent an update, if it is to be stored here, and which client ids got an owner by it.
type Origin = (Option<SessionId>, Vec<Claim>);

/// Why an update cannot be weighed.
enum WriteError {
    Refused(Refusal),
    Failed,
}
