//! Presence of one document: who is here, carried by which sessions, until when.
//!
//! Acceptance follows y-protocols' `awareness.js`: an entry is news when its clock is higher, or
//! equal and it takes a live entry away. y-websocket clients re-send every entry they hear; such
//! an echo is dropped before its JSON is looked at and makes nobody a carrier.
//!
//! Where entries show identities, an entry has an owner, and nobody else speaks for it (`owners`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::types::{NodeId, SessionId};
use crate::ClientId;
use crate::admission::{PresenceEntry, Refusal, encode_entries, entries, is_valid_json};

mod news;
mod nodes;
mod owners;

use news::News;
use nodes::Nodes;
pub(super) use owners::Speaker;

/// How long the clock of a removed entry is remembered, so that a client which comes back with an
/// old clock can be told to raise it. Twice the time after which peers forget it themselves.
const REMOVED_MEMORY_MS: u64 = 60_000;

/// The most entries of a document, removed ones included. 500 editors with a tab each are usual
/// for a large meeting; beyond this, entries are ignored.
const ENTRIES_MAX: usize = 10_000;

/// How deep the JSON of an entry may nest; cursors nest three or four levels.
const NESTING_MAX: usize = 64;

/// Bounds and times, see [`super::ReplicaOptions`].
#[derive(Debug, Clone)]
pub(super) struct PresenceOptions {
    pub(super) timeout_ms: u64,
    pub(super) grace_ms: u64,
    pub(super) entry_bytes_max: usize,
    pub(super) entries_max: usize,
    pub(super) per_second_max: u64,
    pub(super) identity_field: Option<Arc<str>>,
}

/// Who keeps an entry alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Carrier {
    /// A session of this node.
    Session(SessionId),
    /// Another node, by sessions of its own.
    Node(NodeId),
}

#[derive(Debug)]
struct Entry {
    clock: u32,
    /// `None` once it was removed.
    state: Option<Arc<str>>,
    /// The identity that alone may change it, also for as long as a removed entry is remembered.
    owner: Option<Arc<str>>,
    carriers: Vec<Carrier>,
    /// When it was last news.
    heard_ms: u64,
    /// When it is removed although nobody said goodbye: its last carrier's socket broke.
    leaves_ms: Option<u64>,
}

/// What one presence message leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Receipt {
    /// Entries to send back to the sender as they are here.
    pub(super) corrections: Vec<ClientId>,
    /// Entries without news.
    pub(super) echoes: usize,
    /// Changes of entries that belong to another identity.
    pub(super) foreign: usize,
}

/// The presence of one document.
#[derive(Debug)]
pub(super) struct Presence {
    options: PresenceOptions,
    entries: BTreeMap<ClientId, Entry>,
    carried: BTreeMap<Carrier, BTreeSet<ClientId>>,
    /// The entry that a session brought as its own.
    own: BTreeMap<SessionId, ClientId>,
    news: News,
    deadline_ms: u64,
    nodes: Nodes,
}

impl Presence {
    pub(super) fn new(options: PresenceOptions) -> Self {
        Self {
            news: News::new(options.per_second_max),
            options,
            entries: BTreeMap::new(),
            carried: BTreeMap::new(),
            own: BTreeMap::new(),
            deadline_ms: u64::MAX,
            nodes: Nodes::default(),
        }
    }

    /// Takes in a presence message.
    pub(super) fn receive(
        &mut self,
        now_ms: u64,
        speaker: Speaker<'_>,
        update: &Bytes,
    ) -> Result<Receipt, Refusal> {
        let speaker = self.known(speaker);
        let mut receipt = Receipt::default();
        for entry in entries(update)? {
            let entry = entry?;
            match entry.state {
                Some(state) => {
                    self.receive_state(now_ms, speaker, (&entry, state), &mut receipt)?;
                }
                None => self.receive_removal(now_ms, speaker, &entry, &mut receipt),
            }
        }
        Ok(receipt)
    }

