//! Presence among nodes: each tells the others whom its own sessions carry, and each removes for itself.
//!
//! A client that moves to another node is carried by both for a moment, then by the new one: it never
//! vanishes. An entry that neither a session nor a node carries leaves after the grace time, on every
//! node by itself, so that no message is needed for it and none can be lost.
//!
//! Owners travel beside the entries, and each node writes them into states by itself: what a node that
//! does not know them passes on shows no identity here, whatever its clients wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::{Carrier, ENTRIES_MAX, Presence};
use crate::ClientId;
use crate::admission::{PresenceEntry, Refusal, encode_entries, entries};
use crate::engine::types::{NodeId, NodePresence, SessionId};

/// The least time between two messages to other nodes: cursors of a turn or two travel together, and
/// nobody sees the difference.
const TELL_EVERY_MS: u64 = 10;

/// What an identity may add to a state on its way: the largest one, its name and, as JSON, each of its
/// bytes in six.
const SIGNED_BYTES_MAX: usize = 2 << 10;

/// Nodes whose messages are kept in order; a cluster has some, and what is beyond is ignored.
const NODES_MAX: usize = 1_024;

/// What other nodes know, and are to be told.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Others may be there.
    are_met: bool,
    /// The number of the last message of each.
    heard: BTreeMap<NodeId, u64>,
    /// Entries that changed here.
    changed: BTreeSet<ClientId>,
    /// Entries that no session of this node carries any longer.
    released: BTreeSet<ClientId>,
    /// Everything is to be told.
    is_whole: bool,
    /// Others are to tell everything.
    asks: bool,
    /// When the next message may leave.
    tell_at_ms: u64,
}

impl Nodes {
    pub(super) fn are_met(&self) -> bool {
        self.are_met
    }

    /// An entry changed by what a session said.
    pub(super) fn tell(&mut self, client: ClientId) {
        if self.are_met {
            self.released.remove(&client);
            self.changed.insert(client);
        }
    }

    /// The last session that carried an entry is gone.
    pub(super) fn release(&mut self, client: ClientId) {
        if self.are_met {
            self.changed.remove(&client);
            self.released.insert(client);
        }
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        if self.has_news() {
            self.tell_at_ms
        } else {
            u64::MAX
        }
    }

    fn has_news(&self) -> bool {
        self.is_whole || self.asks || !self.changed.is_empty() || !self.released.is_empty()
    }
}

impl Presence {
    /// Other nodes may be there that know nothing, or may have told what was not heard.
    pub(in super::super) fn meet_nodes(&mut self) {
        self.nodes.are_met = true;
        self.nodes.is_whole = true;
        self.nodes.asks = true;
    }

    /// What other nodes have to know, if there is any and it is time.
    pub(in super::super) fn take_node_message(&mut self, now_ms: u64) -> Option<NodePresence> {
        if !self.nodes.has_news() || now_ms < self.nodes.tell_at_ms {
            return None;
        }
        self.nodes.tell_at_ms = now_ms + TELL_EVERY_MS;
        let changed = std::mem::take(&mut self.nodes.changed);
        let released = std::mem::take(&mut self.nodes.released);
        let is_whole = std::mem::take(&mut self.nodes.is_whole);
        let mut told = changed;
        if is_whole {
            told.extend(self.carried_here());
        }
        let owner = |client: &ClientId| {
            let owner = self.entries.get(client)?.owner.clone()?;
            Some((*client, owner))
        };
        Some(NodePresence {
            is_whole,
            asks: std::mem::take(&mut self.nodes.asks),
            owners: told.iter().filter_map(owner).collect(),
            entries: self.encode(told),
            released: released.into_iter().collect(),
        })
    }

    /// Clients that sessions of this node carry.
    fn carried_here(&self) -> impl Iterator<Item = ClientId> {
        let sessions = self
            .carried
            .iter()
            .filter_map(|(carrier, clients)| match carrier {
                Carrier::Session(_) => Some(clients),
                Carrier::Node(_) => None,
            });
        sessions.flatten().copied()
    }

    /// Takes in what another node told. Returns sessions whose clients have to raise their clocks,
    /// with an entry for each that makes them do so.
    ///
    /// # Errors
    /// When the entries cannot be read; what came before the broken one stands.
    pub(in super::super) fn hear_node(
        &mut self,
        now_ms: u64,
        node: NodeId,
        number: u64,
        told: &NodePresence,
    ) -> Result<Vec<(SessionId, Bytes)>, Refusal> {
        if !self.is_newer(node, number) {
            return Ok(Vec::new());
        }
        self.nodes.are_met = true;
        self.nodes.is_whole |= told.asks;
        let carrier = Carrier::Node(node);
        let owners = self.told_owners(told);
        let mut missing = BTreeSet::new();
        if told.is_whole {
            missing = self.carried.get(&carrier).cloned().unwrap_or_default();
        }
        let mut raises = Vec::new();
        for entry in entries(&told.entries)? {
            let entry = entry?;
            missing.remove(&entry.client);
            let owner = owners.get(&entry.client).copied();
            match entry.state {
                Some(state) => self.hear_state(now_ms, node, (&entry, state), owner)?,
                None => raises.extend(self.hear_removal(now_ms, node, &entry, owner)),
            }
        }
        missing.extend(told.released.iter().copied());
        for client in missing {
            self.put_down(now_ms, carrier, client);
        }
        Ok(raises)
    }

