//! What outlives a document's actor: its inbox, its sessions, and who works on it right now.
//!
//! An actor may panic or get stuck and be replaced; the cell stays, so that sessions keep their
//! sockets and their queue, and the next actor finds them here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use actix::{Addr, ArbiterHandle};
use bytes::Bytes;
use driftless_proto::admission::Advance;
use driftless_proto::engine::{CloseReason, Rights, SessionId};
use driftless_proto::name::DocumentName;

use super::document::{DocumentActor, Stop, Wake};
use super::inbox::{Inbox, Item};
use super::lock;
use super::place::Heard;
use super::placement::Placement;
use super::slot::Slot;
use super::wakes::wake_soon;
use crate::bus::{Event, Listener};
use crate::store::{Claim, LogEnd};

/// Ranges of structs remembered as harmful; an attacker needs a new client id for each.
const BANNED_MAX: usize = 64;

/// Why the store refused an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The log was taken back to an earlier state.
    LogLost,
    /// Its epoch has ended, or it cannot be stored.
    Other,
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
    /// An append of this generation was refused by the store: its epoch has ended.
    refused_generation: AtomicU64,
    /// The same, because the log was taken back.
    lost_generation: AtomicU64,
    /// Up to where the log is in the replica.
    applied: AtomicU64,
    /// Where the log ended when the store was asked last.
    polled: Mutex<Option<LogEnd>>,
    /// The state of a former replica whose log was taken back, and the owners of client ids.
    held: Mutex<Option<(Bytes, Vec<Claim>)>>,
    /// Replacements in a row; cleared once an actor worked for a while.
    pub(super) failures: AtomicU64,
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
            refused_generation: AtomicU64::new(0),
            lost_generation: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            polled: Mutex::default(),
            held: Mutex::default(),
            failures: AtomicU64::new(0),
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
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
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

    /// The sessions that have left the table, and of which the actor has not heard it.
    pub(super) fn leaving(&self) -> Vec<(SessionId, Arc<Slot>)> {
        let mut leaving = Vec::new();
        self.inbox.look(|item| {
            if let Item::Detach(session, _, slot) = item {
                leaving.push((*session, slot.clone()));
            }
        });
        leaving
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
        table.slots.insert(session, slot.clone());
        self.placement.add(self.thread);
        self.inbox.push_own(Item::Attach(session, slot));
        drop(table);
        self.wake();
        Added::Here
    }

    pub(super) fn remove_session(&self, session: SessionId, clean: bool) {
        let removed = lock(&self.sessions).slots.remove(&session);
        if let Some(slot) = removed {
            self.placement.subtract(self.thread, 1);
            self.inbox.push_own(Item::Detach(session, clean, slot));
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

    /// Closes the cell if nobody is attached and nothing waits; true when it is closed now.
    pub(super) fn close_if_idle(&self) -> bool {
        let mut table = lock(&self.sessions);
        if !table.closed && table.slots.is_empty() && self.inbox.depth().0 == 0 {
            table.closed = true;
        }
        table.closed
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

    /// Notes that the store refused an append of the current generation.
    pub(super) fn note_refused(&self, generation: u64, is_log_lost: bool) {
        if is_log_lost {
            self.lost_generation.store(generation, Ordering::Release);
        }
        self.refused_generation.store(generation, Ordering::Release);
        self.wake();
    }

    /// Whether the store refused an append of this generation.
    pub(super) fn refusal(&self, generation: u64) -> Option<Refused> {
        if self.refused_generation.load(Ordering::Acquire) != generation {
            return None;
        }
        let is_log_lost = self.lost_generation.load(Ordering::Acquire) == generation;
        Some(if is_log_lost {
            Refused::LogLost
        } else {
            Refused::Other
        })
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

    /// Keeps the state of a replica whose log was taken back, until the next one stores it.
    pub(super) fn keep_held(&self, held: (Bytes, Vec<Claim>)) {
        *lock(&self.held) = Some(held);
    }

    /// The state that was kept, if any.
    pub(super) fn take_held(&self) -> Option<(Bytes, Vec<Claim>)> {
        lock(&self.held).take()
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

impl Listener for DocumentCell {
    fn hear(&self, event: Event) {
        lock(&self.heard).push(event);
        self.has_heard.store(true, Ordering::Release);
        self.wake();
    }
}