    fn receive_state(
        &mut self,
        now_ms: u64,
        speaker: Speaker<'_>,
        (entry, state): (&PresenceEntry<'_>, &str),
        receipt: &mut Receipt,
    ) -> Result<(), Refusal> {
        let client = entry.client;
        let carrier = Carrier::Session(speaker.session);
        let known = self.entries.get(&client);
        let is_news = known.is_none_or(|known| entry.clock > known.clock);
        let is_live = known.is_some_and(|known| known.state.is_some());
        if !is_news && is_live && !speaker.is_first {
            receipt.echoes += 1;
            return Ok(());
        }
        let Ok(owner) = self.owner_after(speaker, client, known) else {
            receipt.foreign += usize::from(is_news);
            receipt.echoes += usize::from(!is_news);
            return Ok(());
        };
        if !is_news {
            self.receive_old(speaker, entry, receipt);
            return Ok(());
        }
        self.check_state(state, self.options.entry_bytes_max)?;
        if !self.entries.contains_key(&client) && self.entries.len() >= ENTRIES_MAX {
            receipt.echoes += 1;
            return Ok(());
        }
        self.carry(carrier, client);
        let carried = self.carried.get(&carrier).map_or(0, BTreeSet::len);
        if carried > self.options.entries_max {
            let bytes_max = self.options.entries_max;
            return Err(Refusal::TooLarge {
                bytes: carried,
                bytes_max,
            });
        }
        self.note_own(speaker, client, owner.as_ref());
        self.set_owner(now_ms, client, owner, carrier);
        self.take_in(now_ms, entry, state);
        self.nodes.tell(client);
        self.news.mark(client, speaker.session);
        Ok(())
    }

    /// An entry that is known with this clock or a higher one: a client that is back, or one that
    /// does not know that it was removed.
    fn receive_old(
        &mut self,
        speaker: Speaker<'_>,
        entry: &PresenceEntry<'_>,
        receipt: &mut Receipt,
    ) {
        let client = entry.client;
        let Some(known) = self.entries.get_mut(&client) else {
            return;
        };
        if known.state.is_some() {
            known.leaves_ms = None;
            let owner = known.owner.clone();
            self.note_own(speaker, client, owner.as_ref());
            self.carry(Carrier::Session(speaker.session), client);
            self.nodes.tell(client);
        } else if entry.clock == known.clock {
            // Peers hold the removal at this clock too: the owner has to raise it.
            receipt.corrections.push(client);
        } else {
            receipt.echoes += 1;
        }
    }

    fn check_state(&self, state: &str, bytes_max: usize) -> Result<(), Refusal> {
        if state.len() > bytes_max {
            return Err(Refusal::TooLarge {
                bytes: state.len(),
                bytes_max,
            });
        }
        if !is_valid_json(state, NESTING_MAX) {
            return Err(Refusal::InvalidJson);
        }
        Ok(())
    }

    fn take_in(&mut self, now_ms: u64, entry: &PresenceEntry<'_>, state: &str) {
        let state = self.signed(entry.client, state);
        let known = self.entry(entry.client);
        known.clock = entry.clock;
        known.state = Some(state);
        known.heard_ms = now_ms;
        known.leaves_ms = None;
        self.deadline_ms = self.deadline_ms.min(now_ms + self.options.timeout_ms);
    }

    /// A `null`: the owner's goodbye, or a peer that believes an entry to be gone.
    fn receive_removal(
        &mut self,
        now_ms: u64,
        speaker: Speaker<'_>,
        entry: &PresenceEntry<'_>,
        receipt: &mut Receipt,
    ) {
        let client = entry.client;
        let (session, own) = (speaker.session, Carrier::Session(speaker.session));
        let known = self.entries.get(&client);
        let Some(known) = known.filter(|it| it.state.is_some() && entry.clock >= it.clock) else {
            receipt.echoes += 1;
            return;
        };
        let raises = entry.clock > known.clock;
        if self.owner_after(speaker, client, Some(known)).is_err() {
            receipt.foreign += usize::from(raises);
            receipt.corrections.push(client);
            return;
        }
        // Only an owner raises the clock of its own goodbye; sibling tabs repeat it unchanged.
        let goodbye = raises && known.carriers.contains(&own);
        let carried_by_others = known.carriers.iter().any(|carrier| *carrier != own);
        if carried_by_others && !goodbye {
            self.put_down(now_ms, own, client);
            receipt.corrections.push(client);
            return;
        }
        if !raises && self.nodes.are_met() {
            // y-websocket says so whenever it disconnects, also to connect to another node at once.
            // Who leaves for good raises its clock, or is gone after the grace time.
            self.put_down(now_ms, own, client);
            return;
        }
        self.entry(client).clock = entry.clock;
        self.remove(now_ms, client);
        self.nodes.tell(client);
        self.news.mark(client, session);
    }

    /// Forgets a session. Entries that nobody else carries leave at once after a goodbye, and
    /// after a grace time when the connection broke. Among several nodes every end of a connection
    /// may be a move to another one, so the grace time always runs there.
    pub(super) fn detach(&mut self, now_ms: u64, session: SessionId, clean: bool) {
        let leaves_at_once = self.options.grace_ms == 0 || clean && !self.nodes.are_met();
        let own = Carrier::Session(session);
        let carried = self.carried.get(&own).cloned().unwrap_or_default();
        for client in carried {
            self.put_down(now_ms, own, client);
            let is_alone = self
                .entries
                .get(&client)
                .is_some_and(|known| known.carriers.is_empty() && known.state.is_some());
            if is_alone && leaves_at_once {
                self.remove(now_ms, client);
                self.nodes.tell(client);
                self.news.mark(client, session);
            }
        }
        self.carried.remove(&own);
        self.own.remove(&session);
    }

    /// A carrier does not carry an entry any longer; who is carried by nobody leaves after the grace
    /// time.
    fn put_down(&mut self, now_ms: u64, carrier: Carrier, client: ClientId) {
        self.drop_carried(carrier, client);
        let Some(known) = self.entries.get_mut(&client) else {
            return;
        };
        known.carriers.retain(|other| *other != carrier);
        if known.state.is_none() {
            return;
        }
        let is_session = |carrier: &Carrier| matches!(carrier, Carrier::Session(_));
        if is_session(&carrier) && !known.carriers.iter().any(is_session) {
            self.nodes.release(client);
        }
        if known.carriers.is_empty() {
            let leaves_ms = now_ms + self.options.grace_ms;
            known.leaves_ms = Some(leaves_ms);
            self.deadline_ms = self.deadline_ms.min(leaves_ms);
        }
    }

    /// Removes what expired or whose grace time is over.
    pub(super) fn tick(&mut self, now_ms: u64) {
        if now_ms < self.deadline_ms {
            return;
        }
        let timeout_ms = self.options.timeout_ms;
        let gone: Vec<ClientId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.state.is_some() && entry.ends_ms(timeout_ms) <= now_ms)
            .map(|(client, _)| *client)
            .collect();
        for client in gone {
            self.remove(now_ms, client);
            self.news.mark_foreign(client);
        }
        self.entries
            .retain(|_, entry| entry.state.is_some() || entry.ends_ms(timeout_ms) > now_ms);
        self.deadline_ms = self
            .entries
            .values()
            .map(|entry| entry.ends_ms(timeout_ms))
            .min()
            .unwrap_or(u64::MAX);
    }