    /// A node is gone: what only it carried leaves after the grace time.
    pub(in super::super) fn lose_node(&mut self, now_ms: u64, node: NodeId) {
        self.nodes.heard.remove(&node);
        let carrier = Carrier::Node(node);
        for client in self.carried.get(&carrier).cloned().unwrap_or_default() {
            self.put_down(now_ms, carrier, client);
        }
        self.carried.remove(&carrier);
    }

    /// Messages may come twice and late: only newer ones count.
    fn is_newer(&mut self, node: NodeId, number: u64) -> bool {
        let heard = &mut self.nodes.heard;
        if heard.get(&node).is_some_and(|last| *last >= number)
            || !heard.contains_key(&node) && heard.len() >= NODES_MAX
        {
            return false;
        }
        heard.insert(node, number);
        true
    }

    /// The owners that a node told, where this one shows them.
    fn told_owners<'a>(&self, told: &'a NodePresence) -> BTreeMap<ClientId, &'a Arc<str>> {
        let owners = told.owners.iter().map(|(client, owner)| (*client, owner));
        match self.options.identity_field {
            Some(_) => owners.collect(),
            None => BTreeMap::new(),
        }
    }

    fn hear_state(
        &mut self,
        now_ms: u64,
        node: NodeId,
        (entry, state): (&PresenceEntry<'_>, &str),
        owner: Option<&Arc<str>>,
    ) -> Result<(), Refusal> {
        let client = entry.client;
        let carrier = Carrier::Node(node);
        let has_room = self.entries.len() < ENTRIES_MAX;
        let Some(known) = self.entries.get_mut(&client) else {
            return match has_room {
                true => self.hear_news(now_ms, carrier, (entry, state), owner),
                false => Ok(()),
            };
        };
        if known.is_anothers(owner) {
            return Ok(());
        }
        let is_live = known.state.is_some();
        let is_claimed = is_live && known.owner.as_ref() != owner;
        if entry.clock > known.clock || entry.clock == known.clock && is_claimed {
            return self.hear_news(now_ms, carrier, (entry, state), owner);
        }
        if entry.clock == known.clock && is_live {
            known.leaves_ms = None;
            known.heard_ms = now_ms;
            self.carry(carrier, client);
        } else if entry.clock == known.clock {
            // Peers here hold the removal at this clock: the client over there has to raise it.
            self.nodes.tell(client);
        }
        Ok(())
    }

    fn hear_news(
        &mut self,
        now_ms: u64,
        carrier: Carrier,
        (entry, state): (&PresenceEntry<'_>, &str),
        owner: Option<&Arc<str>>,
    ) -> Result<(), Refusal> {
        self.check_state(state, self.options.entry_bytes_max + SIGNED_BYTES_MAX)?;
        self.carry(carrier, entry.client);
        self.set_owner(now_ms, entry.client, owner.cloned(), carrier);
        self.take_in(now_ms, entry, state);
        self.news.mark_foreign(entry.client);
        Ok(())
    }

    fn hear_removal(
        &mut self,
        now_ms: u64,
        node: NodeId,
        entry: &PresenceEntry<'_>,
        owner: Option<&Arc<str>>,
    ) -> Vec<(SessionId, Bytes)> {
        let client = entry.client;
        let Some(known) = self.entries.get_mut(&client) else {
            return Vec::new();
        };
        let is_anothers = known.is_anothers(owner);
        if entry.clock < known.clock || is_anothers && entry.clock > known.clock {
            return Vec::new();
        }
        if known.state.is_none() {
            known.clock = entry.clock;
            return Vec::new();
        }
        if entry.clock == known.clock {
            self.put_down(now_ms, Carrier::Node(node), client);
            let raises = self.raises(client, entry.clock);
            let is_carried = self
                .entries
                .get(&client)
                .is_some_and(|it| !it.carriers.is_empty());
            if is_carried || is_anothers {
                return raises;
            }
        }
        self.entry(client).clock = entry.clock;
        self.remove(now_ms, client);
        self.news.mark_foreign(client);
        Vec::new()
    }

    /// A removal for each session that carries a client: the client's own answer to it is a higher
    /// clock (y-protocols `applyAwarenessUpdate`).
    fn raises(&self, client: ClientId, clock: u32) -> Vec<(SessionId, Bytes)> {
        let carriers = self.entries.get(&client).map_or(&[][..], |it| &it.carriers);
        let gone = [PresenceEntry {
            client,
            clock,
            state: None,
        }];
        carriers
            .iter()
            .filter_map(|carrier| match carrier {
                Carrier::Session(session) => Some((*session, encode_entries(gone.into_iter()))),
                Carrier::Node(_) => None,
            })
            .collect()
    }
}
