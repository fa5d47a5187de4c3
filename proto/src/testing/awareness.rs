//! Presence as y-protocols 1.0.7 `awareness.js` keeps it, on the client's side.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ClientId;
use crate::admission::{PresenceEntry, Refusal, encode_entries, entries};

/// y-protocols: an entry that is not renewed for this long is removed; the own one is renewed
/// after half of it.
const OUTDATED_MS: u64 = 30_000;

#[derive(Debug, Clone, Copy)]
struct Meta {
    clock: u32,
    updated_ms: u64,
}

/// What a client knows of who is here.
#[derive(Debug)]
pub(super) struct Awareness {
    own: ClientId,
    states: BTreeMap<ClientId, String>,
    meta: BTreeMap<ClientId, Meta>,
}

impl Awareness {
    pub(super) fn new(own: ClientId) -> Self {
        Self {
            own,
            states: BTreeMap::new(),
            meta: BTreeMap::new(),
        }
    }

    /// Shows `state`, or says goodbye.
    pub(super) fn set_local(&mut self, now_ms: u64, state: Option<String>) {
        let clock = self.meta.get(&self.own).map_or(0, |meta| meta.clock + 1);
        match state {
            Some(state) => self.states.insert(self.own, state),
            None => self.states.remove(&self.own),
        };
        let updated_ms = now_ms;
        self.meta.insert(self.own, Meta { clock, updated_ms });
    }

    /// Takes in what others say; returns the clients whose entries are news, to be passed on.
    pub(super) fn apply(&mut self, now_ms: u64, update: &[u8]) -> Result<Vec<ClientId>, Refusal> {
        let mut news = Vec::new();
        for entry in entries(update)? {
            let entry = entry?;
            if self.apply_entry(now_ms, &entry) {
                news.push(entry.client);
            }
        }
        Ok(news)
    }

    fn apply_entry(&mut self, now_ms: u64, entry: &PresenceEntry<'_>) -> bool {
        let client = entry.client;
        let known = self.meta.get(&client).copied();
        let held = self.states.contains_key(&client);
        let known_clock = known.map_or(0, |meta| meta.clock);
        let takes_away = entry.clock == known_clock && entry.state.is_none() && held;
        if known_clock >= entry.clock && !takes_away {
            return false;
        }
        let mut clock = entry.clock;
        match entry.state {
            Some(state) => {
                self.states.insert(client, state.to_owned());
            }
            // Nobody else can take the own entry away: its clock moves on.
            None if client == self.own && held => clock += 1,
            None => {
                self.states.remove(&client);
            }
        }
        let updated_ms = now_ms;
        self.meta.insert(client, Meta { clock, updated_ms });
        known.is_some() || entry.state.is_some()
    }

    /// What `awareness.js` does every three seconds; returns the clients to tell of.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<ClientId> {
        let mut changed = Vec::new();
        let own_updated = self.meta.get(&self.own).map(|meta| meta.updated_ms);
        if let (Some(state), Some(updated_ms)) = (self.states.get(&self.own), own_updated)
            && now_ms - updated_ms >= OUTDATED_MS / 2
        {
            let state = state.clone();
            self.set_local(now_ms, Some(state));
            changed.push(self.own);
        }
        let meta = &self.meta;
        let own = self.own;
        let is_outdated = |client: &ClientId| {
            *client != own
                && meta
                    .get(client)
                    .is_some_and(|meta| now_ms - meta.updated_ms >= OUTDATED_MS)
        };
        let outdated: Vec<_> = self.states.keys().copied().filter(is_outdated).collect();
        for client in outdated {
            self.states.remove(&client);
            changed.push(client);
        }
        changed
    }

    /// The connection is gone: all others left, as far as this client knows.
    pub(super) fn forget_others(&mut self) -> Vec<ClientId> {
        let own = self.own;
        let others: Vec<_> = self.live().filter(|client| *client != own).collect();
        self.states.retain(|client, _| *client == own);
        others
    }

    /// The clients that are here.
    pub(super) fn live(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.states.keys().copied()
    }

    pub(super) fn own_is_live(&self) -> bool {
        self.states.contains_key(&self.own)
    }

    pub(super) fn encode(&self, clients: &[ClientId]) -> Bytes {
        let list: Vec<_> = clients
            .iter()
            .filter_map(|client| {
                Some(PresenceEntry {
                    client: *client,
                    clock: self.meta.get(client)?.clock,
                    state: self.states.get(client).map(String::as_str),
                })
            })
            .collect();
        encode_entries(list.into_iter())
    }
}
