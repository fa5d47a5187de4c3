//! The replica of one document: its state, its peers, and the turn that turns inputs into effects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::backlog::Made;
use super::close::CloseReason;
use super::owners::Owners;
use super::presence::{Presence, PresenceOptions};
use super::relay::Gated;
use super::session::{Phase, Session};
use super::state::State;
use super::types::{
    Claim, ClientIds, Effect, Input, LoadError, Observation, Relay, ReplicaOptions, SessionId,
    StoredDocument, Writes,
};
use crate::admission::{Admitted, Advance, GAP_CLIENTS_MAX, Limits, Refusal, StateVector};
use crate::wire::{Message, Outbound};

/// How deep JSON and other values may nest inside one struct; yrs reads them by recursion.
pub const VALUE_NESTING_MAX: usize = 64;

/// How long the answer to a save probe may wait for the commit. y-sweet's client reconnects when
/// 3 s pass without any message.
const PROBE_PATIENCE_MS: u64 = 1_000;

/// An update that was admitted in this turn and is not applied yet.
#[derive(Debug)]
pub(super) struct Staged {
    /// Who sent it; `None` for what another node has committed.
    pub(super) author: Option<SessionId>,
    pub(super) admitted: Admitted,
    /// The client ids that got an owner by it.
    pub(super) claims: Vec<Claim>,
}

/// The in-memory copy of one document, with its peers. A value without a runtime: the caller
/// performs the effects and says what time it is.
#[derive(Debug)]
pub struct Replica {
    pub(super) options: ReplicaOptions,
    pub(super) limits: Limits,
    pub(super) state: State,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    /// Whose client ids are; `None` where they are free.
    pub(super) owners: Option<Owners>,
    pub(super) presence: Presence,
    pub(super) writes: Writes,
    /// Structs that broke this document before.
    pub(super) banned: Vec<Advance>,
    pub(super) staged: Vec<Staged>,
    pub(super) staged_bytes: usize,
    /// How many of them are to be stored here.
    pub(super) staged_own: u64,
    /// Sessions with an open gap.
    pub(super) gapped: BTreeSet<SessionId>,
    /// Sessions whose edits were refused until others bring theirs.
    pub(super) awaiting_others: BTreeSet<SessionId>,
    /// Sessions that wait for an ack.
    pub(super) probing: BTreeSet<SessionId>,
    /// Sessions with a question to answer at the end of the turn.
    pub(super) asking: BTreeSet<SessionId>,
    /// Sessions that are served when their patience ends.
    pub(super) listeners: BTreeSet<SessionId>,
    /// Receivers of broadcasts; rebuilt after a change.
    pub(super) live: Option<Arc<[SessionId]>>,
    /// The version of the newest append.
    pub(super) version: u64,
    pub(super) durable_version: u64,
    pub(super) gated: VecDeque<Gated>,
    /// The sessions for which a state, or a part of one, waits for a commit.
    pub(super) gated_states: BTreeSet<SessionId>,
    /// The number of the next broadcast, and what those of this turn added.
    pub(super) next_relay: u64,
    pub(super) turn_relays: Vec<(u64, Vec<Advance>)>,
    /// The sessions that were sent a state, or a part of one, in this turn.
    pub(super) turn_states: BTreeSet<SessionId>,
    /// Sessions of the first turn that were sent what was loaded, and how far that is.
    pub(super) sent_stored: Option<(Arc<StateVector>, Vec<SessionId>)>,
    /// Set after a failure: nothing is touched any more.
    pub(super) dead: bool,
}

impl Replica {
    /// A replica of a document that was never written.
    pub fn empty(options: ReplicaOptions) -> Self {
        Self::with_state(options, State::empty(None), &[])
    }

    /// A replica from stored bytes; complete or an error, never a part.
    pub fn load(options: ReplicaOptions, stored: &StoredDocument) -> Result<Self, LoadError> {
        let state = State::load(stored)?;
        Ok(Self::with_state(options, state, &stored.owners))
    }

    fn with_state(mut options: ReplicaOptions, state: State, owners: &[Claim]) -> Self {
        if options.client_ids == ClientIds::Bound {
            // Else a crash leaves peers with edits of each other that only their authors may bring,
            // and each of them is refused for those of the other.
            options.relay = Relay::Durable;
        }
        let owners = Owners::new(options.client_ids, owners);
        let limits = Limits {
            update_bytes_max: options.update_bytes_max,
            nesting_max: VALUE_NESTING_MAX,
            gap_clients_max: GAP_CLIENTS_MAX,
        };
        let presence = Presence::new(PresenceOptions {
            timeout_ms: options.presence_timeout_ms,
            grace_ms: options.presence_grace_ms,
            entry_bytes_max: options.presence_entry_bytes_max,
            entries_max: options.presence_entries_max,
            per_second_max: options.presence_per_second_max,
            identity_field: options.presence_identity_field.clone(),
        });
        Self {
            options,
            limits,
            state,
            sessions: BTreeMap::new(),
            owners,
            presence,
            writes: Writes::Open,
            banned: Vec::new(),
            staged: Vec::new(),
            staged_bytes: 0,
            staged_own: 0,
            gapped: BTreeSet::new(),
            awaiting_others: BTreeSet::new(),
            probing: BTreeSet::new(),
            asking: BTreeSet::new(),
            listeners: BTreeSet::new(),
            live: None,
            version: 0,
            durable_version: 0,
            gated: VecDeque::new(),
            gated_states: BTreeSet::new(),
            next_relay: 0,
            turn_relays: Vec::new(),
            turn_states: BTreeSet::new(),
            sent_stored: None,
            dead: false,
        }
    }

