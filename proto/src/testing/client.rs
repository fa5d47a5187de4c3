//! A client: a yrs document with the manners of the y-websocket provider.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::{ClientID, Doc, OffsetKind, Options, ReadTxn, Transact, TransactionMut, Update};

use super::awareness::Awareness;
use super::frames::{frame, query_presence};
use super::rng::Rng;
use super::violation::Violation;
use super::{edits, seen::Seen};
use crate::admission::{DeleteSet, GAP_CLIENTS_MAX, Known, Limits, admit};
use crate::wire::{Message, Outbound, ywebsocket};
use crate::{ClientId, Clock};

/// Marks transactions that apply what others made.
const REMOTE: &str = "remote";

/// Clients take in whatever their own documents can be made of.
const LIMITS: Limits = Limits {
    update_bytes_max: usize::MAX,
    nesting_max: 64,
    gap_clients_max: GAP_CLIENTS_MAX,
};

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its user has no network, or closed the lid.
    Offline,
    /// It tries to connect, or will.
    Waiting,
    /// It talks over this link.
    Open(usize),
    /// The tab is closed for good.
    Gone,
}

/// What a client had made when it asked whether its edits are saved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) counter: u64,
    pub(super) clock: Clock,
    /// How many of its own deletes.
    pub(super) deletes: usize,
}

/// What a client did and was told, for the checks.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) probes: Vec<Probe>,
    pub(super) acked: Option<Probe>,
    pub(super) own_deletes: Vec<(ClientId, Clock, Clock)>,
    pub(super) denied: bool,
    pub(super) deleted: bool,
    /// Probes up to this one were answered, or not, for a document that was deleted since.
    void: u64,
}

impl Record {
    /// The document was deleted: what was said of it is void.
    pub(super) fn forget_acks(&mut self) {
        self.acked = None;
        self.void = self.probes.last().map_or(0, |probe| probe.counter);
    }
}

/// What a client says in answer.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Back on the way on which the message came.
    pub(super) back: Vec<Bytes>,
    /// To the server and to sibling tabs.
    pub(super) all: Vec<Bytes>,
}

/// One tab.
pub(super) struct Client {
    pub(super) name: usize,
    pub(super) own: ClientId,
    pub(super) doc: Doc,
    pub(super) awareness: Awareness,
    /// The browser whose tabs hear each other.
    pub(super) group: Option<usize>,
    pub(super) mode: Mode,
    pub(super) failures: u32,
    pub(super) record: Record,
    made: Arc<Mutex<Vec<Bytes>>>,
    /// What the document holds, to keep gaps away from it as Yjs does by itself.
    known: Known,
    /// Updates of which a part waits for what it needs.
    parked: Vec<Bytes>,
    shown: u64,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("name", &self.name)
            .field("own", &self.own)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A document with UTF-16 offsets, as in a browser.
pub(super) fn new_doc(own: ClientId) -> Doc {
    let mut options = Options::with_client_id(ClientID::new(own));
    options.offset_kind = OffsetKind::Utf16;
    options.cleanup_formatting = false;
    Doc::with_options(options)
}

impl Client {
    pub(super) fn new(name: usize, own: ClientId, group: Option<usize>) -> Self {
        let doc = new_doc(own);
        let made = Arc::new(Mutex::new(Vec::new()));
        let heard = made.clone();
        let told = doc.observe_update_v1("made", move |txn: &TransactionMut<'_>, event| {
            if txn.origin().is_none() {
                let update = Bytes::from(event.update.clone());
                lock(&heard).push(update);
            }
        });
        debug_assert!(told.is_ok(), "a new document has no open transaction");
        Self {
            name,
            own,
            doc,
            awareness: Awareness::new(own),
            group,
            mode: Mode::Offline,
            failures: 0,
            record: Record::default(),
            made,
            known: Known::default(),
            parked: Vec::new(),
            shown: 0,
        }
    }

    /// What a provider sends when its connection opens.
    pub(super) fn open_frames(&self) -> Vec<Bytes> {
        let mut frames = vec![self.step1()];
        if self.awareness.own_is_live() {
            let entries = self.awareness.encode(&[self.own]);
            frames.push(frame(&Outbound::Presence { entries }));
        }
        frames.extend(self.unanswered_probe());
        frames
    }

