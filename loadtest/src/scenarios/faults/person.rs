//! One client with a document of its own, with the manners of the y-websocket provider.

use std::collections::VecDeque;
use std::net::SocketAddr;

use fastrand::Rng;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{ClientID, Doc, GetString, OffsetKind, Options, ReadTxn, StateVector, Text, TextRef};
use yrs::{Transact, Update};

use crate::client::messages::{push_save_probe, push_step2, push_update};
use crate::client::swarm::ClientId;
use crate::client::timer::seconds_ns;
use crate::client::update::{Run, for_each_deletion, for_each_run};

/// The wait before connecting again doubles between these, as that of y-websocket.
const RETRY_MIN_SECONDS: f64 = 0.1;
const RETRY_MAX_SECONDS: f64 = 2.5;

/// Texts are cut rather than grown beyond this, so that long runs stay small.
const LENGTH_MAX: u32 = 2_000;

/// What a person was told is saved, and has to be there ever after.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    pub(super) document: usize,
    pub(super) client: u64,
    /// Its own edits below this clock.
    pub(super) clock: u64,
    /// What it deleted.
    pub(super) deletions: Vec<Run>,
}

/// A question whether everything so far is saved.
#[derive(Debug, Clone, Copy)]
struct Probe {
    version: u64,
    clock: u64,
    deletions: usize,
    edits: u64,
}

/// What a document holds: the same for two that agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) text: String,
    pub(super) vector: Vec<(u64, u64)>,
    pub(super) is_pending: bool,
}

/// A client: its document, its connection, and what it was told.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) document: usize,
    pub(super) address: SocketAddr,
    /// Where it connects to, for people.
    pub(super) way: String,
    pub(super) connection: Option<ClientId>,
    pub(super) connect_at_ns: u64,
    pub(super) heard_at_ns: u64,
    /// When it edits next; never for those who only read.
    pub(super) edit_at_ns: Option<u64>,
    /// Connections it will still make; then it leaves for good and takes its text along.
    pub(super) lives: u32,
    client: u64,
    doc: Doc,
    text: TextRef,
    own_clock: u64,
    own_deletions: Vec<Run>,
    probes: VecDeque<Probe>,
    next_version: u64,
    /// The server's step 1 was answered on this connection: it has all that is here.
    has_answered: bool,
    /// The server's step 2 arrived on this connection.
    has_synced: bool,
    acked_clock: u64,
    acked_deletions: usize,
    pub(super) acked_edits: u64,
    retries: i32,
    pub(super) edits: u64,
    /// What arrived and could not be applied.
    pub(super) faults: Vec<String>,
}

impl Person {
    pub(super) fn new(document: usize, address: SocketAddr, way: String, client: u64) -> Self {
        let doc = Doc::with_options(Options {
            client_id: ClientID::new(client),
            offset_kind: OffsetKind::Utf16,
            ..Options::default()
        });
        let text = doc.get_or_insert_text("t");
        Self {
            document,
            address,
            way,
            connection: None,
            connect_at_ns: 0,
            heard_at_ns: 0,
            edit_at_ns: None,
            lives: u32::MAX,
            client,
            doc,
            text,
            own_clock: 0,
            own_deletions: Vec::new(),
            probes: VecDeque::new(),
            next_version: 1,
            has_answered: false,
            has_synced: false,
            acked_clock: 0,
            acked_deletions: 0,
            acked_edits: 0,
            retries: 0,
            edits: 0,
            faults: Vec::new(),
        }
    }

    /// Its state vector, for step 1.
    pub(super) fn vector(&self) -> Vec<u8> {
        self.doc.transact().state_vector().encode_v1()
    }

    /// A new connection begins.
    pub(super) fn begin(&mut self, connection: ClientId, now_ns: u64) {
        self.connection = Some(connection);
        self.heard_at_ns = now_ns;
        self.has_answered = false;
        self.has_synced = false;
        self.probes.clear();
        self.lives -= 1;
    }

    /// The connection is gone; returns whether it comes back.
    pub(super) fn ended(&mut self, now_ns: u64, dice: &mut Rng) -> bool {
        self.connection = None;
        self.has_answered = false;
        self.has_synced = false;
        self.probes.clear();
        let wait = (RETRY_MIN_SECONDS * 2f64.powi(self.retries)).min(RETRY_MAX_SECONDS);
        self.retries = (self.retries + 1).min(8);
        self.connect_at_ns = now_ns + seconds_ns(wait * (0.5 + dice.f64() / 2.0));
        self.lives > 0
    }

