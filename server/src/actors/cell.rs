//! What outlives a document's actor: its inbox, its sessions, and who works on it right now.
//!
//! An actor may panic or get stuck and be replaced; the cell stays, so that sessions keep their
//! sockets and their queue, and the next actor finds them here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use actix::{Addr, ArbiterHandle};
use driftless_proto::admission::Advance;
use driftless_proto::engine::{CloseReason, Rights, SessionId};
use driftless_proto::name::DocumentName;
use tokio::sync::oneshot;

use super::document::{DocumentActor, Stop, Wake};
use super::held::Held;
use super::inbox::{Inbox, Item};
use super::lock;
use super::place::Heard;
use super::placement::Placement;
use super::query::Query;
use super::slot::Slot;
use super::wakes::wake_soon;
use crate::bus::{Event, Listener};
use crate::store::LogEnd;

/// Ranges of structs remembered as harmful; an attacker needs a new client id for each.
const BANNED_MAX: usize = 64;

/// Departures that may wait in front of a document besides those of all the sessions it may have: of
/// sessions that came and went while it was loaded, and sent something. Each keeps what its session was,
/// about a kilobyte. When so many wait nobody may join until the document has heard of them.
const DEPARTURES_MAX: usize = 1_024;

/// Why the store refused an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its epoch has ended, or the document is frozen: loaded again, that shows.
    Outdated,
    /// It cannot be stored, and loading again changes nothing about that.
    Failed,
    /// The log was taken back to an earlier state.
    LogLost,
}

/// The generations whose appends were refused, by why.
#[derive(Debug, Default)]
struct Refusals {
    outdated: AtomicU64,
    failed: AtomicU64,
    log_lost: AtomicU64,
}

/// The lasting part of one document in memory.
#[derive(Debug)]
pub(super) struct DocumentCell {
    pub(super) name: DocumentName,
    placement: Arc<Placement>,
    thread: usize,
    pub(super) inbox: Inbox,
    sessions: Mutex<Table>,
    actor: Mutex<Option<Addr<DocumentActor>>>,
    /// A wake-up is on its way.
    scheduled: AtomicBool,
    /// Counts actors of this cell; one whose number is not current does nothing any more.
    generation: AtomicU64,
    /// When the current turn began, in milliseconds of the server's clock; 0 between turns.
    pub(super) busy_since_ms: AtomicU64,
    /// When anything last happened here.
    pub(super) touched_ms: AtomicU64,
    /// About how much memory the replica takes.
    pub(super) size_bytes: AtomicU64,
    /// A commit is news for the actor; otherwise it hears of it in its next turn.
    awaits_commit: AtomicBool,
    refusals: Refusals,
    /// Up to where the log is in the replica.
    applied: AtomicU64,
    /// Where the log ended when the store was asked last.
    polled: Mutex<Option<LogEnd>>,
    /// What a former replica held whose log was taken back.
    held: Mutex<Option<Arc<Held>>>,
    /// Replacements in a row; cleared once an actor worked for a while.
    pub(super) failures: AtomicU64,
    /// Loads that failed in a row.
    pub(super) failed_loads: AtomicU64,
    /// When the current actor was put in charge; 0 without one.
    pub(super) actor_since_ms: AtomicU64,
    /// Structs that broke the document before; refused before they reach it again.
    banned: Mutex<Vec<Advance>>,
    heard: Mutex<Heard>,
    /// Other nodes said something since the last turn.
    has_heard: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<SessionId, Arc<Slot>>,
    /// The cell left memory; who finds it so has to look the document up again.
    closed: bool,
}

/// What became of a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Here,
    /// There are as many as may be.
    Full,
    /// So many came and went that the document has to hear of them first.
    Busy,
    /// The cell has left memory.
    Gone,
}