    /// When there is something to do or to tell, in milliseconds; `u64::MAX` for never.
    pub(super) fn deadline_ms(&self) -> u64 {
        let deadline_ms = self.deadline_ms.min(self.nodes.deadline_ms());
        deadline_ms.min(self.news.deadline_ms())
    }

    /// Whether it is time to tell changes.
    pub(super) fn has_news(&self, now_ms: u64) -> bool {
        self.news.deadline_ms() <= now_ms
    }

    /// The changes are told now, to so many sessions; true when the next have to wait because these
    /// came too fast.
    pub(super) fn pace(&mut self, now_ms: u64, sessions: usize) -> bool {
        self.news.pace(now_ms, sessions)
    }

    /// The changes, and their author if there was only one.
    pub(super) fn take_changes(&mut self) -> (Bytes, Option<SessionId>) {
        let (changed, author) = self.news.take();
        (self.encode(changed), author)
    }

    /// Everyone who is here; `None` when nobody is.
    pub(super) fn everyone(&self) -> Option<Bytes> {
        let live: Vec<ClientId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.state.is_some())
            .map(|(client, _)| *client)
            .collect();
        (!live.is_empty()).then(|| self.encode(live))
    }

    /// Everyone who is here or left lately, for a peer that may have missed who left; `None` when
    /// there is nobody to tell of.
    pub(super) fn everyone_and_the_gone(&self) -> Option<Bytes> {
        (!self.entries.is_empty()).then(|| self.encode(self.entries.keys().copied()))
    }

    /// Moves with every change.
    pub(super) fn version(&self) -> u64 {
        self.news.version()
    }

    /// The entries of these clients as they are here.
    pub(super) fn encode(&self, clients: impl IntoIterator<Item = ClientId>) -> Bytes {
        let list: Vec<PresenceEntry<'_>> = clients
            .into_iter()
            .filter_map(|client| {
                let entry = self.entries.get(&client)?;
                Some(PresenceEntry {
                    client,
                    clock: entry.clock,
                    state: entry.state.as_deref(),
                })
            })
            .collect();
        encode_entries(list.into_iter())
    }

    fn entry(&mut self, client: ClientId) -> &mut Entry {
        self.entries.entry(client).or_insert_with(|| Entry {
            clock: 0,
            state: None,
            owner: None,
            carriers: Vec::new(),
            heard_ms: 0,
            leaves_ms: None,
        })
    }

    fn carry(&mut self, carrier: Carrier, client: ClientId) {
        let entry = self.entry(client);
        if !entry.carriers.contains(&carrier) {
            entry.carriers.push(carrier);
        }
        self.carried.entry(carrier).or_default().insert(client);
    }

    fn drop_carried(&mut self, carrier: Carrier, client: ClientId) {
        if let Some(carried) = self.carried.get_mut(&carrier) {
            carried.remove(&client);
        }
    }

    fn remove(&mut self, now_ms: u64, client: ClientId) {
        let Some(entry) = self.entries.get_mut(&client) else {
            return;
        };
        entry.state = None;
        entry.leaves_ms = None;
        entry.heard_ms = now_ms;
        for carrier in std::mem::take(&mut entry.carriers) {
            self.drop_carried(carrier, client);
        }
        self.deadline_ms = self.deadline_ms.min(now_ms + REMOVED_MEMORY_MS);
    }
}

impl Entry {
    /// When this entry is to be removed, or forgotten if it was removed before.
    fn ends_ms(&self, timeout_ms: u64) -> u64 {
        match (&self.state, self.leaves_ms) {
            (None, _) => self.heard_ms + REMOVED_MEMORY_MS,
            (Some(_), None) => self.heard_ms + timeout_ms,
            (Some(_), Some(leaves_ms)) => leaves_ms.min(self.heard_ms + timeout_ms),
        }
    }
}
