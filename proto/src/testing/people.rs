//! What clients and their users do: edit, show themselves, come and go.

use bytes::Bytes;

use super::client::{Client, Mode};
use super::link::Up;
use super::violation::Violation;
use super::world::{Event, World};
use crate::engine::CloseReason;

/// How long a message between tabs of one browser takes.
const SIBLING_DELAY_MS: u64 = 2;

/// y-websocket: the first retry comes after 100 ms, each further one after twice the time, up to
/// `maxBackoffTime`.
const BACKOFF_MS: u64 = 100;
const BACKOFF_MAX_MS: u64 = 2_500;

impl World {
    /// Opens a tab that connects after a while.
    pub(super) fn add_client(&mut self, wait_ms: u64) {
        let name = self.clients.len();
        let own = match self.rng.below(3) {
            0 => name as u64 + 1,
            1 => (self.rng.below(1 << 24) << 8) + name as u64,
            _ => (self.rng.below(1 << 45) << 8) + name as u64,
        };
        let groups = self.plan.groups as u64;
        let is_sibling = groups > 0 && self.rng.percent(70);
        let group = is_sibling.then(|| self.rng.below(groups) as usize);
        let mut client = Client::new(name, own, group);
        client.show(0, true);
        if self.rng.percent(80) {
            client.show(0, true);
        }
        client.mode = Mode::Waiting;
        let greeting = client.greeting();
        self.clients.push(client);
        self.trace(|| format!("client {name} is {own}, group {group:?}"));
        for frame in greeting {
            self.publish(name, &frame);
        }
        let half = self.plan.edit_every_ms / 2;
        let edit_ms = wait_ms / 2 + self.rng.between(half, half * 4);
        self.queue.after(edit_ms, Event::Edit(name));
        self.queue.after(wait_ms, Event::Connect(name));
        self.queue.after(wait_ms + 3_000, Event::Tick(name));
    }

    pub(super) fn edit(&mut self, client: usize) {
        if self.healed || self.clients[client].mode == Mode::Gone {
            return;
        }
        let burst = if self.rng.percent(10) { 8 } else { 1 };
        for _ in 0..burst {
            let frames = self.clients[client].edit(&mut self.rng);
            self.tell(client, frames);
        }
        self.count("edits");
        if self.rng.percent(60) {
            let probe = self.clients[client].probe();
            self.send(client, probe);
        }
        if self.rng.percent(15) {
            let now_ms = self.now_ms();
            let frame = self.clients[client].show(now_ms, true);
            self.tell(client, vec![frame]);
        }
        let every_ms = self.plan.edit_every_ms;
        let wait_ms = self.rng.between(every_ms / 2, every_ms * 2);
        self.queue.after(wait_ms, Event::Edit(client));
    }

    pub(super) fn tick(&mut self, client: usize) {
        if self.clients[client].mode == Mode::Gone {
            return;
        }
        let now_ms = self.now_ms();
        let changed = self.clients[client].awareness.tick(now_ms);
        if !changed.is_empty() {
            let frame = self.clients[client].presence_of(&changed);
            self.tell(client, vec![frame]);
        }
    }

    /// Says something to the server, if connected, and to sibling tabs.
    pub(super) fn tell(&mut self, client: usize, frames: Vec<Bytes>) {
        for frame in frames {
            self.publish(client, &frame);
            self.send(client, frame);
        }
    }

    /// Says something to the sibling tabs.
    pub(super) fn publish(&mut self, client: usize, frame: &Bytes) {
        let Some(group) = self.clients[client].group else {
            return;
        };
        for sibling in 0..self.clients.len() {
            let other = &self.clients[sibling];
            if sibling != client && other.group == Some(group) && other.mode != Mode::Gone {
                let event = Event::Sibling(sibling, frame.clone());
                self.queue.after(SIBLING_DELAY_MS, event);
            }
        }
    }

    pub(super) fn hear_sibling(&mut self, client: usize, frame: &Bytes) -> Result<(), Violation> {
        if self.clients[client].mode == Mode::Gone || self.clients[client].group.is_none() {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let said = self.clients[client].receive(now_ms, frame, None)?;
        for frame in said.back {
            self.publish(client, &frame);
        }
        self.tell(client, said.all);
        Ok(())
    }

    /// The tab is closed, with a goodbye or without.
    pub(super) fn leave(&mut self, client: usize, says_goodbye: bool) {
        self.trace(|| format!("client {client} leaves, goodbye: {says_goodbye}"));
        let mode = self.clients[client].mode;
        if says_goodbye {
            let now_ms = self.now_ms();
            let frame = self.clients[client].show(now_ms, false);
            self.tell(client, vec![frame]);
        }
        if let Mode::Open(link) = mode {
            if says_goodbye {
                self.put_up(link, Up::Goodbye);
                self.links[link].client_closed = true;
            } else {
                self.cut(link);
            }
        }
        self.clients[client].mode = Mode::Gone;
    }

    /// The network is gone, or is closed in good order; it comes back after a while.
    pub(super) fn go_offline(&mut self, client: usize, in_order: bool, for_ms: u64) {
        self.trace(|| format!("client {client} is offline for {for_ms} ms, in order: {in_order}"));
        if let Mode::Open(link) = self.clients[client].mode {
            if in_order {
                self.put_up(link, Up::Goodbye);
                self.links[link].client_closed = true;
            } else {
                self.cut(link);
            }
            self.lose_connection(client);
        }
        self.clients[client].mode = Mode::Offline;
        self.queue.after(for_ms, Event::Online(client));
    }

    pub(super) fn come_online(&mut self, client: usize) {
        if self.clients[client].mode == Mode::Offline {
            self.clients[client].mode = Mode::Waiting;
            self.clients[client].failures = 0;
            self.queue.after(0, Event::Connect(client));
        }
    }

    /// What a provider does when its connection is gone.
    pub(super) fn lose_connection(&mut self, client: usize) {
        self.clients[client].mode = Mode::Waiting;
        let others = self.clients[client].awareness.forget_others();
        if !others.is_empty() {
            let frame = self.clients[client].presence_of(&others);
            self.publish(client, &frame);
        }
    }

    pub(super) fn retry_later(&mut self, client: usize) {
        let failures = self.clients[client].failures.min(10);
        self.clients[client].failures += 1;
        let wait_ms = (BACKOFF_MS << failures).min(BACKOFF_MAX_MS);
        let jitter_ms = self.rng.below(wait_ms);
        self.queue
            .after(wait_ms + jitter_ms, Event::Connect(client));
    }

    /// The server ended the session for this reason.
    pub(super) fn be_closed(
        &mut self,
        client: usize,
        reason: CloseReason,
    ) -> Result<(), Violation> {
        self.trace(|| format!("client {client} is closed: {reason:?}"));
        self.count(reason.label());
        self.lose_connection(client);
        match reason {
            CloseReason::Deleted if self.store.tombstone().is_some() => {
                // The app throws the old document away and, perhaps, opens the new one.
                self.clients[client].mode = Mode::Gone;
                self.clients[client].record.deleted = true;
                if self.rng.percent(70) {
                    self.add_client(50);
                    if let Some(fresh) = self.clients.last_mut() {
                        fresh.group = None;
                    }
                }
                Ok(())
            }
            CloseReason::StoreFull if self.node.was_full => {
                self.retry_later(client);
                Ok(())
            }
            _ => Err(Violation::UnexplainedClose { client, reason }),
        }
    }
}
