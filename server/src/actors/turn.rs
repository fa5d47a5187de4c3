//! One turn of a document: take what waits, let the engine handle it, perform the effects.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use driftless_proto::engine::{
    CloseReason, Effect, HELD, Input, Replica, SessionId, Suspect, Writes,
};
use tokio::sync::oneshot;

use super::Shared;
use super::cell::{DocumentCell, Refused};
use super::document::Suspects;
use super::frames::SharedFrames;
use super::inbox::Item;
use super::load::Loaded;
use super::place::LogPlace;
use super::query::Query;
use super::slot::Slot;
use crate::bus::Subscription;
use crate::metrics;
use crate::store::committer::PendingAppend;
use crate::store::{Append, Claim, StoreError};

mod commits;
mod effects;
mod others;

use commits::Commits;
use others::Others;

/// How long a document waits when changes come faster than the store takes them; a few commits.
const STORE_BEHIND_PAUSE_MS: u64 = 10;

/// A replica takes about this many times its encoded size (measured: 2 for typed text, up to 15
/// for scattered single-character edits), and this much when it is empty.
const RESIDENT_FACTOR: u64 = 8;
const RESIDENT_BYTES_MIN: u64 = 4_096;

/// Where the outcome of a deletion goes.
pub(super) type DeleteReply = oneshot::Sender<Result<u64, StoreError>>;

/// How a turn ended.
#[derive(Debug)]
pub(super) enum TurnEnd {
    /// All is well; look again at this time even if nothing arrives.
    Done {
        wake_at_ms: Option<u64>,
        /// Read the log behind this place: other nodes appended to it.
        read_after: Option<u64>,
    },
    /// Another node deleted the document.
    DeletedElsewhere,
    /// The document is to be deleted.
    Deleting(DeleteReply),
    /// The document is to be loaded again.
    Reload,
    /// The store refuses changes of the document for good: load it again, in a while.
    Unstorable,
    /// The log was taken back to an earlier state: load it again, and store what it lacks.
    LogLost,
    /// The replica cannot be used any more. `guilty` says that the cause was found and refused.
    Poisoned { suspects: Suspects, guilty: bool },
}

/// A loaded document with its sessions.
#[derive(Debug)]
pub(super) struct Ready {
    cell: Arc<DocumentCell>,
    shared: Arc<Shared>,
    generation: u64,
    listener: Arc<Commits>,
    others: Others,
    replica: Replica,
    epoch: u64,
    /// It was loaded readable only, and stays so.
    frozen: bool,
    has_room: bool,
    slots: HashMap<SessionId, Arc<Slot>>,
    /// The receivers of the last broadcast, resolved.
    live: (Arc<[SessionId]>, Vec<Arc<Slot>>),
    /// `live` has frames that are not flushed.
    has_broadcast: bool,
    /// Others that have.
    unflushed: Vec<Arc<Slot>>,
    /// The version of which what a former replica held is a part, until it is committed.
    held_version: Option<u64>,
    /// To be committed.
    appends: Vec<PendingAppend>,
    shared_frames: SharedFrames,
    trim_at_ms: Option<u64>,
    exports: Vec<(u64, Bytes, oneshot::Sender<Bytes>)>,
    effects: Vec<Effect>,
    /// Waits for the next change.
    #[cfg(feature = "fault-injection")]
    fault: Option<super::Fault>,
}

impl Ready {
    pub(super) fn new(
        cell: Arc<DocumentCell>,
        shared: Arc<Shared>,
        generation: u64,
        subscription: Option<Arc<dyn Subscription>>,
        loaded: Loaded,
    ) -> Self {
        cell.note_applied(loaded.head);
        let place = Arc::new(Mutex::new(LogPlace::at(loaded.head, loaded.newest)));
        let listener = Arc::new(Commits::new(
            cell.clone(),
            (generation, loaded.epoch),
            place.clone(),
            subscription.clone(),
        ));
        Self {
            cell,
            shared,
            generation,
            listener,
            others: Others::new(place, subscription),
            replica: loaded.replica,
            epoch: loaded.epoch,
            frozen: loaded.read_only.is_some(),
            has_room: true,
            slots: HashMap::new(),
            live: (Arc::from([]), Vec::new()),
            has_broadcast: false,
            unflushed: Vec::new(),
            held_version: None,
            appends: Vec::new(),
            shared_frames: SharedFrames::default(),
            trim_at_ms: None,
            exports: Vec::new(),
            effects: Vec::new(),
            #[cfg(feature = "fault-injection")]
            fault: None,
        }
    }