impl DocumentCell {
    pub(super) fn new(
        name: DocumentName,
        placement: Arc<Placement>,
        inbox_bytes_max: usize,
        now_ms: u64,
    ) -> Self {
        let thread = placement.least_loaded();
        placement.add(thread);
        Self {
            name,
            thread,
            placement,
            inbox: Inbox::new(inbox_bytes_max),
            sessions: Mutex::default(),
            actor: Mutex::new(None),
            scheduled: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            busy_since_ms: AtomicU64::new(0),
            touched_ms: AtomicU64::new(now_ms),
            size_bytes: AtomicU64::new(0),
            awaits_commit: AtomicBool::new(true),
            refusals: Refusals::default(),
            applied: AtomicU64::new(0),
            polled: Mutex::default(),
            held: Mutex::default(),
            failures: AtomicU64::new(0),
            failed_loads: AtomicU64::new(0),
            actor_since_ms: AtomicU64::new(0),
            banned: Mutex::default(),
            heard: Mutex::default(),
            has_heard: AtomicBool::new(false),
        }
    }

    /// Tells the actor that there is something to do; at most one wake-up is under way.
    pub(super) fn wake(&self) {
        if self.claim_wake() {
            self.deliver_wake();
        }
    }

    /// True when no wake-up is under way; the caller then has to deliver one.
    pub(super) fn claim_wake(&self) -> bool {
        !self.scheduled.swap(true, Ordering::AcqRel)
    }

    /// Delivers a wake-up that was claimed.
    pub(super) fn deliver_wake(&self) {
        let actor = lock(&self.actor);
        // Without an actor the next one looks by itself when it starts.
        if let Some(actor) = actor.as_ref()
            && actor.try_send(Wake).is_err()
        {
            self.scheduled.store(false, Ordering::Release);
        }
    }

    /// Called by the actor before it looks into the inbox.
    pub(super) fn take_wake(&self) {
        self.scheduled.store(false, Ordering::Release);
    }

    /// The number of the thread that its actors run on.
    pub(super) fn thread(&self) -> usize {
        self.thread
    }

