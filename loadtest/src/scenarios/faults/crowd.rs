//! All clients of a round: they connect, type, are cut off, come back or leave for good.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fastrand::Rng;

use super::person::{Owed, Person, View};
use crate::bench::RunError;
use crate::cli::Dialect;
use crate::client::connection::{Ended, Replica};
use crate::client::messages::Message;
use crate::client::swarm::{ClientId, Listener, Swarm};
use crate::client::target::Target;
use crate::client::timer::{Clock, seconds_ns};

/// y-websocket gives a connection up after this long without a message.
const SILENCE_NS: u64 = 30_000_000_000;

/// The longest wait for events: edits are due and faults happen in between.
const STEP_NS: u64 = 10_000_000;

/// A way to the documents.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) name: String,
    pub(super) address: SocketAddr,
}

/// What people of a round are like.
#[derive(Debug, Clone)]
pub(super) struct Habits {
    pub(super) lives_max: u32,
    pub(super) rate: f64,
}

/// What happened to connections.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) edits: u64,
    pub(super) acked: u64,
    pub(super) ends: BTreeMap<String, u64>,
    pub(super) denied: BTreeMap<String, u64>,
    /// What must never happen.
    pub(super) faults: Vec<String>,
}

/// Everybody.
#[derive(Debug)]
pub(super) struct Crowd {
    swarm: Swarm,
    clock: Clock,
    dice: Rng,
    rooms: Vec<String>,
    people: Vec<Person>,
    /// Whose connection it is, by its index in the swarm.
    persons: Vec<usize>,
    habits: Habits,
    ways: Vec<Way>,
    next_client: u64,
    is_typing: bool,
    /// What those who left were told.
    pub(super) owed: Vec<Owed>,
    pub(super) notes: Notes,
}

impl Crowd {
    pub(super) fn new(dice: Rng, ways: Vec<Way>, first_client: u64) -> Result<Self, RunError> {
        let clock = Clock::start();
        Ok(Self {
            swarm: Swarm::new(clock)?,
            clock,
            dice,
            rooms: Vec::new(),
            people: Vec::new(),
            persons: Vec::new(),
            habits: Habits {
                lives_max: 1,
                rate: 1.0,
            },
            ways,
            next_client: first_client,
            is_typing: false,
            owed: Vec::new(),
            notes: Notes::default(),
        })
    }

    /// Opens other documents; what was owed for the former ones is settled.
    pub(super) fn move_to(&mut self, rooms: Vec<String>) {
        self.rooms = rooms;
        self.owed.clear();
    }

    /// Lets `writers` people come to each document.
    pub(super) fn gather(&mut self, writers: usize, habits: Habits) {
        self.habits = habits;
        self.is_typing = true;
        for document in 0..self.rooms.len() {
            for writer in 0..writers {
                // Most over the balancer, the first of the ways; the others hold on to a node.
                let way = if writer % 3 == 2 {
                    self.dice.usize(1..self.ways.len())
                } else {
                    0
                };
                let person = self.writer(document, way);
                self.people.push(person);
            }
        }
    }

    fn person(&mut self, document: usize, way: usize) -> Person {
        let way = &self.ways[way];
        self.next_client += 1;
        Person::new(document, way.address, way.name.clone(), self.next_client)
    }

    fn writer(&mut self, document: usize, way: usize) -> Person {
        let now_ns = self.clock.now_ns();
        let mut person = self.person(document, way);
        person.lives = self.dice.u32(1..=self.habits.lives_max);
        person.edit_at_ns = Some(now_ns + self.pause_ns());
        person.connect_at_ns = now_ns;
        person
    }

    /// From one edit to the next: half to one and a half of the mean.
    fn pause_ns(&mut self) -> u64 {
        seconds_ns((0.5 + self.dice.f64()) / self.habits.rate)
    }

    pub(super) fn stop_typing(&mut self) {
        self.is_typing = false;
    }

    /// Adds one that only looks, for each document and each node.
    pub(super) fn add_onlookers(&mut self) {
        for document in 0..self.rooms.len() {
            for way in 1..self.ways.len() {
                let person = self.person(document, way);
                self.people.push(person);
            }
        }
    }

    /// Sends everybody away; what they were told stays owed.
    pub(super) fn disperse(&mut self) {
        let people = std::mem::take(&mut self.people);
        for person in &people {
            self.leave(person);
        }
        self.swarm.clear();
        self.persons.clear();
    }

    fn leave(&mut self, person: &Person) {
        self.notes.edits += person.edits;
        self.notes.acked += person.acked_edits;
        let faults = person.faults.iter();
        self.notes
            .faults
            .extend(faults.map(|fault| format!("{}: {fault}", person.way)));
        self.owed.push(person.owed());
    }

    /// Everything that has to be there, of those who left and those who are here.
    pub(super) fn all_owed(&self) -> impl Iterator<Item = Owed> {
        let here = self.people.iter().map(Person::owed);
        self.owed.iter().cloned().chain(here)
    }

    pub(super) fn people(&self) -> &[Person] {
        &self.people
    }

