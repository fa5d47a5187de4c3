//! All clients on one thread: one poll, one alarm, one read buffer.

use std::io::ErrorKind;
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Ended, Replica, Traffic};
use super::messages::Message;
use super::target::Opening;
use super::timer::{Alarm, Clock};

/// Events taken from the poll at once.
const EVENTS_AT_ONCE: usize = 1024;
/// Enough for any number of merged frames; one buffer serves all clients.
const READ_BUFFER_BYTES: usize = 256 * 1024;
const ALARM: Token = Token(usize::MAX);

/// A client by its index in the swarm.
pub(crate) type ClientId = usize;

/// What a scenario hears of its clients. Clients join by themselves (step 1, answer to step 1).
pub(crate) trait Listener {
    /// A message arrived; `now_ns` is when its last bytes were read.
    fn message(&mut self, client: ClientId, message: Message<'_>, now_ns: u64);
    /// A connection ended, other than by [`Swarm::clear`].
    fn ended(&mut self, client: ClientId, why: Ended);
}

/// Clients of one server.
#[derive(Debug)]
pub(crate) struct Swarm {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    clock: Clock,
    clients: Vec<Connection>,
    buffer: Vec<u8>,
    traffic: Traffic,
    synced: usize,
    first_end: Option<Ended>,
}

impl Swarm {
    pub(crate) fn new(clock: Clock) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            alarm,
            clock,
            clients: Vec::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            traffic: Traffic::default(),
            synced: 0,
            first_end: None,
        })
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How many clients got their first step 2.
    pub(crate) fn synced(&self) -> usize {
        self.synced
    }

    /// Why the first client ended that the server or the network cut off.
    pub(crate) fn first_end(&self) -> Option<&Ended> {
        self.first_end.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn client(&self, id: ClientId) -> &Connection {
        &self.clients[id]
    }

    /// Starts to connect one more client with `request` as its upgrade.
    pub(crate) fn connect(
        &mut self,
        address: SocketAddr,
        opening: Opening,
        replica: Replica,
    ) -> std::io::Result<ClientId> {
        let id = self.clients.len();
        let mut stream = TcpStream::connect(address)?;
        // As browsers and `ws` do. Without it an edit waits for the acknowledgement of the one before,
        // which a server that answers puts off until its answer.
        stream.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(id), interest)?;
        self.clients.push(Connection::new(stream, opening, replica));
        Ok(id)
    }

    /// Writes whole frames to a client's server; `listener` hears if that fails.
    #[inline]
    pub(crate) fn write(&mut self, id: ClientId, frames: &[u8], listener: &mut impl Listener) {
        let client = &mut self.clients[id];
        if client.has_ended() {
            return;
        }
        if let Err(why) = client.write(frames) {
            self.end(id, why, listener);
        }
    }

    /// Ends a client's connection, without a word, as a closed tab does.
    pub(crate) fn close(&mut self, id: ClientId) {
        self.clients[id].end();
    }

    /// Stops a client from reading.
    pub(crate) fn pause(&mut self, id: ClientId) {
        self.clients[id].is_paused = true;
    }

    /// Lets a client read again.
    pub(crate) fn resume(&mut self, id: ClientId, listener: &mut impl Listener) {
        self.clients[id].is_paused = false;
        self.read(id, listener);
    }

    /// Drops all clients.
    pub(crate) fn clear(&mut self) {
        self.clients.clear();
        self.synced = 0;
        self.first_end = None;
    }

    /// Waits for events, at the longest until `deadline_ns`, and handles those there are.
    pub(crate) fn turn(
        &mut self,
        deadline_ns: u64,
        listener: &mut impl Listener,
    ) -> std::io::Result<()> {
        let wait = if deadline_ns <= self.clock.now_ns() {
            Some(std::time::Duration::ZERO)
        } else {
            self.alarm.set(self.clock, deadline_ns)?;
            None
        };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, wait);
        match polled {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(()) => {
                for event in &events {
                    if event.token() == ALARM {
                        self.alarm.clear();
                        continue;
                    }
                    if event.is_writable() {
                        self.flush(event.token().0, listener);
                    }
                    if event.is_readable() {
                        self.read(event.token().0, listener);
                    }
                }
            }
        }
        self.events = events;
        Ok(())
    }

    fn flush(&mut self, id: ClientId, listener: &mut impl Listener) {
        let client = &mut self.clients[id];
        if client.has_ended() || client.backlog() == 0 {
            return;
        }
        if let Err(why) = client.flush() {
            self.end(id, why, listener);
        }
    }

    fn read(&mut self, id: ClientId, listener: &mut impl Listener) {
        let client = &mut self.clients[id];
        if client.has_ended() || client.is_paused {
            return;
        }
        let clock = self.clock;
        let was_synced = client.is_synced();
        let read = client.read(
            &mut self.buffer,
            clock,
            &mut self.traffic,
            &mut |message, now_ns| listener.message(id, message, now_ns),
        );
        if client.is_synced() && !was_synced {
            self.synced += 1;
        }
        if let Err(why) = read {
            self.end(id, why, listener);
        }
    }

    fn end(&mut self, id: ClientId, why: Ended, listener: &mut impl Listener) {
        self.clients[id].end();
        self.first_end.get_or_insert_with(|| why.clone());
        listener.ended(id, why);
    }
}
