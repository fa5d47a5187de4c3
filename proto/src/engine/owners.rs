//! Whose client ids are: who was the first to write under one, and who may go on.
//!
//! In Yjs every struct carries a client id that its author chose. Where ids are bound
//! ([`ClientIds::Bound`](super::ClientIds)), new structs under one are taken only from the identity
//! that it belongs to, so that nobody writes in the name of somebody else. Who adds to an id that
//! belongs to no one takes it; the claim is stored together with the change.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::replica::Replica;
use super::types::{Claim, ClientIds, Effect, Identity, Observation, Rights, SessionId};
use crate::ClientId;
use crate::admission::{Admission, Advance, Refusal, StateVector};

/// What a peer reads when it sent changes in the name of somebody else.
const NOT_YOURS: &str = "Your latest changes hold edits by somebody else that this document does not \
    have yet, and only who made them may bring them. Your latest changes are not saved.";

/// The most clients of others that a refused update is remembered for; one that rests on more is not
/// asked for again. Honest ones rest on one or a few.
const AWAITED_CLIENTS_MAX: usize = 64;

/// The owners of a document's client ids; at most one for each id that the replica holds.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_client: BTreeMap<ClientId, Identity>,
}

/// Why nothing of an update is taken in.
pub(super) enum NotAdmitted {
    Refused(Refusal),
    /// It adds to ids of others, up to these clocks.
    NotYours(StateVector),
}

impl Owners {
    pub(super) fn new(client_ids: ClientIds, stored: &[Claim]) -> Option<Self> {
        let mut owners = (client_ids == ClientIds::Bound).then(Self::default)?;
        owners.learn(stored.iter().cloned());
        Some(owners)
    }

    fn may_add(&self, client: ClientId, identity: &Identity) -> bool {
        let owner = self.by_client.get(&client);
        owner.is_none_or(|owner| owner == identity)
    }

    /// Takes the word of the store, which settles who was first.
    pub(super) fn learn(&mut self, claims: impl IntoIterator<Item = Claim>) {
        let claims = claims.into_iter().map(|claim| (claim.client, claim.owner));
        self.by_client.extend(claims);
    }

    /// Gives the ids that belong to no one to somebody; returns what is to be stored.
    fn claim(
        &mut self,
        clients: impl Iterator<Item = ClientId>,
        identity: &Identity,
    ) -> Vec<Claim> {
        let owner = |client| Claim {
            client,
            owner: identity.clone(),
        };
        let claims: Vec<Claim> = clients
            .filter(|client| !self.by_client.contains_key(client))
            .map(owner)
            .collect();
        self.learn(claims.iter().cloned());
        claims
    }
}

impl Replica {
    /// The owners of client ids, as far as they are known; empty where ids are free.
    pub fn owners(&self) -> Vec<Claim> {
        let owners = self.owners.iter().flat_map(|owners| &owners.by_client);
        let claim = |(client, owner): (&ClientId, &Identity)| Claim {
            client: *client,
            owner: owner.clone(),
        };
        owners.map(claim).collect()
    }

    /// Admits an update of a session, unless it adds to client ids of others. Nothing of one that
    /// does is kept.
    pub(super) fn admit_from(
        &mut self,
        session: SessionId,
        update: &Bytes,
    ) -> Result<Admission, NotAdmitted> {
        let author = self.sessions.get(&session);
        let author = author.filter(|peer| peer.rights < Rights::Admin);
        let (Some(owners), Some(author)) = (&self.owners, author) else {
            let admitted = self.state.admit(update, &self.limits);
            return admitted.map_err(NotAdmitted::Refused);
        };
        let mut others = StateVector::default();
        let may_add = |client, end_clock| {
            let may = owners.may_add(client, &author.identity);
            if !may {
                others.raise_to(client, end_clock);
            }
            may
        };
        let admitted = self.state.admit_if(update, &self.limits, may_add);
        admitted.map_err(|refusal| match refusal {
            Refusal::NotYours => NotAdmitted::NotYours(others),
            refusal => NotAdmitted::Refused(refusal),
        })
    }

    /// Notes that a session was the first to add to these clients; what is to be stored of it. Who
    /// speaks for others takes nothing.
    pub(super) fn claim(&mut self, session: SessionId, advances: &[Advance]) -> Vec<Claim> {
        let author = self.sessions.get(&session);
        match (&mut self.owners, author) {
            (Some(owners), Some(author)) if author.rights != Rights::Relay => {
                let clients = advances.iter().map(|advance| advance.client);
                owners.claim(clients, &author.identity)
            }
            _ => Vec::new(),
        }
    }

    /// Takes over what a former replica knew of owners and the store has lost; what is to be stored.
    pub(super) fn claim_held(&mut self, held: Vec<Claim>) -> Vec<Claim> {
        let Some(owners) = &mut self.owners else {
            return Vec::new();
        };
        let mut lost = held;
        lost.retain(|claim| !owners.by_client.contains_key(&claim.client));
        owners.learn(lost.iter().cloned());
        lost
    }

    /// Refuses an update that adds to ids of others. Its sender may be honest and hold what they made
    /// and could not bring yet: it is asked again once they did.
    pub(super) fn deny_in_others_name(
        &mut self,
        session: SessionId,
        others: &StateVector,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Observed(Observation::NotYours { session }));
        self.deny(session, NOT_YOURS.to_owned(), effects);
        if let Some(peer) = self.sessions.get_mut(&session) {
            if let Some(open) = &mut peer.gap {
                // An answer that was left out brings no deletes either.
                open.answered = false;
            }
            peer.awaits_others.merge_max(others);
            if peer.awaits_others.len() <= AWAITED_CLIENTS_MAX {
                self.awaiting_others.insert(session);
            } else {
                peer.awaits_others = StateVector::default();
                self.awaiting_others.remove(&session);
            }
        }
    }

    /// Asks sessions again for what was refused, once those whose edits it rests on have brought them.
    pub(super) fn ask_for_refused(&mut self, effects: &mut Vec<Effect>) {
        if self.awaiting_others.is_empty() {
            return;
        }
        for session in std::mem::take(&mut self.awaiting_others) {
            let Some(peer) = self.sessions.get_mut(&session) else {
                continue;
            };
            if !self.state.known.vector.covers(&peer.awaits_others) {
                self.awaiting_others.insert(session);
                continue;
            }
            peer.awaits_others = StateVector::default();
            if peer.rights >= Rights::Write {
                peer.denied = false;
                self.ask_again(session, effects);
            }
        }
    }
}
