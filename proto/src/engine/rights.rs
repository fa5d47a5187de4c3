//! What sessions may do, and what they say to each other beside the document.

use bytes::Bytes;

use super::presence::Speaker;
use super::replica::Replica;
use super::types::{Effect, Observation, Rights, SessionId};
use crate::admission::Refusal;
use crate::wire::{Notice, Outbound};

/// Why a change of presence is refused that would speak for another identity. Clients that repeat what
/// they hear do so, too: nobody is told.
const PRESENCE_OF_OTHERS: &str = "presence_of_others";

impl Replica {
    /// Takes presence in from who may be seen.
    pub(super) fn receive_presence(
        &mut self,
        now_ms: u64,
        session: SessionId,
        entries: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        if peer.rights < Rights::Comment {
            effects.push(Effect::Observed(Observation::Denied));
            return;
        }
        let speaker = Speaker {
            session,
            identity: peer.identity.as_ref(),
            is_first: !std::mem::replace(&mut peer.presence_seen, true),
        };
        match self.presence.receive(now_ms, speaker, entries) {
            Ok(receipt) => {
                if receipt.echoes > 0 {
                    effects.push(Effect::Observed(Observation::PresenceEcho));
                }
                if receipt.foreign > 0 {
                    effects.push(Effect::Observed(Observation::Refused(PRESENCE_OF_OTHERS)));
                }
                if !receipt.corrections.is_empty() {
                    let entries = self.presence.encode(receipt.corrections);
                    let message = Outbound::Presence { entries };
                    effects.push(Effect::Send {
                        to: session,
                        message,
                    });
                }
            }
            Err(refusal) => self.refuse(now_ms, session, refusal, effects),
        }
    }

    /// Passes a stateless message on to all other sessions, of other nodes, too. Who is not there, or
    /// too slow to take it, never hears of it.
    pub(super) fn receive_stateless(
        &mut self,
        now_ms: u64,
        session: SessionId,
        payload: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let bytes_max = self.options.stateless_bytes_max;
        if payload.len() > bytes_max {
            let bytes = payload.len();
            return self.refuse(
                now_ms,
                session,
                Refusal::TooLarge { bytes, bytes_max },
                effects,
            );
        }
        let may = self.sessions.get(&session).map(|peer| peer.rights);
        if may < Some(Rights::Comment) {
            effects.push(Effect::Observed(Observation::Denied));
            return;
        }
        let payload = payload.clone();
        self.pass_on(Some(session), &payload, effects);
        effects.push(Effect::TellStateless { payload });
    }

    pub(super) fn pass_on(
        &self,
        author: Option<SessionId>,
        payload: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let others = self.sessions.keys().filter(|id| Some(**id) != author);
        effects.extend(others.map(|to| Effect::Send {
            to: *to,
            message: Outbound::Stateless {
                payload: payload.clone(),
            },
        }));
    }

    /// What a session may do from now on; it is told when it can or cannot write any longer.
    pub(super) fn set_rights(
        &mut self,
        now_ms: u64,
        session: SessionId,
        rights: Rights,
        effects: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        let before = std::mem::replace(&mut peer.rights, rights);
        if rights < Rights::Comment && before >= Rights::Comment {
            self.presence.detach(now_ms, session, true);
        }
        let can_write = rights >= Rights::Write;
        let is_changed = can_write != (before >= Rights::Write);
        let gains = can_write && rights > before;
        if is_changed || gains {
            peer.denied = false;
        }
        if is_changed {
            self.notify(session, Notice::Access { can_write }, effects);
        }
        if gains {
            self.ask_again(session, effects);
        }
    }

    /// Asks a session again for what was refused, which stays with its sender until then.
    pub(super) fn ask_again(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let Some(peer) = self.sessions.get_mut(&session) else {
            return;
        };
        if !std::mem::take(&mut peer.refused) {
            return;
        }
        (peer.answered, peer.claims_more) = (false, true);
        self.restore_receipts(session, effects);
        self.ask_step1(session, effects);
    }

    /// Owes a session receipts for what was refused, once it has brought it again.
    pub(super) fn restore_receipts(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let peer = self.sessions.get_mut(&session);
        let Some(receipts) = peer.and_then(|peer| peer.receipts.as_mut()) else {
            return;
        };
        let count = receipts.restore();
        if count > 0 {
            effects.push(Effect::Restored { session, count });
        }
        self.probing.insert(session);
    }

    pub(super) fn notify(&self, session: SessionId, notice: Notice, effects: &mut Vec<Effect>) {
        if self.sessions.contains_key(&session) {
            effects.push(Effect::Send {
                to: session,
                message: Outbound::Notice(notice),
            });
        }
    }
}