    /// The channel to other nodes, if there is one.
    pub(super) fn subscription(&self) -> Option<Arc<dyn Subscription>> {
        self.listener.subscription()
    }

    /// The state vector, encoded.
    pub(super) fn vector(&self) -> Bytes {
        self.replica.vector().encode()
    }

    /// The whole state and the owners of client ids, for a replica to come that finds less in the log.
    pub(super) fn state(&mut self) -> Option<(Bytes, Vec<Claim>)> {
        let state = self.replica.encode_state()?;
        Some((state, self.replica.owners()))
    }

    /// The first turn: takes over the sessions of a former actor and tries its suspects.
    pub(super) fn begin(&mut self, is_replacement: bool, suspects: Suspects) -> TurnEnd {
        for range in self.cell.banned() {
            self.replica.ban(range);
        }
        let now_ms = self.shared.clock.now_ms();
        let has_others = self.subscription().is_some_and(|others| others.has_peers());
        if has_others {
            self.replica
                .handle(now_ms, Input::MeetNodes, &mut self.effects);
        }
        // A frozen document takes nothing in: it is kept for when it is released.
        if !self.frozen
            && let Some(held) = self.cell.held()
        {
            let (update, owners) = (held.state.clone(), held.owners.clone());
            let input = Input::Held { update, owners };
            self.replica.handle(now_ms, input, &mut self.effects);
            self.held_version = Some(self.replica.staged_version());
        }
        if is_replacement {
            // Who left since then is still owed that what it sent before is stored.
            for (session, slot) in self.cell.take_over() {
                if let Some(reason) = slot.ending() {
                    // It was ended, and perhaps not told. Who has left may have a successor on its line.
                    if self.cell.slot(session).is_some() {
                        slot.line.end(reason);
                    }
                    continue;
                }
                let (access, identity) = (slot.access(), slot.identity());
                self.replica.adopt(
                    session,
                    access,
                    identity,
                    &slot.arrears(),
                    &mut self.effects,
                );
                self.slots.insert(session, slot);
            }
            if let Some(end) = self.finish(now_ms) {
                self.forget_poison(&end);
                return end;
            }
        }
        match self.try_suspects(suspects) {
            Some(end) => end,
            None => self.turn(),
        }
    }

    /// What was held and breaks the document would do so again.
    fn forget_poison(&self, end: &TurnEnd) {
        if let TurnEnd::Poisoned { suspects, .. } = end
            && suspects.iter().any(|suspect| suspect.session == HELD)
        {
            let document = &self.cell.name;
            tracing::error!(%document, "what the log lacks breaks the document; it is left to its clients");
            self.cell.keep_held(None);
        }
    }

    /// Tries updates one by one; the first that fails is guilty, its session is closed.
    fn try_suspects(&mut self, mut suspects: Suspects) -> Option<TurnEnd> {
        while let Some(Suspect {
            session, update, ..
        }) = suspects.pop_front()
        {
            let now_ms = self.shared.clock.now_ms();
            let input = Input::Retry { session, update };
            self.replica.handle(now_ms, input, &mut self.effects);
            if let Some(TurnEnd::Poisoned {
                suspects: guilty, ..
            }) = self.finish(now_ms)
            {
                metrics::refused("poisonous");
                tracing::warn!(document = %self.cell.name, "update refused: it breaks the document");
                guilty
                    .iter()
                    .for_each(|suspect| self.cell.ban(&suspect.advances));
                if let Some(slot) = self.slots.get(&session) {
                    slot.end(CloseReason::Refused);
                }
                suspects.retain(|other| other.session != session);
                return Some(TurnEnd::Poisoned {
                    suspects,
                    guilty: true,
                });
            }
        }
        None
    }

