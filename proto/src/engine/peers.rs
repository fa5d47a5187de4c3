//! Peers that arrive, and those that are taken over from a former replica.

use std::sync::Arc;

use super::arrears::Arrears;
use super::receipts::Receipts;
use super::replica::Replica;
use super::session::{Phase, Session};
use super::types::{Access, Acks, Effect, Identity, Rights, SessionId};
use crate::admission::StateVector;
use crate::wire::Outbound;

/// How long a peer may be silent about what it has before it is served like a listener that
/// never asks. Honest clients send step 1 in their first packet.
const LISTENER_PATIENCE_MS: u64 = 1_000;

impl Replica {
    /// Takes over a session whose former replica is gone: it is sent the whole state, since what
    /// reached it is not known, and asked for what only it still has. `arrears` is what the
    /// former replica left open; of a session that is not answered by receipts, the questions.
    pub fn adopt(
        &mut self,
        session: SessionId,
        access: Access,
        identity: Identity,
        arrears: &Arrears,
        effects: &mut Vec<Effect>,
    ) {
        let behind = Phase::Behind {
            vector: Arc::new(StateVector::default()),
            patience_ms: None,
        };
        let mut peer = Session::new(access, identity, behind);
        if let Some(receipts) = &mut peer.receipts {
            *receipts = Receipts::take_over(arrears);
            self.probing.insert(session);
        }
        // The former replica may have lost what it sent: only its answer tells that all is here.
        peer.claims_more = true;
        peer.stale_answers = arrears.questions;
        let has_refused = peer.receipts.as_ref().is_some_and(Receipts::has_refused);
        // Else it is asked when it may write again.
        let may_write = peer.rights >= Rights::Write;
        peer.refused = has_refused && !may_write;
        self.sessions.insert(session, peer);
        self.live = None;
        if has_refused && may_write {
            self.restore_receipts(session, effects);
        }
        self.ask_step1(session, effects);
        effects.push(Effect::NotifyDrained { session });
    }

    pub(super) fn attach(
        &mut self,
        now_ms: u64,
        session: SessionId,
        access: Access,
        identity: Identity,
        effects: &mut Vec<Effect>,
    ) {
        let patience_ms = Some(now_ms + LISTENER_PATIENCE_MS);
        let vector = Arc::new(self.state.known.vector.clone());
        let behind = Phase::Behind {
            vector,
            patience_ms,
        };
        let mut peer = Session::new(access, identity, behind);
        peer.presence_version = self.presence.version();
        let sent_stored = self.sent_stored.as_ref();
        peer.sent_stored = sent_stored
            .filter(|(_, sessions)| sessions.contains(&session))
            .map(|(vector, _)| vector.clone());
        self.sessions.insert(session, peer);
        self.listeners.insert(session);
        self.live = None;
        if access.acks == Acks::Probes {
            // Others are asked in answer to their own question, which is when they begin to count.
            self.ask_step1(session, effects);
        }
        if let Some(entries) = self.presence.everyone() {
            effects.push(Effect::Send {
                to: session,
                message: Outbound::Presence { entries },
            });
        }
    }
}