    /// What a provider tells its sibling tabs when it starts.
    pub(super) fn greeting(&self) -> Vec<Bytes> {
        let update = self.encode_from(&yrs::StateVector::default());
        let entries = self.awareness.encode(&[self.own]);
        vec![
            self.step1(),
            frame(&Outbound::SyncStep2 { update }),
            query_presence(),
            frame(&Outbound::Presence { entries }),
        ]
    }

    fn step1(&self) -> Bytes {
        let vector = yrs::updates::encoder::Encode::encode_v1(&self.doc.transact().state_vector());
        let vector = Bytes::from(vector);
        frame(&Outbound::SyncStep1 { vector })
    }

    /// The newest probe, as long as it was not answered.
    fn unanswered_probe(&self) -> Option<Bytes> {
        let newest = self.record.probes.last()?.counter;
        let acked = self.record.acked.map(|probe| probe.counter);
        (acked < Some(newest)).then(|| frame(&Outbound::Saved { version: newest }))
    }

    /// Makes some edits; returns the frames that tell of them.
    pub(super) fn edit(&mut self, rng: &mut Rng) -> Vec<Bytes> {
        edits::edit(&self.doc, rng);
        self.take_made()
    }

    /// Types one letter.
    pub(super) fn type_letter(&mut self) -> Vec<Bytes> {
        edits::type_letter(&self.doc);
        self.take_made()
    }

    fn take_made(&mut self) -> Vec<Bytes> {
        let made = std::mem::take(&mut *lock(&self.made));
        for update in &made {
            let own = admit(update, &mut self.known, None, &LIMITS);
            debug_assert!(own.is_ok_and(|own| own.gap.is_none()), "own edits fit");
            let Ok(update) = Update::decode_v1(update) else {
                continue;
            };
            for (client, ranges) in update.delete_set().iter() {
                for range in ranges.iter() {
                    let deleted = (client.get(), range.start, range.end);
                    self.record.own_deletes.push(deleted);
                }
            }
        }
        made.into_iter()
            .map(|update| frame(&Outbound::Update { update }))
            .collect()
    }

    /// Asks whether everything so far is saved.
    pub(super) fn probe(&mut self) -> Bytes {
        let counter = self.record.probes.last().map_or(1, |last| last.counter + 1);
        let probe = Probe {
            counter,
            clock: self.clock(),
            deletes: self.record.own_deletes.len(),
        };
        self.record.probes.push(probe);
        frame(&Outbound::Saved { version: counter })
    }

    fn clock(&self) -> Clock {
        let own = ClientID::new(self.own);
        self.doc.transact().state_vector().get(&own)
    }

    /// Shows something new of itself, or says goodbye.
    pub(super) fn show(&mut self, now_ms: u64, here: bool) -> Bytes {
        self.shown += 1;
        let state = here.then(|| format!("{{\"n\":{}}}", self.shown));
        self.awareness.set_local(now_ms, state);
        self.presence_of(&[self.own])
    }

    pub(super) fn presence_of(&self, clients: &[ClientId]) -> Bytes {
        let entries = self.awareness.encode(clients);
        frame(&Outbound::Presence { entries })
    }

    /// Takes in a frame of the server or of a sibling tab.
    pub(super) fn receive(
        &mut self,
        now_ms: u64,
        frame_bytes: &Bytes,
        seen: Option<&mut Seen>,
    ) -> Result<Said, Violation> {
        let mut said = Said::default();
        let mut seen = seen;
        for message in ywebsocket::messages(frame_bytes.clone()) {
            let message = message.map_err(|error| self.bad_frame(&error))?;
            match message {
                Message::SyncStep1 { vector } => said.back.push(self.answer_step1(&vector)?),
                Message::SyncStep2 { update } | Message::Update { update } => {
                    self.apply(&update, seen.as_deref_mut())?;
                }
                Message::Presence { entries } => {
                    let news = self.awareness.apply(now_ms, &entries);
                    let news = news.map_err(|error| self.bad_frame(&error))?;
                    if !news.is_empty() {
                        said.all.push(self.presence_of(&news));
                    }
                }
                Message::QueryPresence => {
                    let live: Vec<_> = self.awareness.live().collect();
                    said.back.push(self.presence_of(&live));
                }
                Message::SaveProbe { version } if seen.is_some() => self.note_saved(version),
                Message::SaveProbe { .. }
                | Message::Stateless { .. }
                | Message::Leftover { .. }
                | Message::Pong
                | Message::QueueSent => {}
            }
        }
        Ok(said)
    }

