//! Connections: opening, sending, arriving, breaking.

use bytes::Bytes;

use super::client::Mode;
use super::frames::is_denial;
use super::link::{Down, Link, Up};
use super::node::Item;
use super::violation::Violation;
use super::world::{Event, World};
use crate::engine::SessionId;
use crate::wire::{Message, ywebsocket};

impl World {
    pub(super) fn connect(&mut self, client: usize) {
        if self.clients[client].mode != Mode::Waiting {
            return;
        }
        if !self.node.accepts() {
            return self.retry_later(client);
        }
        let session = SessionId(self.links.len() as u64);
        let link = Link::new(
            client,
            session,
            self.plan.delay_ms,
            self.plan.window_bytes,
            self.plan.outbox_bytes_max,
        );
        let number = self.links.len();
        self.links.push(link);
        self.trace(|| format!("client {client} opens link {number}"));
        self.attach(number);
        self.clients[client].mode = Mode::Open(number);
        self.clients[client].failures = 0;
        for frame in self.clients[client].open_frames() {
            self.send(client, frame);
        }
    }

    /// Sends a frame to the server if the client is connected.
    pub(super) fn send(&mut self, client: usize, frame: Bytes) {
        let Mode::Open(link) = self.clients[client].mode else {
            return;
        };
        let twice = self.plan.unruly && !self.healed && self.rng.percent(15);
        self.put_up(link, Up::Frame(frame.clone()));
        if self.plan.unruly && !self.healed && self.rng.percent(20) {
            self.swap_last(link);
        }
        if twice {
            self.put_up(link, Up::Frame(frame));
        }
    }

    /// Swaps the last two frames in flight if both are edits or presence. What answers a step 1
    /// and what asks for an ack speaks of all that was sent before: it stays where it is.
    fn swap_last(&mut self, link: usize) {
        let up = &mut self.links[link].up;
        let count = up.len();
        if count < 2 {
            return;
        }
        let may_move = |item: &Up| match item {
            Up::Frame(frame) => ywebsocket::messages(frame.clone()).all(|message| {
                matches!(
                    message,
                    Ok(Message::Update { .. } | Message::Presence { .. })
                )
            }),
            Up::Goodbye => false,
        };
        if may_move(&up[count - 1].1) && may_move(&up[count - 2].1) {
            let (first, second) = (up[count - 2].1.clone(), up[count - 1].1.clone());
            up[count - 2].1 = second;
            up[count - 1].1 = first;
        }
    }

    pub(super) fn put_up(&mut self, link: usize, item: Up) {
        let arrives_ms = self.arrival_ms(link);
        let at_ms = self.links[link].send(arrives_ms, item);
        self.queue.at(at_ms, Event::Up(link));
    }

    fn arrival_ms(&mut self, link: usize) -> u64 {
        let (low, high) = self.links[link].delay_ms;
        self.now_ms() + self.rng.between(low, high)
    }

    /// Takes what has arrived at the server's end.
    pub(super) fn arrive_up(&mut self, link: usize) {
        let now_ms = self.now_ms();
        while let Some((at_ms, _)) = self.links[link].up.front()
            && *at_ms <= now_ms
        {
            let Some((_, item)) = self.links[link].up.pop_front() else {
                return;
            };
            if self.links[link].server_closed {
                continue;
            }
            match item {
                Up::Frame(frame) => self.receive_frame(link, frame),
                Up::Goodbye => self.server_notices(link, true),
            }
        }
    }

    fn receive_frame(&mut self, link: usize, frame: Bytes) {
        let session = self.links[link].session;
        // What clients send here is honest; what cannot be read is found by what it breaks.
        for message in ywebsocket::messages(frame).flatten() {
            self.give(Item::Receive(session, message));
        }
    }

    /// Takes what has arrived at the client's end.
    pub(super) fn arrive_down(&mut self, link: usize) -> Result<(), Violation> {
        let now_ms = self.now_ms();
        self.links[link].looks_at_ms = None;
        loop {
            match self.links[link].arrived(now_ms) {
                Ok(item) => {
                    self.deliver(link, item)?;
                    self.write(link);
                }
                Err(Some(again_ms)) => {
                    self.look_at(link, again_ms);
                    return Ok(());
                }
                Err(None) => return Ok(()),
            }
        }
    }

    /// Looks at the client's end of a link at this time; one event at a time is enough.
    fn look_at(&mut self, link: usize, at_ms: u64) {
        let looks_at_ms = &mut self.links[link].looks_at_ms;
        if looks_at_ms.is_none_or(|planned_ms| at_ms < planned_ms) {
            *looks_at_ms = Some(at_ms);
            self.queue.at(at_ms, Event::Down(link));
        }
    }

    fn deliver(&mut self, link: usize, item: Down) -> Result<(), Violation> {
        if self.links[link].client_closed {
            return Ok(());
        }
        let client = self.links[link].client;
        match item {
            Down::Frame(frame) => self.deliver_frame(link, client, &frame),
            Down::Close(reason) => {
                self.links[link].client_closed = true;
                self.be_closed(client, reason)
            }
        }
    }

    fn deliver_frame(
        &mut self,
        link: usize,
        client: usize,
        frame: &Bytes,
    ) -> Result<(), Violation> {
        if is_denial(frame) {
            self.count("denied");
            self.clients[client].record.denied = true;
            if !self.plan.may_deny() {
                return Err(Violation::UnexplainedDenial { client });
            }
        }
        let now_ms = self.now_ms();
        // What still arrives of a deleted epoch is no promise any more.
        let is_current = self.links[link].epoch == self.store.epoch;
        let seen = is_current.then_some(&mut self.seen);
        let said = self.clients[client].receive(now_ms, frame, seen)?;
        for frame in said.back {
            self.send(client, frame);
        }
        self.tell(client, said.all);
        Ok(())
    }

    /// Moves what the server queued onto the wire.
    pub(super) fn write(&mut self, link: usize) {
        let arrives_ms = self.arrival_ms(link);
        if self.links[link].write(arrives_ms) {
            self.look_at(link, arrives_ms);
            if self.links[link].server_closed {
                self.release_session(link, true);
            }
        }
        if self.links[link].take_drained() {
            let session = self.links[link].session;
            self.give(Item::Drained(session));
        }
    }

    /// The connection breaks now; its ends notice later.
    pub(super) fn cut(&mut self, link: usize) {
        if self.links[link].cut {
            return;
        }
        self.trace(|| format!("link {link} is cut"));
        self.links[link].sever();
        let client_ms = self.rng.between(0, 4_000);
        let server_ms = self.rng.between(0, 15_000);
        self.queue.after(client_ms, Event::ClientNotices(link));
        self.queue.after(server_ms, Event::ServerNotices(link));
    }

    pub(super) fn client_notices(&mut self, link: usize) {
        if std::mem::replace(&mut self.links[link].client_closed, true) {
            return;
        }
        let client = self.links[link].client;
        if self.clients[client].mode == Mode::Open(link) {
            self.lose_connection(client);
            self.retry_later(client);
        }
    }

    /// The server's end of a link is over.
    pub(super) fn server_notices(&mut self, link: usize, clean: bool) {
        if std::mem::replace(&mut self.links[link].server_closed, true) {
            return;
        }
        self.release_session(link, clean);
    }
}