    /// Takes in one input. Effects that depend on the document come from [`Self::flush`].
    pub fn handle(&mut self, now_ms: u64, input: Input, effects: &mut Vec<Effect>) {
        if self.dead {
            return;
        }
        match input {
            Input::Attach {
                session,
                access,
                identity,
            } => self.attach(now_ms, session, access, identity, effects),
            Input::SetRights { session, rights } => {
                self.set_rights(now_ms, session, rights, effects);
            }
            Input::Notify { session, notice } => self.notify(session, notice, effects),
            Input::End { session, reason } => {
                if self.sessions.contains_key(&session) {
                    self.close(now_ms, session, reason, effects);
                }
            }
            Input::SentStored { sessions } => {
                self.sent_stored = Some((Arc::new(self.state.known.vector.clone()), sessions));
            }
            Input::Receive { session, message } => self.receive(now_ms, session, message, effects),
            Input::Retry { session, update } => {
                self.receive_update(now_ms, session, &update, Made::Before, effects);
            }
            Input::Detach { session, clean } => self.forget(now_ms, session, clean),
            Input::Drained { session } => {
                if self.sessions.contains_key(&session) {
                    self.asking.insert(session);
                }
            }
            Input::Overflow { session, missed } => self.overflow(session, missed, effects),
            Input::Foreign { update } => self.receive_foreign(&update, effects),
            Input::Held { update, owners } => self.receive_held(&update, owners, effects),
            Input::Owners { owners } => {
                if let Some(known) = &mut self.owners {
                    known.learn(owners);
                }
            }
            Input::MeetNodes => self.presence.meet_nodes(),
            Input::NodePresence { node, number, told } => {
                self.hear_node(now_ms, (node, number), &told, effects);
            }
            Input::NodeStateless { payload } => self.pass_on(None, &payload, effects),
            Input::NodeLost { node } => self.presence.lose_node(now_ms, node),
            Input::Committed { version } => {
                self.durable_version = self.durable_version.max(version);
            }
            Input::SetWrites { writes } => self.set_writes(writes),
        }
    }

    /// Ends the turn: applies what was staged, relays it, answers what was asked and releases what
    /// waited for commits.
    pub fn flush(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.dead {
            return;
        }
        self.turn_relays.clear();
        self.turn_states.clear();
        self.sent_stored = None;
        self.release_gated(effects);
        if !self.apply_staged(effects) {
            return;
        }
        self.tick(now_ms);
        self.relay_presence(now_ms, effects);
        if let Some(told) = self.presence.take_node_message(now_ms) {
            effects.push(Effect::TellNodes { told });
        }
        // Before any other question, in the order in which they are counted.
        self.ask_in_return(effects);
        self.reask_gaps(now_ms, effects);
        self.ask_for_refused(effects);
        if !self.answer_asking(now_ms, effects) {
            return;
        }
        self.answer_probes(now_ms, effects);
    }

