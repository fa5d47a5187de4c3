//! What peers hear: broadcasts, what waits for commits, and who fell behind.

use std::sync::Arc;

use super::replica::Replica;
use super::session::Phase;
use super::types::{Effect, Missed, NodeId, NodePresence, Observation, Relay, SessionId};
use crate::admission::{Advance, StateVector};
use crate::wire::Outbound;

/// An effect that waits for the commit of `version` (`relay = durable`).
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) version: u64,
    effect: Effect,
    /// What a broadcast adds to a peer's state.
    advances: Vec<Advance>,
}

impl Replica {
    pub(super) fn broadcast(
        &mut self,
        except: Option<SessionId>,
        message: Outbound,
        advances: Vec<Advance>,
        effects: &mut Vec<Effect>,
    ) {
        let to = self.live_sessions();
        if to.is_empty() {
            return;
        }
        let relay = self.next_relay;
        self.next_relay += 1;
        self.emit(
            Effect::Broadcast {
                relay,
                to,
                except,
                message,
            },
            advances,
            effects,
        );
    }

    fn live_sessions(&mut self) -> Arc<[SessionId]> {
        let sessions = &self.sessions;
        let live = self.live.get_or_insert_with(|| {
            sessions
                .iter()
                .filter(|(_, peer)| peer.is_live())
                .map(|(id, _)| *id)
                .collect()
        });
        live.clone()
    }

    /// Emits what is derived from the document: at once, or after the commit of all it shows.
    pub(super) fn emit(
        &mut self,
        effect: Effect,
        advances: Vec<Advance>,
        effects: &mut Vec<Effect>,
    ) {
        // What was staged in this turn is known already, and shows in a step 1.
        let version = self.staged_version();
        if self.options.relay == Relay::Durable && version > self.durable_version {
            self.gated_states.extend(state_receiver(&effect));
            self.gated.push_back(Gated {
                version,
                effect,
                advances,
            });
        } else {
            self.release(effect, advances, effects);
        }
    }

    fn release(&mut self, effect: Effect, advances: Vec<Advance>, effects: &mut Vec<Effect>) {
        if let Effect::Broadcast { relay, .. } = effect {
            self.turn_relays.push((relay, advances));
        } else if let Some(session) = state_receiver(&effect) {
            self.gated_states.remove(&session);
            self.turn_states.insert(session);
        }
        effects.push(effect);
    }

    pub(super) fn release_gated(&mut self, effects: &mut Vec<Effect>) {
        while let Some(first) = self.gated.front()
            && first.version <= self.durable_version
        {
            if let Some(Gated {
                effect, advances, ..
            }) = self.gated.pop_front()
            {
                self.release(effect, advances, effects);
            }
        }
    }

    pub(super) fn relay_presence(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if !self.presence.has_news(now_ms) {
            return;
        }
        let to = self.live_sessions();
        if self.presence.pace(now_ms, to.len()) {
            effects.push(Effect::Observed(Observation::PresenceHeldBack));
        }
        let (entries, author) = self.presence.take_changes();
        let version = self.presence.version();
        for session in to.iter() {
            if let Some(peer) = self.sessions.get_mut(session) {
                peer.presence_version = version;
            }
        }
        if !to.is_empty() {
            let relay = self.next_relay;
            self.next_relay += 1;
            let message = Outbound::Presence { entries };
            self.release(
                Effect::Broadcast {
                    relay,
                    to,
                    except: author,
                    message,
                },
                Vec::new(),
                effects,
            );
        }
    }

    /// Takes in what another node told of presence.
    pub(super) fn hear_node(
        &mut self,
        now_ms: u64,
        (node, number): (NodeId, u64),
        told: &NodePresence,
        effects: &mut Vec<Effect>,
    ) {
        match self.presence.hear_node(now_ms, node, number, told) {
            Ok(raises) => effects.extend(raises.into_iter().map(|(to, entries)| Effect::Send {
                to,
                message: Outbound::Presence { entries },
            })),
            // It is renewed by its owner, or expires; nobody here is to blame.
            Err(refusal) => {
                effects.push(Effect::Observed(Observation::Refused(refusal.reason())));
            }
        }
    }

    /// A session's queue is full: it hears nothing more until it drained, and is then sent what it
    /// missed. Only the first message that did not fit is known; all that were sent to the session
    /// after it in this turn may be lost too.
    pub(super) fn overflow(
        &mut self,
        session: SessionId,
        missed: Missed,
        effects: &mut Vec<Effect>,
    ) {
        let is_state_unsure = self.is_state_under_way(session);
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        peer.lost_replies = true;
        let vector = if missed == Missed::State || is_state_unsure {
            Some(peer.base.clone())
        } else if !peer.is_live() {
            // It is served from what it has, whatever it missed.
            None
        } else if let Missed::Relay(first) = missed {
            Some(Arc::new(self.vector_before(first)))
        } else {
            Some(Arc::new(self.vector_before(0)))
        };
        if let Some(vector) = vector {
            let patience_ms = None;
            self.set_phase(
                session,
                Phase::Behind {
                    vector,
                    patience_ms,
                },
            );
            effects.push(Effect::Observed(Observation::Resynced));
        }
        effects.push(Effect::NotifyDrained { session });
    }

    /// Whether a state was sent to the session in this turn, or waits for a commit.
    fn is_state_under_way(&self, session: SessionId) -> bool {
        self.turn_states.contains(&session) || self.gated_states.contains(&session)
    }

    /// What a peer has that received every broadcast before this one of the current turn.
    fn vector_before(&self, first: u64) -> StateVector {
        let mut vector = self.state.known.vector.clone();
        let missed = self
            .turn_relays
            .iter()
            .filter(|(number, _)| *number >= first);
        let waiting = self.gated.iter().map(|gated| &gated.advances);
        for advance in missed
            .map(|(_, advances)| advances)
            .chain(waiting)
            .flatten()
        {
            vector.lower_to(advance.client, advance.from);
        }
        vector
    }

    pub(super) fn set_phase(&mut self, session: SessionId, phase: Phase) {
        if let Some(peer) = self.sessions.get_mut(&session) {
            if peer.is_live() != matches!(phase, Phase::Live) {
                self.live = None;
            }
            peer.phase = phase;
            self.listeners.remove(&session);
        }
    }
}

/// The receiver of a state, a part of one or a difference.
fn state_receiver(effect: &Effect) -> Option<SessionId> {
    match effect {
        Effect::Send { to, message } if Missed::of(message) == Missed::State => Some(*to),
        _ => None,
    }
}