    pub(super) fn rooms(&self) -> &[String] {
        &self.rooms
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Everybody is connected and has nothing that is not acknowledged.
    pub(super) fn is_at_rest(&self) -> bool {
        self.people
            .iter()
            .all(|person| person.is_synced() && person.is_acked())
    }

    /// What people of a document see, with the way each is connected.
    pub(super) fn views(&self, document: usize) -> Vec<(&str, View)> {
        let people = self.people.iter();
        people
            .filter(|person| person.document == document)
            .map(|person| (person.way.as_str(), person.view()))
            .collect()
    }

    /// Connects whoever is due, edits what is due, and handles what arrives within a moment.
    pub(super) fn step(&mut self) -> Result<(), RunError> {
        let now_ns = self.clock.now_ns();
        for at in 0..self.people.len() {
            self.connect(at, now_ns)?;
            self.edit(at, now_ns);
        }
        let mut mailbox = Mailbox::default();
        self.swarm.turn(now_ns + STEP_NS, &mut mailbox)?;
        for (client, happened) in mailbox.0 {
            self.handle(client, happened);
        }
        Ok(())
    }

    fn connect(&mut self, at: usize, now_ns: u64) -> Result<(), RunError> {
        let person = &mut self.people[at];
        if let Some(connection) = person.connection {
            if now_ns.saturating_sub(person.heard_at_ns) > SILENCE_NS {
                self.swarm.close(connection);
                self.end(at, "silence for 30 s".to_owned());
            }
            return Ok(());
        }
        if person.connect_at_ns > now_ns {
            return Ok(());
        }
        let target = Target::parse(&format!("ws://{}/ws", person.address), Dialect::YWebsocket)?;
        let replica = Replica {
            vector: person.vector(),
            update: None,
        };
        let opening = target.opening(&self.rooms[person.document]);
        match self.swarm.connect(target.address, opening, replica) {
            Ok(connection) => {
                person.begin(connection, now_ns);
                self.persons.push(at);
            }
            Err(error) => self.end(at, format!("no connection: {}", error.kind())),
        }
        Ok(())
    }

    fn edit(&mut self, at: usize, now_ns: u64) {
        let person = &self.people[at];
        if !self.is_typing || person.edit_at_ns.is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        let pause_ns = self.pause_ns();
        let person = &mut self.people[at];
        person.edit_at_ns = Some(now_ns + pause_ns);
        let connection = person.connection;
        let open = connection.filter(|it| self.swarm.client(*it).is_open());
        let frames = person.edit(open.is_some(), &mut self.dice);
        self.write(open, &frames);
    }

    fn write(&mut self, connection: Option<ClientId>, frames: &[u8]) {
        let mut mailbox = Mailbox::default();
        if let Some(connection) = connection.filter(|_| !frames.is_empty()) {
            self.swarm.write(connection, frames, &mut mailbox);
        }
        for (client, happened) in mailbox.0 {
            self.handle(client, happened);
        }
    }

    fn handle(&mut self, client: ClientId, happened: Happened) {
        let at = self.persons[client];
        let now_ns = self.clock.now_ns();
        let person = &mut self.people[at];
        // A connection that was given up may still end.
        if person.connection != Some(client) {
            return;
        }
        person.heard_at_ns = now_ns;
        match happened {
            Happened::Step1(vector) => {
                let frames = person.answer(&vector);
                self.write(Some(client), &frames);
            }
            Happened::Step2(update) => person.apply(&update, true),
            Happened::Update(update) => person.apply(&update, false),
            Happened::Saved(version) => person.saved(version),
            Happened::Denied(why) => *self.notes.denied.entry(why).or_default() += 1,
            Happened::Other => {}
            Happened::Ended(why) => {
                if let Ended::Protocol(what) = &why {
                    self.notes.faults.push(format!("{}: {what}", person.way));
                }
                self.end(at, why.to_string());
            }
        }
    }

    fn end(&mut self, at: usize, why: String) {
        *self.notes.ends.entry(why).or_default() += 1;
        let now_ns = self.clock.now_ns();
        let comes_back = self.people[at].ended(now_ns, &mut self.dice);
        if comes_back {
            return;
        }
        // Somebody else takes the place, by another way perhaps.
        let (document, is_over_balancer) = {
            let person = &self.people[at];
            (person.document, person.address == self.ways[0].address)
        };
        let way = if is_over_balancer {
            0
        } else {
            self.dice.usize(1..self.ways.len())
        };
        let mut next = self.writer(document, way);
        next.connect_at_ns = self.people[at].connect_at_ns;
        let former = std::mem::replace(&mut self.people[at], next);
        self.leave(&former);
    }
}

/// What arrived in one turn, handled after it.
#[derive(Debug, Default)]
struct Mailbox(Vec<(ClientId, Happened)>);

#[derive(Debug)]
enum Happened {
    Step1(Vec<u8>),
    Step2(Vec<u8>),
    Update(Vec<u8>),
    Saved(u64),
    Denied(String),
    Other,
    Ended(Ended),
}

impl Listener for Mailbox {
    fn message(&mut self, client: ClientId, message: Message<'_>, _now_ns: u64) {
        let happened = match message {
            Message::Step1(vector) => Happened::Step1(vector.to_vec()),
            Message::Step2(update) => Happened::Step2(update.to_vec()),
            Message::Update(update) => Happened::Update(update.to_vec()),
            Message::Saved(version) => Happened::Saved(version),
            Message::Denied(why) => Happened::Denied(String::from_utf8_lossy(why).into_owned()),
            Message::Presence(_) | Message::Other => Happened::Other,
        };
        self.0.push((client, happened));
    }

    fn ended(&mut self, client: ClientId, why: Ended) {
        self.0.push((client, Happened::Ended(why)));
    }
}