    /// Makes one edit and writes the frames that tell of it, if `is_open`.
    pub(super) fn edit(&mut self, is_open: bool, dice: &mut Rng) -> Vec<u8> {
        let update = {
            let mut txn = self.doc.transact_mut();
            let length = self.text.len(&txn);
            let at = dice.u32(..=length);
            if length > LENGTH_MAX || (length > 20 && dice.u8(..5) == 0) {
                let at = at.min(length - 3);
                self.text.remove_range(&mut txn, at, dice.u32(1..=3));
            } else {
                let letter = dice.lowercase();
                self.text.insert(&mut txn, at, &letter.to_string());
            }
            txn.encode_update_v1()
        };
        self.edits += 1;
        self.note_own(&update);
        let mut frames = Vec::new();
        if is_open {
            push_update(&mut frames, &update);
            self.ask(&mut frames);
        }
        frames
    }

    fn note_own(&mut self, update: &[u8]) {
        let client = self.client;
        let mut clock = self.own_clock;
        // Our own update can be read.
        if let Ok(rest) = for_each_run(update, |run| {
            if run.client == client {
                clock = clock.max(run.start + run.length);
            }
        }) {
            let deletions = &mut self.own_deletions;
            let _ = for_each_deletion(rest, |run| deletions.push(run));
        }
        self.own_clock = clock;
    }

    /// Asks whether everything so far is saved, once the server has been given everything.
    fn ask(&mut self, frames: &mut Vec<u8>) {
        if !self.has_answered || self.is_acked() {
            return;
        }
        let probe = Probe {
            version: self.next_version,
            clock: self.own_clock,
            deletions: self.own_deletions.len(),
            edits: self.edits,
        };
        self.next_version += 1;
        self.probes.push_back(probe);
        push_save_probe(frames, probe.version);
    }

    /// Answers the server's step 1 with all that it lacks.
    pub(super) fn answer(&mut self, vector: &[u8]) -> Vec<u8> {
        let vector = match StateVector::decode_v1(vector) {
            Ok(vector) => vector,
            Err(error) => {
                self.faults.push(format!("an unreadable vector: {error}"));
                return Vec::new();
            }
        };
        let update = self.doc.transact().encode_state_as_update_v1(&vector);
        let mut frames = Vec::new();
        push_step2(&mut frames, &update);
        self.has_answered = true;
        self.ask(&mut frames);
        frames
    }

    /// Takes in what others made.
    pub(super) fn apply(&mut self, update: &[u8], is_step2: bool) {
        let applied = Update::decode_v1(update)
            .map_err(|error| error.to_string())
            .and_then(|update| {
                let mut txn = self.doc.transact_mut();
                txn.apply_update(update).map_err(|error| error.to_string())
            });
        if let Err(error) = applied {
            self.faults.push(format!("an update: {error}"));
        }
        if is_step2 {
            self.has_synced = true;
            self.retries = 0;
        }
    }

    /// The server says that all before a question is saved.
    pub(super) fn saved(&mut self, version: u64) {
        while let Some(probe) = self.probes.front().copied() {
            if probe.version > version {
                return;
            }
            self.probes.pop_front();
            self.acked_clock = self.acked_clock.max(probe.clock);
            self.acked_deletions = self.acked_deletions.max(probe.deletions);
            self.acked_edits = self.acked_edits.max(probe.edits);
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.has_synced && self.has_answered
    }

    /// Everything it made is acknowledged.
    pub(super) fn is_acked(&self) -> bool {
        self.acked_clock >= self.own_clock && self.acked_deletions >= self.own_deletions.len()
    }

    /// What it was told is saved.
    pub(super) fn owed(&self) -> Owed {
        Owed {
            document: self.document,
            client: self.client,
            clock: self.acked_clock,
            deletions: self.own_deletions[..self.acked_deletions].to_vec(),
        }
    }

    pub(super) fn view(&self) -> View {
        let txn = self.doc.transact();
        let vector = txn.state_vector();
        let mut vector: Vec<_> = vector
            .iter()
            .map(|(client, clock)| (client.get(), u64::from(*clock)))
            .collect();
        vector.sort_unstable();
        View {
            text: self.text.get_string(&txn),
            vector,
            is_pending: txn.has_missing_updates(),
        }
    }

    /// Everything as one update.
    pub(super) fn state(&self) -> Vec<u8> {
        self.doc
            .transact()
            .encode_state_as_update_v1(&StateVector::default())
    }
}
