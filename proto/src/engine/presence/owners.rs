//! Whose an entry is, where entries show the identity of their sessions.
//!
//! A session has one entry of its own: the first that it brings, since clients open with theirs and
//! repeat those of others later. That entry belongs to the identity of the session, shows it, and no
//! other identity changes or removes it, in its grace time and while its removal is remembered
//! neither. Sessions of one identity speak for each other, as tabs do. An entry that came by somebody
//! else first belongs to nobody and shows nothing, until its own session brings news of it.

use std::sync::Arc;

use super::{Carrier, Entry, Presence};
use crate::ClientId;
use crate::admission::sign_state;
use crate::engine::types::SessionId;

/// Who says something about presence.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Speaker<'a> {
    pub(in super::super) session: SessionId,
    /// Who it was proven to be, if anybody.
    pub(in super::super) identity: Option<&'a Arc<str>>,
    /// This is its first presence message, which holds the peer's own entry: a peer that reconnects
    /// takes its entry over with an unchanged clock.
    pub(in super::super) is_first: bool,
}

/// An entry belongs to another identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anothers;

impl Entry {
    /// Whether it belongs to another identity than this one, or than nobody.
    pub(super) fn is_anothers(&self, identity: Option<&Arc<str>>) -> bool {
        self.owner.is_some() && self.owner.as_ref() != identity
    }
}

impl Presence {
    /// Without a field to show identities in, all are strangers, and equal.
    pub(super) fn known<'a>(&self, speaker: Speaker<'a>) -> Speaker<'a> {
        let shows = self.options.identity_field.is_some();
        Speaker {
            identity: speaker.identity.filter(|_| shows),
            ..speaker
        }
    }

    /// Whose an entry is once this session has changed it, if anybody's.
    ///
    /// # Errors
    /// When it may not: the entry is another identity's.
    pub(super) fn owner_after(
        &self,
        speaker: Speaker<'_>,
        client: ClientId,
        known: Option<&Entry>,
    ) -> Result<Option<Arc<str>>, Anothers> {
        if known.is_some_and(|known| known.is_anothers(speaker.identity)) {
            return Err(Anothers);
        }
        if let Some(owner) = known.and_then(|known| known.owner.clone()) {
            return Ok(Some(owner));
        }
        let is_own = || {
            let own = self.own.get(&speaker.session);
            own.is_none_or(|own| *own == client)
        };
        Ok(speaker.identity.filter(|_| is_own()).cloned())
    }

    /// A session has brought an entry with this owner.
    pub(super) fn note_own(
        &mut self,
        speaker: Speaker<'_>,
        client: ClientId,
        owner: Option<&Arc<str>>,
    ) {
        if owner.is_some() && speaker.identity == owner {
            self.own.entry(speaker.session).or_insert(client);
        }
    }

    /// Gives an entry to its owner. Who carried it before that does not any longer: only the owner's
    /// end is the end of the entry.
    pub(super) fn set_owner(
        &mut self,
        now_ms: u64,
        client: ClientId,
        owner: Option<Arc<str>>,
        carrier: Carrier,
    ) {
        let Some(known) = self.entries.get_mut(&client) else {
            return;
        };
        let is_claimed = known.owner.is_none() && owner.is_some();
        known.owner = owner;
        if is_claimed {
            let carriers = known.carriers.clone();
            for other in carriers.into_iter().filter(|other| *other != carrier) {
                self.put_down(now_ms, other, client);
            }
        }
    }

    /// The state of an entry as it is told: with the identity of its owner, or with none.
    pub(super) fn signed(&self, client: ClientId, state: &str) -> Arc<str> {
        let Some(field) = &self.options.identity_field else {
            return Arc::from(state);
        };
        let known = self.entries.get(&client);
        let owner = known.and_then(|known| known.owner.as_deref());
        Arc::from(&*sign_state(state, field, owner))
    }
}