    fn answer_step1(&self, vector: &[u8]) -> Result<Bytes, Violation> {
        let vector = yrs::StateVector::decode_v1(vector).map_err(|error| self.bad_frame(&error))?;
        let update = self.encode_from(&vector);
        Ok(frame(&Outbound::SyncStep2 { update }))
    }

    /// As `Y.encodeStateAsUpdate`: with what is parked.
    fn encode_from(&self, vector: &yrs::StateVector) -> Bytes {
        let state = self.doc.transact().encode_diff_v1(vector);
        if self.parked.is_empty() {
            return state.into();
        }
        let parts = std::iter::once(&state[..]).chain(self.parked.iter().map(|part| &part[..]));
        yrs::merge_updates_v1(parts).map_or_else(|_| state.clone().into(), Bytes::from)
    }

    /// Takes in what it can and parks the rest, as Yjs does.
    fn apply(&mut self, update: &Bytes, seen: Option<&mut Seen>) -> Result<(), Violation> {
        if let Some(seen) = seen {
            let decoded = Update::decode_v1(update).map_err(|error| self.bad_frame(&error))?;
            seen.add(&decoded);
        }
        let mut brought_news = self.apply_part(update)?;
        while brought_news && !self.parked.is_empty() {
            brought_news = false;
            for parked in std::mem::take(&mut self.parked) {
                brought_news |= self.apply_part(&parked)?;
            }
        }
        Ok(())
    }

    fn apply_part(&mut self, update: &Bytes) -> Result<bool, Violation> {
        let admission = admit(update, &mut self.known, None, &LIMITS);
        let admission = admission.map_err(|refusal| self.bad_frame(&refusal))?;
        if admission.gap.is_some() {
            self.parked.push(update.clone());
        }
        let Some(admitted) = admission.admitted else {
            return Ok(false);
        };
        let decoded = Update::decode_v1(&admitted.update);
        let decoded = decoded.map_err(|error| self.bad_frame(&error))?;
        let mut txn = self.doc.transact_mut_with(REMOTE);
        let applied = txn.apply_update(decoded);
        drop(txn);
        applied.map_err(|error| self.bad_frame(&error))?;
        Ok(true)
    }

    fn note_saved(&mut self, version: u64) {
        let record = &mut self.record;
        let acked = record.acked.map_or(0, |probe| probe.counter);
        let found = record
            .probes
            .iter()
            .find(|probe| probe.counter == version && version > acked.max(record.void));
        if let Some(probe) = found {
            record.acked = Some(*probe);
        }
    }

    fn bad_frame(&self, error: &dyn std::fmt::Display) -> Violation {
        Violation::BadFrame {
            client: self.name,
            error: error.to_string(),
        }
    }

    /// Whether it holds updates that it cannot apply.
    pub(super) fn has_pending(&self) -> bool {
        !self.parked.is_empty() || self.doc.transact().has_missing_updates()
    }

    /// The whole state as one update.
    pub(super) fn state(&self) -> Bytes {
        self.doc
            .transact()
            .encode_diff_v1(&yrs::StateVector::default())
            .into()
    }

    /// What it was told is saved: the clock of its own edits and its own deletes.
    pub(super) fn acknowledged(&self) -> Option<(Clock, DeleteSet)> {
        let probe = self.record.acked?;
        let mut deletes = DeleteSet::default();
        for &(client, start, end) in &self.record.own_deletes[..probe.deletes] {
            deletes.insert(client, start, end);
        }
        Some((probe.clock, deletes))
    }
}

fn lock(made: &Mutex<Vec<Bytes>>) -> std::sync::MutexGuard<'_, Vec<Bytes>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}
