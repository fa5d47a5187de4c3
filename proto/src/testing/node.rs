//! The server: one document's cell, its actor and its turns, as the shell runs them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::frames::frame;
use super::link::Push;
use super::violation::Violation;
use super::world::{Event, World};
use crate::admission::StateVector;
use crate::engine::{
    Access, Acks, Arrears, CloseReason, Effect, Identity, Input, Missed, Observation, Replica,
    Rights, SessionId, Writes,
};
use crate::wire::{Message, Outbound};

/// Between two looks whether a document can be loaded.
const LOAD_RETRY_MS: u64 = 20;

/// Every client of the simulation may write, and asks what is saved.
const ACCESS: Access = Access {
    rights: Rights::Write,
    acks: Acks::Probes,
};

/// What waits for the document's actor.
#[derive(Debug)]
pub(super) enum Item {
    Attach(SessionId),
    Receive(SessionId, Message),
    Drained(SessionId),
    Detach(SessionId, bool),
}

/// What becomes of the document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The process is down.
    Down,
    /// Not in memory.
    Absent,
    /// Being read; afterwards it takes over the sessions of a former actor, or has none.
    Loading {
        is_replacement: bool,
    },
    Ready,
    /// Waits for the last commits; it had come so far.
    Deleting(StateVector),
}

/// One attached session.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) link: usize,
    since_ms: u64,
    /// How often it was asked for what it has, and how often its queue overflowed.
    asked: usize,
    overflowed: usize,
}

/// The server's memory; all of it is gone after a crash.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) phase: Phase,
    pub(super) replica: Option<Replica>,
    pub(super) generation: u64,
    pub(super) slots: BTreeMap<SessionId, Slot>,
    /// The sessions that the current actor knows.
    known: BTreeSet<SessionId>,
    pub(super) inbox: VecDeque<Item>,
    scheduled: bool,
    armed_ms: Option<u64>,
    pub(super) committed_version: u64,
    has_room: bool,
    /// The queue in front of the store was full at some time.
    pub(super) was_full: bool,
    /// The actor dies in the middle of its next turn.
    pub(super) dies: bool,
    effects: Vec<Effect>,
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Absent,
            replica: None,
            generation: 1,
            slots: BTreeMap::new(),
            known: BTreeSet::new(),
            inbox: VecDeque::new(),
            scheduled: false,
            armed_ms: None,
            committed_version: 0,
            has_room: true,
            was_full: false,
            dies: false,
            effects: Vec::new(),
        }
    }

    pub(super) fn accepts(&self) -> bool {
        !matches!(self.phase, Phase::Down | Phase::Deleting(_))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub(super) fn is_busy(&self) -> bool {
        let waits = !matches!(self.phase, Phase::Absent | Phase::Ready);
        waits || !self.inbox.is_empty()
    }

    /// Everything of the former actor is gone; the next one starts with nothing.
    pub(super) fn next_generation(&mut self) {
        self.replica = None;
        self.generation += 1;
        self.known.clear();
        self.scheduled = false;
        self.armed_ms = None;
        self.committed_version = 0;
        self.has_room = true;
        self.dies = false;
        self.effects.clear();
    }
}

impl World {
    pub(super) fn attach(&mut self, link: usize) {
        let session = self.links[link].session;
        let slot = Slot {
            link,
            since_ms: self.now_ms(),
            asked: 0,
            overflowed: 0,
        };
        self.links[link].epoch = self.store.epoch;
        self.node.slots.insert(session, slot);
        if self.node.phase == Phase::Absent {
            self.begin_load(false);
        }
        self.give(Item::Attach(session));
    }

    pub(super) fn release_session(&mut self, link: usize, clean: bool) {
        let session = self.links[link].session;
        if self.node.slots.remove(&session).is_some() {
            self.give(Item::Detach(session, clean));
        }
    }

    fn begin_load(&mut self, is_replacement: bool) {
        self.node.phase = Phase::Loading { is_replacement };
        let wait_ms = self.rng.between(0, 40);
        self.queue.after(wait_ms, Event::Load);
    }

    /// Puts something into the document's inbox and wakes its actor.
    pub(super) fn give(&mut self, item: Item) {
        self.node.inbox.push_back(item);
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if self.node.is_ready() && !std::mem::replace(&mut self.node.scheduled, true) {
            let wait_ms = self.rng.between(0, self.plan.turn_wait_ms);
            self.queue.after(wait_ms, Event::Turn);
        }
    }

    /// Loads the document once everything the store has taken of it is committed.
    pub(super) fn load(&mut self) -> Result<(), Violation> {
        let Phase::Loading { is_replacement } = self.node.phase else {
            return Ok(());
        };
        if !self.store.is_idle() || self.now_ms() < self.store.failing_until_ms {
            self.queue.after(LOAD_RETRY_MS, Event::Load);
            return Ok(());
        }
        let options = self.plan.options.clone();
        let mut replica = Replica::load(options, &self.store.stored())?;
        if !is_replacement {
            let sessions = self.serve_newcomers();
            let sent = Input::SentStored { sessions };
            replica.handle(self.now_ms(), sent, &mut self.node.effects);
        }
        self.trace(|| format!("loaded, replacement: {is_replacement}"));
        self.count("loads");
        self.node.phase = Phase::Ready;
        if is_replacement {
            let sessions: Vec<_> = self.node.slots.keys().copied().collect();
            for session in sessions {
                self.node.known.insert(session);
                let identity = self.identity(session);
                let arrears = Arrears::default();
                replica.adopt(session, ACCESS, identity, &arrears, &mut self.node.effects);
            }
        }
        self.node.replica = Some(replica);
        self.turn()
    }

