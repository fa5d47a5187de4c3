//! A peer's own copy of a document: what it says is made from it, as honest clients do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use driftless_proto::wire::lib0::{put_string, put_var_uint};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact, Update};

use crate::support::random::Random;
use crate::support::{edits, history};

/// The root that marked text is in.
const ROOT: &str = "text";

/// One copy.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) document: String,
    pub(crate) address: String,
    pub(crate) doc: Doc,
    clock: u64,
    probe: u64,
}

/// A document whose client is drawn, so that a seed gives the same bytes.
pub(crate) fn new_doc(random: &mut Random) -> Doc {
    history::doc(random.below(1 << 32), false)
}

/// Runs what yrs may panic at, given what a server has relayed.
pub(crate) fn guarded<T>(what: &str, run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| format!("a client's yrs panics: {what}"))
}

/// Applies an update of the server, which every client has to be able to.
pub(crate) fn apply(doc: &Doc, update: &[u8]) -> Result<(), String> {
    guarded("apply", || {
        let update = Update::decode_v1(update).map_err(|error| error.to_string())?;
        let applied = doc.transact_mut().apply_update(update);
        applied.map_err(|error| error.to_string())
    })?
    .map_err(|error| format!("an update of the server cannot be applied: {error}"))
}

/// Appends text somewhere; the update that says so.
pub(crate) fn insert(doc: &Doc, random: &mut Random, text: &str) -> Vec<u8> {
    let root = doc.get_or_insert_text(ROOT);
    let mut transaction = doc.transact_mut();
    let end = root.len(&transaction);
    let at = if random.one_in(2) { end } else { 0 };
    root.insert(&mut transaction, at, text);
    transaction.encode_update_v1()
}

/// Awareness entries: `state` at a clock for each client.
pub(crate) fn presence(entries: &[(u64, u64, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_var_uint(&mut out, entries.len() as u64);
    for (client, clock, state) in entries {
        put_var_uint(&mut out, *client);
        put_var_uint(&mut out, *clock);
        put_string(&mut out, state);
    }
    out
}

impl Channel {
    pub(crate) fn new(random: &mut Random, document: &str, address: &str) -> Self {
        Self {
            document: document.to_owned(),
            address: address.to_owned(),
            doc: new_doc(random),
            clock: 0,
            probe: 0,
        }
    }

    pub(crate) fn vector(&self) -> Vec<u8> {
        self.doc.transact().state_vector().encode_v1()
    }

    /// What a state vector lacks; everything for one that cannot be read.
    pub(crate) fn difference(&self, vector: &[u8]) -> Vec<u8> {
        let vector = StateVector::decode_v1(vector).unwrap_or_default();
        self.doc.transact().encode_diff_v1(&vector)
    }

    /// An edit with the author's mark, or any edit.
    pub(crate) fn edit(&mut self, random: &mut Random, mark: &str) -> Result<Vec<u8>, String> {
        guarded("edit", || match random.below(5) {
            0 | 1 => edits::edit(&self.doc, random).unwrap_or_else(|| vec![0, 0]),
            _ => insert(&self.doc, random, mark),
        })
    }

    /// Presence of this client, and now and then of others.
    pub(crate) fn presence(&mut self, random: &mut Random, mark: &str) -> Vec<u8> {
        let mut entries = Vec::new();
        for index in 0..=random.below(3) {
            self.clock += random.below(3);
            let client = match index {
                0 => self.doc.client_id().get(),
                _ => random.below(1 << 20),
            };
            let clock = match random.below(12) {
                0 => random.bits() >> random.below(64),
                _ => self.clock,
            };
            let state = match random.below(12) {
                0..=2 => "null".to_owned(),
                3 => "{".to_owned(),
                4 => format!("\"{}\"", "x".repeat(1 << random.below(16))),
                5 => "[".repeat(100) + &"]".repeat(100),
                _ => format!("{{\"name\":\"{mark}\"}}"),
            };
            entries.push((client, clock, state));
        }
        presence(&entries)
    }

    pub(crate) fn next_probe(&mut self, random: &mut Random) -> u64 {
        self.probe += random.below(3);
        match random.below(10) {
            0 => random.bits() >> (11 + random.below(40)),
            _ => self.probe,
        }
    }
}
