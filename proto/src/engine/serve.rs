//! Bringing peers up to date: answers to step 1, parts of large states, resyncs, acks.

use std::sync::Arc;

use bytes::Bytes;

use super::replica::Replica;
use super::session::{Phase, Session};
use super::types::{Effect, SessionId};
use crate::admission::StateVector;
use crate::wire::Outbound;

impl Replica {
    /// Moves what time alone moves: presence that expires, listeners whose patience ends.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.presence.tick(now_ms);
        let sessions = &self.sessions;
        let due = self.listeners.iter().filter(|id| {
            sessions.get(id).is_some_and(|peer| {
                matches!(peer.phase, Phase::Behind { patience_ms: Some(by_ms), .. } if by_ms <= now_ms)
            })
        });
        self.asking.extend(due.copied());
    }

    /// Asks those that are answered by receipts, and asked in this turn, what they have: behind that
    /// they begin to count.
    pub(super) fn ask_in_return(&mut self, effects: &mut Vec<Effect>) {
        let is_due = |session: &&SessionId| {
            let peer = self.sessions.get(session);
            peer.is_some_and(|peer| peer.is_to_be_asked)
        };
        let due: Vec<SessionId> = self.asking.iter().filter(is_due).copied().collect();
        for session in due {
            if let Some(peer) = self.sessions.get_mut(&session) {
                peer.is_to_be_asked = false;
            }
            self.ask_step1(session, effects);
        }
    }

    /// Answers what was asked in this turn; false when the replica died of it.
    pub(super) fn answer_asking(&mut self, now_ms: u64, effects: &mut Vec<Effect>) -> bool {
        for session in std::mem::take(&mut self.asking) {
            if self.gated_states.contains(&session) {
                // It is answered once what it was sent before is durable: however often it asks,
                // one state waits for it.
                self.asking.insert(session);
                continue;
            }
            let Some(peer) = self.sessions.get_mut(&session) else {
                continue;
            };
            let asks_presence = std::mem::take(&mut peer.asked_presence);
            let served = match next_service(peer, now_ms) {
                Service::State { from, base } => self.serve_state(session, from, base, effects),
                Service::Part => {
                    self.serve_part(session, effects);
                    true
                }
                Service::Owed => {
                    self.serve_owed(session, effects);
                    true
                }
                Service::Nothing => true,
            };
            if !served {
                return false;
            }
            if asks_presence {
                self.send_everyone(session, effects);
            }
        }
        true
    }

    /// Sends a peer what it lacks beyond `from`; false when the replica died of it. `base`: what it
    /// is known to have.
    fn serve_state(
        &mut self,
        session: SessionId,
        from: Arc<StateVector>,
        base: Arc<StateVector>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Ok(encoding) = self.state.encode(&from, self.options.chunk_bytes) else {
            return self.die(Vec::new(), effects);
        };
        if let Some(peer) = self.sessions.get_mut(&session) {
            peer.base = base;
        }
        if let [whole] = &encoding.parts[..] {
            let message = Outbound::SyncStep2 {
                update: whole.clone(),
            };
            self.emit(
                Effect::Send {
                    to: session,
                    message,
                },
                Vec::new(),
                effects,
            );
            self.go_live(session, effects);
        } else {
            let (parts, vector) = (encoding.parts, encoding.vector);
            self.set_phase(
                session,
                Phase::CatchingUp {
                    parts,
                    next: 0,
                    vector,
                },
            );
            self.serve_part(session, effects);
        }
        true
    }

    /// Sends the next part of a large state; after the last one, what changed meanwhile is next.
    fn serve_part(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        let Phase::CatchingUp {
            parts,
            next,
            vector,
        } = &mut peer.phase
        else {
            return;
        };
        let Some(update) = parts.get(*next).cloned() else {
            return;
        };
        *next += 1;
        if *next == parts.len() {
            peer.phase = Phase::Behind {
                vector: vector.clone(),
                patience_ms: None,
            };
        }
        self.emit(
            Effect::Send {
                to: session,
                message: Outbound::Update { update },
            },
            Vec::new(),
            effects,
        );
        // Behind the part: one that waits for a commit must not be followed by all the others.
        self.emit(Effect::NotifyDrained { session }, Vec::new(), effects);
    }

    /// From here on the peer hears every change; what it may have missed besides follows when its
    /// queue is empty.
    fn go_live(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        self.set_phase(session, Phase::Live);
        let version = self.presence.version();
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        peer.owed.presence |= peer.lost_replies || peer.presence_version != version;
        peer.owed.replies |= std::mem::take(&mut peer.lost_replies);
        if !peer.owed.is_nothing() {
            self.emit(Effect::NotifyDrained { session }, Vec::new(), effects);
        }
    }

    /// Sends one of the things that a peer has to be told besides the document.
    fn serve_owed(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let version = self.presence.version();
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        if std::mem::take(&mut peer.owed.presence) {
            peer.presence_version = version;
            if peer.owed.replies {
                effects.push(Effect::NotifyDrained { session });
            }
            let entries = self.presence.everyone_and_the_gone();
            return send_presence(session, entries, effects);
        }
        if !std::mem::take(&mut peer.owed.replies) {
            return;
        }
        // A denial may be lost, too: the answer to our question brings it up again.
        let was_denied = std::mem::take(&mut peer.denied);
        let asks = was_denied || !peer.answered || peer.gap.is_some();
        let ack = peer.last_ack();
        if let Some(version) = ack {
            effects.push(Effect::Send {
                to: session,
                message: Outbound::Saved { version },
            });
        }
        if asks {
            self.ask_step1(session, effects);
        }
    }

    /// Answers who asked, also when nobody is here.
    fn send_everyone(&self, session: SessionId, effects: &mut Vec<Effect>) {
        let everyone = self.presence.everyone();
        let entries = everyone.unwrap_or_else(|| self.presence.encode([]));
        send_presence(session, Some(entries), effects);
    }

    /// Sends the acks whose commits are done, or whose peers waited long enough.
    pub(super) fn answer_probes(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.probing.is_empty() {
            return;
        }
        let durable_version = self.durable_version;
        let sessions = &mut self.sessions;
        self.probing.retain(|id| {
            let Some(peer) = sessions.get_mut(id) else {
                return false;
            };
            if let Some(version) = peer.due_ack(now_ms, durable_version) {
                let message = Outbound::Saved { version };
                effects.push(Effect::Send { to: *id, message });
            }
            let receipts = peer.receipts.as_mut();
            let due = receipts.map(|receipts| {
                std::iter::from_fn(|| receipts.take_due(durable_version)).map(
                    |(accepted, count)| Effect::Receipts {
                        session: *id,
                        accepted: Some(accepted),
                        count,
                    },
                )
            });
            effects.extend(due.into_iter().flatten());
            peer.awaits_ack()
        });
    }
}

/// What a peer that asked is sent next.
enum Service {
    State {
        from: Arc<StateVector>,
        base: Arc<StateVector>,
    },
    Part,
    Owed,
    Nothing,
}

fn send_presence(to: SessionId, entries: Option<Bytes>, effects: &mut Vec<Effect>) {
    if let Some(entries) = entries {
        let message = Outbound::Presence { entries };
        effects.push(Effect::Send { to, message });
    }
}

fn next_service(peer: &mut Session, now_ms: u64) -> Service {
    if let Some(asked) = peer.asked.take() {
        let base = Arc::new(asked);
        let sent = peer.sent_stored.take().filter(|_| base.is_empty());
        let from = sent.unwrap_or_else(|| base.clone());
        return Service::State { from, base };
    }
    match &peer.phase {
        Phase::Behind {
            patience_ms: Some(by_ms),
            ..
        } if *by_ms > now_ms => Service::Nothing,
        Phase::Behind { vector, .. } => Service::State {
            from: vector.clone(),
            base: vector.clone(),
        },
        Phase::CatchingUp { .. } => Service::Part,
        Phase::Live if peer.owed.is_nothing() => Service::Nothing,
        Phase::Live => Service::Owed,
    }
}
