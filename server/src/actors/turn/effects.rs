//! Performs what the engine decided: frames to sessions, appends to the committer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use driftless_proto::admission::Refusal;
use driftless_proto::engine::{Acks, Effect, Missed, NodePresence, Observation, SessionId};
use driftless_proto::wire::Outbound;

use super::super::Shared;
use super::super::document::Suspects;
use super::super::frames::BroadcastFrames;
use super::{Ready, TurnEnd};
use crate::bus::Event;
use crate::metrics;
use crate::outbox::{PushResult, Written};

/// How long encodings made for joiners are kept for the next one.
const ENCODINGS_KEPT_MS: u64 = 5_000;

/// Why a replica cannot go on.
pub(super) enum Broken {
    /// It failed over one of these.
    Poisoned(Suspects),
    /// It is not what the log says.
    Diverged,
    /// Its actor was given up as stuck meanwhile.
    Replaced,
}

impl From<Broken> for TurnEnd {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Poisoned(suspects) => Self::Poisoned {
                suspects,
                guilty: false,
            },
            Broken::Diverged | Broken::Replaced => Self::Reload,
        }
    }
}

impl Ready {
    /// Performs the effects in order; returns the sessions whose queues were full.
    pub(super) fn perform(&mut self, now_ms: u64) -> Result<HashMap<SessionId, Missed>, Broken> {
        // After all that may take long, so that only what follows at once is done by two.
        if self.cell.generation() != self.generation {
            // Given up as stuck: its sessions are another's, which has not heard of what this one did.
            self.effects.clear();
            return Err(Broken::Replaced);
        }
        let mut overflows = HashMap::new();
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => self.send(now_ms, to, &message, &mut overflows),
                Effect::Broadcast {
                    relay,
                    to,
                    except,
                    message,
                } => {
                    self.broadcast(now_ms, relay, &to, except, &message, &mut overflows);
                }
                Effect::Append {
                    version,
                    session,
                    update,
                    claims,
                } => {
                    self.append(version, session, update, claims);
                }
                Effect::TellNodes { told } => self.tell_nodes(told),
                Effect::NotifyDrained { session } => {
                    if let Some(slot) = self.slots.get(&session) {
                        slot.line.want_drained();
                    }
                }
                Effect::Close { session, reason } => {
                    if let Some(slot) = self.slots.remove(&session) {
                        slot.end(reason);
                    }
                }
                Effect::Receipts {
                    session,
                    accepted,
                    count,
                } => self.answer_updates(session, accepted, count),
                Effect::Restored { session, count } => {
                    if let Some(slot) = self.slots.get(&session) {
                        slot.note_restored(count);
                    }
                }
                Effect::TellStateless { payload } => self.tell_stateless(payload),
                Effect::Poisoned { suspects } => {
                    self.let_go(now_ms);
                    return Err(Broken::Poisoned(suspects.into()));
                }
                Effect::Diverged => {
                    self.let_go(now_ms);
                    return Err(Broken::Diverged);
                }
                Effect::Observed(Observation::NotYours { session }) => self.note_not_yours(session),
                Effect::Observed(observation) => observe(observation),
            }
        }
        self.effects = effects;
        self.let_go(now_ms);
        Ok(overflows)
    }

    /// Somebody wrote under a client id of somebody else.
    fn note_not_yours(&self, session: SessionId) {
        metrics::refused(Refusal::NotYours.reason());
        let origin = self.slots.get(&session).map(|slot| &slot.origin);
        let subject = origin.and_then(|origin| origin.identity.as_deref());
        let door = origin.map(|origin| origin.door.as_str());
        let document = &self.cell.name;
        tracing::debug!(%document, subject, door, "refused: changes under a client id of another");
    }

    fn tell_nodes(&self, told: NodePresence) {
        let Some(others) = self.subscription().filter(|others| others.has_peers()) else {
            return;
        };
        let Shared {
            node,
            presence_number,
            ..
        } = &*self.shared;
        others.publish(Event::Presence {
            node: *node,
            number: presence_number.fetch_add(1, Ordering::Relaxed),
            told: Arc::new(told),
        });
    }

    fn tell_stateless(&self, payload: Bytes) {
        if let Some(others) = self.subscription().filter(|others| others.has_peers()) {
            others.publish(Event::Stateless { payload });
        }
    }

    /// Answers updates, one frame each.
    fn answer_updates(&mut self, session: SessionId, accepted: Option<bool>, count: u64) {
        let Some(slot) = self.slots.get(&session) else {
            return;
        };
        slot.note_answered(accepted, count);
        if let Some(accepted) = accepted {
            let answers = slot
                .encoding
                .encode(&Outbound::Receipts { accepted, count });
            // A socket that is closing takes no answers.
            let _ = slot.line.outbox.push_answer(answers);
            self.unflushed.push(slot.clone());
        }
    }

    /// Writes what sessions were sent, then hands what is to be committed to the committer: its
    /// threads would otherwise take the processor between two of the writes.
    fn let_go(&mut self, now_ms: u64) {
        self.flush_all(now_ms);
        for append in self.appends.drain(..) {
            // Not taken while the server stops: it is then never acknowledged, and its sender keeps
            // it.
            self.shared.committer.submit(append);
        }
    }

    /// Lets go of the frames of all sessions that were sent any.
    fn flush_all(&mut self, now_ms: u64) {
        let mut written = Written::default();
        let broadcast = std::mem::take(&mut self.has_broadcast);
        let live = self.live.1.iter().filter(|_| broadcast);
        for slot in live.chain(&self.unflushed) {
            let more = slot.line.outbox.flush(now_ms);
            written.bytes += more.bytes;
            written.frames += more.frames;
        }
        self.unflushed.clear();
        if written.bytes > 0 {
            metrics::sent(written);
        }
    }

    fn send(
        &mut self,
        now_ms: u64,
        to: SessionId,
        message: &Outbound,
        overflows: &mut HashMap<SessionId, Missed>,
    ) {
        let Some(slot) = self.slots.get(&to) else {
            return;
        };
        let frame = self.shared_frames.get(&slot.encoding, message);
        if frame.is_empty() {
            return;
        }
        let missed = Missed::of(message);
        if missed == Missed::State {
            self.trim_at_ms = Some(now_ms + ENCODINGS_KEPT_MS);
        } else if !self.shared_frames.is_empty() {
            self.trim_at_ms.get_or_insert(now_ms + ENCODINGS_KEPT_MS);
        }
        let is_question = matches!(message, Outbound::SyncStep1 { .. });
        // Whose answers are counted has to be asked exactly as often as the engine believes.
        let pushed = match is_question && slot.acks == Acks::Receipts {
            true => slot.line.outbox.push_answer(frame),
            false => slot.line.outbox.push(frame),
        };
        if is_question && pushed != PushResult::Full {
            slot.note_asked();
        }
        if pushed == PushResult::Full {
            overflows.entry(to).or_insert(missed);
        }
        self.unflushed.push(slot.clone());
    }

    fn broadcast(
        &mut self,
        now_ms: u64,
        relay: u64,
        to: &Arc<[SessionId]>,
        except: Option<SessionId>,
        message: &Outbound,
        overflows: &mut HashMap<SessionId, Missed>,
    ) {
        if !Arc::ptr_eq(&self.live.0, to) {
            let slots = to.iter().map(|id| self.slots.get(id).cloned());
            // A receiver that is gone keeps its place with a slot that takes nothing.
            let Some(slots) = slots.collect::<Option<Vec<_>>>() else {
                return self.broadcast_one_by_one(relay, to, except, message, overflows);
            };
            self.flush_all(now_ms);
            self.live = (to.clone(), slots);
        }
        self.has_broadcast = true;
        let mut frames = BroadcastFrames::default();
        let mut delivered = 0;
        for (id, slot) in to.iter().zip(&self.live.1) {
            if Some(*id) == except {
                continue;
            }
            delivered += 1;
            let frame = frames.get(&slot.encoding, message);
            if slot.line.outbox.push(frame) == PushResult::Full {
                overflows.entry(*id).or_insert(Missed::Relay(relay));
            }
        }
        metrics::frames_relayed(delivered);
    }

    /// A broadcast that was gated before one of its receivers left.
    fn broadcast_one_by_one(
        &mut self,
        relay: u64,
        to: &Arc<[SessionId]>,
        except: Option<SessionId>,
        message: &Outbound,
        overflows: &mut HashMap<SessionId, Missed>,
    ) {
        let mut frames = BroadcastFrames::default();
        for id in to.iter().filter(|id| Some(**id) != except) {
            let Some(slot) = self.slots.get(id) else {
                continue;
            };
            let frame = frames.get(&slot.encoding, message);
            if slot.line.outbox.push(frame) == PushResult::Full {
                overflows.entry(*id).or_insert(Missed::Relay(relay));
            }
            self.unflushed.push(slot.clone());
        }
    }
}

fn observe(observation: Observation) {
    match observation {
        Observation::Applied { updates } => metrics::updates_applied(updates),
        Observation::Duplicate => metrics::duplicate(),
        Observation::Gap => metrics::gap(),
        Observation::Refused(reason) => metrics::refused(reason),
        Observation::Resynced => metrics::resynced(),
        Observation::PresenceEcho => metrics::presence_echo(),
        Observation::PresenceHeldBack => metrics::presence_held_back(),
        Observation::Denied => metrics::denied(),
        // Told with its session.
        Observation::NotYours { .. } => {}
    }
}