    /// Sends what is stored to sessions that wait and have nothing, as a server may that has not
    /// built the replica yet.
    fn serve_newcomers(&mut self) -> Vec<SessionId> {
        let stored = self.store.stored();
        let mut updates: Vec<_> = stored.snapshot.into_iter().chain(stored.appends).collect();
        let Some(last) = updates.pop() else {
            return Vec::new();
        };
        let mut arriving = BTreeSet::new();
        let mut newcomers = Vec::new();
        for item in &self.node.inbox {
            match item {
                Item::Attach(session) => {
                    arriving.insert(*session);
                }
                Item::Receive(session, Message::SyncStep1 { vector })
                    if arriving.remove(session) && vector[..] == [0] =>
                {
                    newcomers.push(*session);
                }
                _ => {}
            }
        }
        let messages = updates
            .into_iter()
            .map(|update| Outbound::Update { update });
        let messages: Vec<_> = messages
            .chain([Outbound::SyncStep2 { update: last }])
            .collect();
        newcomers.retain(|session| {
            let link = self.node.slots.get(session).map(|slot| slot.link);
            // The first that does not fit is the last: what came before needs nothing behind it.
            link.is_some_and(|link| {
                let mut pushes = messages.iter().map(|it| self.links[link].push(frame(it)));
                pushes.all(|push| push == Push::Queued)
            })
        });
        for _ in &newcomers {
            self.count("served early");
        }
        newcomers
    }