    /// Takes all that waits and handles it as one transaction.
    pub(super) fn turn(&mut self) -> TurnEnd {
        let now_ms = self.shared.clock.now_ms();
        // In this order: a commit behind one that was refused acknowledges nothing.
        let committed_version = self.listener.committed_version();
        match self.cell.refusal(self.generation) {
            None => {}
            Some(Refused::LogLost) => return TurnEnd::LogLost,
            Some(Refused::Failed) => return TurnEnd::Unstorable,
            Some(Refused::Outdated) => return TurnEnd::Reload,
        }
        self.look_at_store(now_ms, committed_version);
        if let Some(end) = self.hear_others(now_ms) {
            return end;
        }
        if self.shared.committer.is_behind(&self.cell.name) {
            // The inbox fills, its sockets are not read, and the writers slow down to what the
            // store takes.
            return match self.finish(now_ms) {
                Some(end) => end,
                None => TurnEnd::Done {
                    wake_at_ms: Some(now_ms + STORE_BEHIND_PAUSE_MS),
                    read_after: None,
                },
            };
        }
        let has_items = self.cell.inbox.take(self.generation);
        // What other nodes do keeps no document in memory that nobody here uses.
        if has_items || !self.slots.is_empty() {
            self.cell.touched_ms.store(now_ms, Ordering::Release);
        }
        while let Some(item) = self.cell.inbox.next(self.generation) {
            if let Some(end) = self.handle(now_ms, item) {
                return end;
            }
        }
        match self.finish(now_ms) {
            Some(end) => end,
            None => TurnEnd::Done {
                read_after: self.others.read_after(now_ms),
                wake_at_ms: self.wake_at_ms(),
            },
        }
    }

    /// Tells the engine what was committed, and whether more may be taken in.
    fn look_at_store(&mut self, now_ms: u64, version: u64) {
        if self.held_version.is_some_and(|held| held <= version) {
            self.held_version = None;
            self.cell.keep_held(None);
        }
        if version > self.replica.versions().1 {
            self.replica
                .handle(now_ms, Input::Committed { version }, &mut self.effects);
        }
        let has_room = self.shared.committer.has_room(&self.cell.name);
        if !self.frozen && has_room != self.has_room {
            self.has_room = has_room;
            let writes = if has_room {
                Writes::Open
            } else {
                Writes::StoreFull
            };
            self.replica
                .handle(now_ms, Input::SetWrites { writes }, &mut self.effects);
        }
    }

    fn handle(&mut self, now_ms: u64, item: Item) -> Option<TurnEnd> {
        let input = match item {
            Item::Receive(session, message) => {
                if let Some(slot) = self.slots.get(&session) {
                    slot.note_handled(&message);
                }
                Input::Receive { session, message }
            }
            Item::SetRights(session, rights) => Input::SetRights { session, rights },
            Item::Notify(session, notice) => Input::Notify { session, notice },
            Item::End(session, reason) => Input::End { session, reason },
            Item::Attach(session, slot) => {
                // Adopted sessions arrived before this actor did. One that is gone again is heard out.
                if self.slots.contains_key(&session) {
                    return None;
                }
                let (access, identity) = (slot.access(), slot.identity());
                self.slots.insert(session, slot);
                Input::Attach {
                    session,
                    access,
                    identity,
                }
            }
            Item::Drained(session) => Input::Drained { session },
            Item::Detach(session, clean, _) => {
                self.slots.remove(&session);
                Input::Detach { session, clean }
            }
            Item::Query(query) => return self.answer(now_ms, query),
        };
        self.replica.handle(now_ms, input, &mut self.effects);
        None
    }