    pub(super) fn thread_handle(&self) -> ArbiterHandle {
        self.placement.handle(self.thread)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Retires the current actor and returns the number of the next one.
    pub(super) fn next_generation(&self) -> u64 {
        let mut actor = lock(&self.actor);
        *actor = None;
        self.busy_since_ms.store(0, Ordering::Release);
        self.actor_since_ms.store(0, Ordering::Release);
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.inbox.hand_over(generation);
        generation
    }

    /// The actor in charge is gone and the next one is arranged for, so that nobody else replaces it
    /// without what it has to try again.
    pub(super) fn await_successor(&self, generation: u64) {
        let mut actor = lock(&self.actor);
        if self.generation() == generation {
            *actor = None;
            self.actor_since_ms.store(0, Ordering::Release);
        }
    }

    /// Puts an actor in charge, unless a newer one is.
    pub(super) fn install(&self, generation: u64, address: Addr<DocumentActor>, now_ms: u64) {
        let mut actor = lock(&self.actor);
        if self.generation() == generation {
            *actor = Some(address);
            self.actor_since_ms.store(now_ms, Ordering::Release);
            drop(actor);
            self.scheduled.store(false, Ordering::Release);
            self.wake();
        }
    }

    pub(super) fn slot(&self, session: SessionId) -> Option<Arc<Slot>> {
        lock(&self.sessions).slots.get(&session).cloned()
    }

    pub(super) fn slots(&self) -> Vec<(SessionId, Arc<Slot>)> {
        lock(&self.sessions)
            .slots
            .iter()
            .map(|(id, slot)| (*id, slot.clone()))
            .collect()
    }

    /// The sessions for the next actor to take over, those included that have left and of which none has
    /// heard it.
    pub(super) fn take_over(&self) -> Vec<(SessionId, Arc<Slot>)> {
        let table = lock(&self.sessions);
        let slots = table.slots.iter().map(|(id, slot)| (*id, slot.clone()));
        let mut taken: Vec<_> = slots.collect();
        self.inbox.look(|item| {
            if let Item::Detach(session, _, slot) = item {
                taken.push((*session, slot.clone()));
            }
        });
        let is_taken_over = taken.iter().map(|(_, slot)| &slot.is_taken_over);
        is_taken_over.for_each(|it| it.store(true, Ordering::Release));
        taken
    }

    pub(super) fn session_count(&self) -> usize {
        lock(&self.sessions).slots.len()
    }

    /// Adds a session, if there is room for it.
    pub(super) fn add_session(
        &self,
        session: SessionId,
        slot: Arc<Slot>,
        sessions_max: usize,
    ) -> Added {
        let mut table = lock(&self.sessions);
        if table.closed {
            return Added::Gone;
        }
        if table.slots.len() >= sessions_max {
            return Added::Full;
        }
        if self.inbox.departures() >= sessions_max + DEPARTURES_MAX {
            return Added::Busy;
        }
        // Whoever speaks of the document finds the session in the table.
        slot.greet();
        table.slots.insert(session, slot.clone());
        self.placement.add(self.thread);
        self.inbox.push_own(Item::Attach(session, slot));
        drop(table);
        self.wake();
        Added::Here
    }

    pub(super) fn remove_session(&self, session: SessionId, clean: bool) {
        let mut table = lock(&self.sessions);
        if let Some(slot) = table.slots.remove(&session) {
            self.placement.subtract(self.thread, 1);
            self.inbox.push_departure(session, clean, slot);
            drop(table);
            self.wake();
        }
    }

    /// Changes what a session may do, behind what it sent before.
    pub(super) fn set_rights(&self, session: SessionId, rights: Rights) {
        if let Some(slot) = self.slot(session) {
            slot.set_rights(rights);
            self.inbox.push_own(Item::SetRights(session, rights));
            self.wake();
        }
    }

    /// Ends a session, behind what it sent before.
    pub(super) fn end_session(&self, session: SessionId, reason: CloseReason) {
        if let Some(slot) = self.slot(session) {
            slot.note_ending(reason);
        }
        self.inbox.push_own(Item::End(session, reason));
        self.wake();
    }

    /// Ends the sessions whose sockets were served by the document's thread, since it is stuck: their
    /// peers come back to another. What they said before is in the inbox.
    pub(super) fn sever_sessions(&self) {
        for (session, slot) in self.slots() {
            if slot.is_beside.load(Ordering::Acquire) {
                slot.line.outbox.sever();
                self.remove_session(session, false);
            }
        }
    }

    /// Closes the cell if nobody is attached, nothing waits or is being done, nothing is held and nothing
    /// was refused that the actor has not heard of; true when it is closed now.
    pub(super) fn close_if_idle(&self) -> bool {
        let mut table = lock(&self.sessions);
        let is_quiet = table.slots.is_empty()
            && self.inbox.depth().0 == 0
            && self.busy_since_ms.load(Ordering::Acquire) == 0;
        let owes_nothing = self.held().is_none() && self.refusal(self.generation()).is_none();
        table.closed |= is_quiet && owes_nothing;
        table.closed
    }

    /// Has the document loaded again, if nothing waits.
    pub(super) fn look_again(&self) {
        if self.inbox.depth().0 == 0 {
            // Nobody waits for it.
            let (reply, _) = oneshot::channel();
            self.inbox.push_own(Item::Query(Query::Reload(reply)));
            self.wake();
        }
    }

    /// Ends all sessions and forgets what they sent, as [`Self::close`] does; the cell stays, and takes
    /// others.
    pub(super) fn dismiss(&self) -> Vec<Arc<Slot>> {
        let mut table = lock(&self.sessions);
        self.placement.subtract(self.thread, table.slots.len());
        self.inbox.clear();
        table.slots.drain().map(|(_, slot)| slot).collect()
    }

    /// Closes the cell whatever waits; returns the sessions that were attached.
    pub(super) fn close(&self) -> Vec<Arc<Slot>> {
        let mut table = lock(&self.sessions);
        table.closed = true;
        self.placement.subtract(self.thread, table.slots.len());
        table.slots.drain().map(|(_, slot)| slot).collect()
    }

    /// A commit is news for the actor of this generation, if it waits for one.
    pub(super) fn wake_for_commit(self: &Arc<Self>, generation: u64) {
        if self.generation() == generation && self.awaits_commit.load(Ordering::SeqCst) {
            wake_soon(self);
        }
    }

    /// Whether the actor is woken by the next commit.
    pub(super) fn set_awaits_commit(&self, awaits: bool) {
        self.awaits_commit.store(awaits, Ordering::SeqCst);
    }

    /// Notes that the store refused an append of this generation.
    pub(super) fn note_refused(&self, generation: u64, refused: Refused) {
        let noted = match refused {
            Refused::Outdated => &self.refusals.outdated,
            Refused::Failed => &self.refusals.failed,
            Refused::LogLost => &self.refusals.log_lost,
        };
        noted.fetch_max(generation, Ordering::AcqRel);
        self.wake();
    }

    /// Whether the store refused an append of this generation; the gravest reason counts.
    pub(super) fn refusal(&self, generation: u64) -> Option<Refused> {
        let is_noted = |noted: &AtomicU64| noted.load(Ordering::Acquire) == generation;
        let Refusals {
            outdated,
            failed,
            log_lost,
        } = &self.refusals;
        if is_noted(log_lost) {
            Some(Refused::LogLost)
        } else if is_noted(failed) {
            Some(Refused::Failed)
        } else {
            is_noted(outdated).then_some(Refused::Outdated)
        }
    }

    /// Notes up to where the log is in the replica.
    pub(super) fn note_applied(&self, sequence: u64) {
        self.applied.store(sequence, Ordering::Release);
    }

    /// Up to where the log was in the replica a moment ago.
    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Whether it is news that the log ends here, with so much of it in the replica.
    pub(super) fn is_news(&self, end: LogEnd, applied: u64) -> bool {
        lock(&self.polled).replace(end) != Some(end) || end.head != applied
    }

    /// Keeps what a replica held whose log was taken back, until it is stored; `None`: it is stored.
    pub(super) fn keep_held(&self, held: Option<Arc<Held>>) {
        *lock(&self.held) = held;
    }

    /// What has to be stored again, if anything. While there is something the document stays in memory.
    pub(super) fn held(&self) -> Option<Arc<Held>> {
        lock(&self.held).clone()
    }

    /// Other nodes said something.
    pub(super) fn hear(&self, event: Event) {
        lock(&self.heard).push(event);
        self.has_heard.store(true, Ordering::Release);
        self.wake();
    }

    /// Takes what other nodes said since the last time, if anything.
    pub(super) fn take_heard(&self) -> Option<Heard> {
        if !self.has_heard.swap(false, Ordering::AcqRel) {
            return None;
        }
        Some(std::mem::take(&mut *lock(&self.heard)))
    }

    /// Structs that broke the document before.
    pub(super) fn banned(&self) -> Vec<Advance> {
        lock(&self.banned).clone()
    }

    /// Remembers structs that broke the document; the oldest are forgotten first.
    pub(super) fn ban(&self, ranges: &[Advance]) {
        let mut banned = lock(&self.banned);
        banned.extend_from_slice(ranges);
        let excess = banned.len().saturating_sub(BANNED_MAX);
        banned.drain(..excess);
    }

    /// True when an actor was in charge and its mailbox closed.
    pub(super) fn lost_its_actor(&self) -> bool {
        lock(&self.actor)
            .as_ref()
            .is_some_and(|actor| !actor.connected())
    }

    /// Tells the actor of a closed cell to go.
    pub(super) fn stop_actor(&self) {
        let actor = lock(&self.actor).take();
        let is_told = actor.is_some_and(|actor| actor.try_send(Stop).is_ok());
        if !is_told {
            // Its mailbox is full of wake-ups or closed, or the next one is about to start: each
            // finds its generation outdated.
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for DocumentCell {
    fn drop(&mut self) {
        self.placement.subtract(self.thread, 1);
    }
}

/// How the actor of one generation hears other nodes. One that is given up as stuck keeps its subscription
/// for as long as it is, and all would be heard twice.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) cell: Arc<DocumentCell>,
    pub(super) generation: u64,
}

impl Listener for Ear {
    fn hear(&self, event: Event) {
        if self.cell.generation() == self.generation {
            self.cell.hear(event);
        }
    }
}

#[cfg(test)]
#[path = "cell_tests.rs"]
mod tests;