    /// One turn: takes all that waits, lets the engine handle it, performs the effects.
    pub(super) fn turn(&mut self) -> Result<(), Violation> {
        let Some(mut replica) = self.node.replica.take() else {
            return Ok(());
        };
        self.node.scheduled = false;
        let now_ms = self.now_ms();
        if self.node.armed_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.node.armed_ms = None;
        }
        self.look_at_store(&mut replica);
        let items = std::mem::take(&mut self.node.inbox);
        let dies_at = std::mem::take(&mut self.node.dies).then(|| self.rng.index(items.len() + 1));
        for (number, item) in items.into_iter().enumerate() {
            if dies_at == Some(number) {
                self.actor_dies();
                return Ok(());
            }
            if let Some(input) = self.input(item) {
                replica.handle(now_ms, input, &mut self.node.effects);
            }
        }
        if dies_at.is_some() {
            self.actor_dies();
            return Ok(());
        }
        self.finish(&mut replica)?;
        self.arm(&replica);
        self.node.replica = Some(replica);
        self.evict_if_idle();
        Ok(())
    }

    fn look_at_store(&mut self, replica: &mut Replica) {
        let now_ms = self.now_ms();
        let version = self.node.committed_version;
        if version > replica.versions().1 {
            let input = Input::Committed { version };
            replica.handle(now_ms, input, &mut self.node.effects);
        }
        let has_room = self.store.pending_bytes() < self.plan.store_queue_bytes_max;
        if has_room != self.node.has_room {
            self.node.has_room = has_room;
            self.node.was_full |= !has_room;
            let writes = if has_room {
                Writes::Open
            } else {
                Writes::StoreFull
            };
            let input = Input::SetWrites { writes };
            replica.handle(now_ms, input, &mut self.node.effects);
        }
    }

    /// Whose session it is: tabs of one browser are one person.
    fn identity(&self, session: SessionId) -> Identity {
        let link = self.node.slots.get(&session)?.link;
        let client = &self.clients[self.links[link].client];
        Some(match client.group {
            Some(group) => format!("browser {group}").into(),
            None => format!("client {}", client.name).into(),
        })
    }

    fn input(&mut self, item: Item) -> Option<Input> {
        Some(match item {
            Item::Attach(session) => {
                // Adopted sessions arrived before this actor did; gone ones need nothing.
                let is_here = self.node.slots.contains_key(&session);
                if !is_here || !self.node.known.insert(session) {
                    return None;
                }
                Input::Attach {
                    session,
                    access: ACCESS,
                    identity: self.identity(session),
                }
            }
            Item::Receive(session, message) => Input::Receive { session, message },
            Item::Drained(session) => Input::Drained { session },
            Item::Detach(session, clean) => {
                self.node.known.remove(&session);
                Input::Detach { session, clean }
            }
        })
    }

    fn finish(&mut self, replica: &mut Replica) -> Result<(), Violation> {
        let now_ms = self.now_ms();
        replica.flush(now_ms, &mut self.node.effects);
        for (session, missed) in self.perform()? {
            self.count("overflows");
            self.trace(|| format!("{session:?} missed {missed:?}"));
            if let Some(slot) = self.node.slots.get_mut(&session) {
                slot.overflowed += 1;
            }
            let input = Input::Overflow { session, missed };
            replica.handle(now_ms, input, &mut self.node.effects);
        }
        self.perform()?;
        let links: Vec<_> = self.node.slots.values().map(|slot| slot.link).collect();
        for link in links {
            self.write(link);
        }
        Ok(())
    }

    /// Performs the effects in order; returns the sessions whose queues were full.
    fn perform(&mut self) -> Result<BTreeMap<SessionId, Missed>, Violation> {
        let mut overflows = BTreeMap::new();
        for effect in std::mem::take(&mut self.node.effects) {
            match effect {
                Effect::Send { to, message } => {
                    self.note_question(to, &message)?;
                    self.push(to, &message, Missed::of(&message), &mut overflows);
                }
                Effect::Broadcast {
                    relay,
                    to,
                    except,
                    message,
                } => {
                    for session in to.iter().filter(|id| Some(**id) != except) {
                        self.push(*session, &message, Missed::Relay(relay), &mut overflows);
                    }
                }
                Effect::Append {
                    version,
                    update,
                    claims,
                    ..
                } => {
                    let place = (self.node.generation, version);
                    self.store.submit(place, update, claims);
                    self.begin_commit(0);
                }
                Effect::NotifyDrained { session } => {
                    if let Some(slot) = self.node.slots.get(&session) {
                        self.links[slot.link].want_drained();
                    }
                }
                Effect::Close { session, reason } => self.end_session(session, reason),
                Effect::TellNodes { .. }
                | Effect::TellStateless { .. }
                | Effect::Receipts { .. }
                | Effect::Restored { .. } => {}
                Effect::Poisoned { .. } | Effect::Diverged => return Err(Violation::Poisoned),
                Effect::Observed(observation) => self.observe(observation),
            }
        }
        Ok(overflows)
    }

    fn push(
        &mut self,
        to: SessionId,
        message: &Outbound,
        missed: Missed,
        overflows: &mut BTreeMap<SessionId, Missed>,
    ) {
        let slot = self.node.slots.get(&to);
        let Some(slot) = slot.filter(|_| self.node.known.contains(&to)) else {
            return;
        };
        if self.links[slot.link].push(frame(message)) == Push::Full {
            overflows.entry(to).or_insert(missed);
        }
    }

    /// Step 1 is asked at the start, after a resync, at once for a gap and then once a second.
    fn note_question(&mut self, to: SessionId, message: &Outbound) -> Result<(), Violation> {
        let now_ms = self.now_ms();
        let gaps = self.tally.get("gaps").copied().unwrap_or(0) as usize;
        let Some(slot) = self.node.slots.get_mut(&to) else {
            return Ok(());
        };
        if matches!(message, Outbound::SyncStep1 { .. }) {
            slot.asked += 1;
            let seconds = ((now_ms - slot.since_ms) / 1_000) as usize;
            let count_max = 4 + seconds + 2 * slot.overflowed + gaps;
            if slot.asked > count_max {
                return Err(Violation::Runaway {
                    what: "questions to one session",
                    count: slot.asked,
                    count_max,
                });
            }
        }
        Ok(())
    }

    fn end_session(&mut self, session: SessionId, reason: CloseReason) {
        self.node.known.remove(&session);
        if let Some(slot) = self.node.slots.get(&session) {
            self.links[slot.link].close(reason);
        }
    }

    fn observe(&mut self, observation: Observation) {
        if let Observation::Refused(reason) = observation {
            self.trace(|| format!("refused: {reason}"));
        }
        let label = match observation {
            Observation::Applied { updates: 1 } => "single turns",
            Observation::Applied { .. } => "merged turns",
            Observation::Duplicate => "duplicates",
            Observation::Gap => "gaps",
            Observation::Refused(reason) => reason,
            Observation::Resynced => "resyncs",
            Observation::PresenceEcho => "presence echoes",
            Observation::PresenceHeldBack => "presence held back",
            Observation::Denied => "denials",
            Observation::NotYours { .. } => "denials_in_others_names",
        };
        self.count(label);
    }

    fn arm(&mut self, replica: &Replica) {
        let Some(at_ms) = replica.next_deadline_ms() else {
            return;
        };
        let at_ms = at_ms.max(self.now_ms() + 1);
        if self.node.armed_ms.is_none_or(|armed_ms| at_ms < armed_ms) {
            self.node.armed_ms = Some(at_ms);
            self.queue.at(at_ms, Event::Turn);
        }
    }

    fn evict_if_idle(&mut self) {
        let is_idle = self.node.slots.is_empty() && self.node.inbox.is_empty();
        if is_idle && self.rng.percent(20) {
            self.trace(|| "evicted".to_owned());
            self.node.next_generation();
            self.node.phase = Phase::Absent;
        }
    }

    /// The actor is gone with all effects of its turn and what it had taken from the inbox.
    fn actor_dies(&mut self) {
        self.trace(|| "the actor dies".to_owned());
        self.node.next_generation();
        self.begin_load(true);
    }
}