    fn answer(&mut self, now_ms: u64, query: Query) -> Option<TurnEnd> {
        // What waits before the question is part of the answer.
        if let Some(end) = self.finish(now_ms) {
            return Some(end);
        }
        match query {
            Query::Export(reply) => {
                let Some(state) = self.replica.encode_state() else {
                    return Some(TurnEnd::Poisoned {
                        suspects: Suspects::new(),
                        guilty: false,
                    });
                };
                self.exports.push((self.replica.versions().0, state, reply));
                None
            }
            Query::Delete(reply) => Some(TurnEnd::Deleting(reply)),
            Query::Reload(reply) => {
                let _ = reply.send(());
                Some(TurnEnd::Reload)
            }
            #[cfg(feature = "fault-injection")]
            Query::Fault(fault) => {
                if fault.waits_for_change() {
                    self.fault = Some(fault);
                } else {
                    fault.perform();
                }
                None
            }
        }
    }

    /// Flushes the engine and performs its effects; `Some` when the actor cannot go on.
    fn finish(&mut self, now_ms: u64) -> Option<TurnEnd> {
        self.replica.flush(now_ms, &mut self.effects);
        #[cfg(feature = "fault-injection")]
        self.fail_over_change();
        let overflows = match self.perform(now_ms) {
            Ok(overflows) => overflows,
            Err(broken) => return Some(broken.into()),
        };
        for (session, missed) in overflows {
            self.replica.handle(
                now_ms,
                Input::Overflow { session, missed },
                &mut self.effects,
            );
        }
        if let Err(broken) = self.perform(now_ms) {
            return Some(broken.into());
        }
        self.release_exports();
        self.await_commit();
        let encoded = u64::try_from(self.replica.size_bytes()).unwrap_or(u64::MAX);
        let resident = RESIDENT_BYTES_MIN + encoded.saturating_mul(RESIDENT_FACTOR);
        self.cell.size_bytes.store(resident, Ordering::Relaxed);
        None
    }

    /// Does the harm that waits for a change, if there is one.
    #[cfg(feature = "fault-injection")]
    fn fail_over_change(&mut self) {
        let is_append = |effect: &Effect| matches!(effect, Effect::Append { .. });
        if self.effects.iter().any(is_append)
            && let Some(fault) = self.fault.take()
        {
            fault.perform();
        }
    }

    /// Says whether the next commit has to wake this document.
    fn await_commit(&self) {
        let has_peers = self.subscription().is_some_and(|others| others.has_peers());
        let awaits = self.replica.awaits_commit()
            || !self.exports.is_empty()
            || !self.has_room
            || self.held_version.is_some()
            || has_peers;
        self.listener
            .await_commit(awaits, self.replica.versions().1);
    }

    fn append(&mut self, version: u64, session: SessionId, update: Bytes, claims: Vec<Claim>) {
        let origin = self
            .slots
            .get(&session)
            .map(|slot| slot.origin.clone())
            .unwrap_or_default();
        let append = Append {
            document: self.cell.name.clone(),
            epoch: self.epoch,
            id: append_id(),
            origin,
            time_ms: self.shared.clock.wall_ms(),
            update,
            after: self.others.point(),
            claims,
        };
        let listener = self.listener.clone();
        self.appends.push(PendingAppend {
            append,
            version,
            listener,
        });
    }

    fn release_exports(&mut self) {
        let durable = self.replica.versions().1;
        for at in (0..self.exports.len()).rev() {
            if self.exports[at].0 <= durable {
                let (_, state, reply) = self.exports.swap_remove(at);
                // The asker may have given up.
                let _ = reply.send(state);
            }
        }
    }

    fn wake_at_ms(&mut self) -> Option<u64> {
        let now_ms = self.shared.clock.now_ms();
        if self.trim_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.trim_at_ms = None;
            self.shared_frames.clear();
            self.replica.forget_encodings();
        }
        let deadlines = [
            self.replica.next_deadline_ms(),
            self.trim_at_ms,
            self.others.deadline_ms(),
        ];
        deadlines.into_iter().flatten().min()
    }
}

/// A random id: two histories with equal sequence numbers never share one.
fn append_id() -> [u8; 16] {
    fastrand::u128(..).to_be_bytes()
}