    /// When [`Self::flush`] has something to do without an input, in milliseconds.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let listeners = self
            .listeners
            .iter()
            .filter_map(|id| match self.sessions.get(id)?.phase {
                Phase::Behind { patience_ms, .. } => patience_ms,
                Phase::CatchingUp { .. } | Phase::Live => None,
            });
        let probes = self
            .probing
            .iter()
            .filter_map(|id| self.sessions.get(id)?.reply_by_ms());
        let gaps = self.gapped.iter().filter_map(|id| {
            let open = self.sessions.get(id)?.gap.as_ref()?;
            (open.asked_revision != Some(self.state.revision)).then_some(open.ask_again_ms)
        });
        let earliest = listeners
            .chain(probes)
            .chain(gaps)
            .min()
            .unwrap_or(u64::MAX);
        let deadline = earliest.min(self.presence.deadline_ms());
        (deadline != u64::MAX).then_some(deadline)
    }

    /// The whole state as one v1 update; `None` when the document failed.
    pub fn encode_state(&mut self) -> Option<Bytes> {
        self.state.encode_whole().ok()
    }

    /// What the replica has of each client.
    pub fn vector(&self) -> &StateVector {
        &self.state.known.vector
    }

    /// The newest version, and the newest that is durable.
    pub fn versions(&self) -> (u64, u64) {
        (self.version, self.durable_version)
    }

    /// Whether a commit of what is not durable yet would change anything here: somebody waits for an
    /// ack, or frames wait at its gate.
    pub fn awaits_commit(&self) -> bool {
        self.durable_version < self.version && !(self.gated.is_empty() && self.probing.is_empty())
    }

    /// The sessions that the replica serves.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// About how large the encoded state is, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.state.size_bytes()
    }

    /// Drops what is kept only to serve several joiners at once.
    pub fn forget_encodings(&mut self) {
        self.state.forget_encodings();
    }

    /// Refuses these structs from now on: they broke the document before.
    pub fn ban(&mut self, range: Advance) {
        self.banned.push(range);
    }

    /// Sends our own step 1.
    pub(super) fn ask_step1(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let vector = self.state.known.vector.encode();
        let send = Effect::Send {
            to: session,
            message: Outbound::SyncStep1 { vector },
        };
        self.emit(send, Vec::new(), effects);
    }

    fn receive(
        &mut self,
        now_ms: u64,
        session: SessionId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        let newest = self.staged_version();
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        match message {
            Message::SyncStep1 { vector } => match StateVector::decode(&vector) {
                Ok(vector) => self.receive_step1(now_ms, session, vector, effects),
                Err(refusal) => self.refuse(now_ms, session, refusal, effects),
            },
            Message::SyncStep2 { update } => {
                let answer = peer.take_answer(&update);
                self.receive_answer(now_ms, session, &update, answer, effects);
            }
            Message::Update { update } => {
                peer.updated = true;
                let receipts = peer.receipts.as_mut();
                let made = receipts.map_or(Made::Since, |receipts| receipts.judge(&update));
                self.receive_update(now_ms, session, &update, made, effects);
            }
            Message::Presence { entries } => {
                self.receive_presence(now_ms, session, &entries, effects);
            }
            Message::Stateless { payload } => {
                self.receive_stateless(now_ms, session, &payload, effects);
            }
            Message::QueryPresence => {
                peer.asked_presence = true;
                self.asking.insert(session);
            }
            Message::SaveProbe { version } => {
                peer.probe(version, newest, now_ms + PROBE_PATIENCE_MS);
                self.probing.insert(session);
            }
            Message::Leftover { update } => {
                self.receive_update(now_ms, session, &update, Made::Before, effects);
            }
            Message::Pong => self.receive_pong(session, effects),
            Message::QueueSent => {
                if let Some(receipts) = &mut peer.receipts {
                    receipts.note_sent();
                }
            }
        }
    }

    fn receive_step1(
        &mut self,
        now_ms: u64,
        session: SessionId,
        vector: StateVector,
        effects: &mut Vec<Effect>,
    ) {
        let is_old = self.state.tombstone.as_ref().is_some_and(|tombstone| {
            vector
                .iter()
                .any(|(client, clock)| clock > 0 && tombstone.get(client) > 0)
        });
        if is_old {
            return self.close(now_ms, session, CloseReason::Deleted, effects);
        }
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        peer.claims_more |= !vector.is_empty();
        self.asking.insert(session);
        if let Some(receipts) = &mut peer.receipts {
            receipts.start_anew(&vector);
            // However often it asks in a turn, one question is answered, and one is asked in return.
            peer.is_to_be_asked = true;
        }
        peer.asked = Some(vector);
    }

    /// Ends a session because of what it sent.
    pub(super) fn refuse(
        &mut self,
        now_ms: u64,
        session: SessionId,
        refusal: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Observed(Observation::Refused(refusal.reason())));
        let reason = match refusal {
            Refusal::Deleted => CloseReason::Deleted,
            Refusal::TooLarge { .. } => CloseReason::TooLarge,
            Refusal::Malformed(_) | Refusal::CountTooLarge => CloseReason::Malformed,
            _ => CloseReason::Refused,
        };
        self.close(now_ms, session, reason, effects);
    }

    pub(super) fn close(
        &mut self,
        now_ms: u64,
        session: SessionId,
        reason: CloseReason,
        effects: &mut Vec<Effect>,
    ) {
        self.forget(now_ms, session, true);
        effects.push(Effect::Close { session, reason });
    }

    fn forget(&mut self, now_ms: u64, session: SessionId, clean: bool) {
        if self.sessions.remove(&session).is_none() {
            return;
        }
        self.presence.detach(now_ms, session, clean);
        for set in [
            &mut self.gapped,
            &mut self.awaiting_others,
            &mut self.probing,
            &mut self.asking,
            &mut self.listeners,
            &mut self.gated_states,
        ] {
            set.remove(&session);
        }
        self.live = None;
    }

    fn set_writes(&mut self, writes: Writes) {
        if self.writes != writes {
            self.writes = writes;
            for peer in self.sessions.values_mut() {
                peer.denied = false;
            }
        }
    }
}
