//! Admission and what follows it: apply to yrs, encode, reload, compare.
//!
//! A scenario is one replica that receives honest updates, mutated ones and made-up ones. Panics of
//! yrs are contained and counted, as the server does; everything else has to hold.

use bytes::Bytes;
use driftless_proto::admission::{
    Admitted, GAP_CLIENTS_MAX, Known, Limits, admit, describe_subdocuments, hide_subdocuments,
    known_of, merge, show_subdocuments,
};
use driftless_proto::engine::export::{self, ExportError};
use yrs::updates::decoder::Decode;
use yrs::{Doc, ReadTxn, Transact, Update};

use super::Target;
use super::contain::contain;
use super::view::view;
use crate::model::{Content, StructModel, UpdateModel};
use crate::report::Report;

use crate::support::history::{doc, history, state};
use crate::support::random::Random;
use crate::synthesize::Held;
use crate::{corpus, mutate, synthesize};

const LIMITS: Limits = Limits {
    update_bytes_max: 1 << 20,
    nesting_max: 64,
    gap_clients_max: GAP_CLIENTS_MAX,
};

/// How many honest histories the mutations start from.
const HISTORIES: u64 = 300;
/// The most updates that one replica receives.
const SCENARIO_INPUTS_MAX: usize = 10;

/// The harness of the target `admission`.
#[derive(Debug)]
pub struct AdmissionTarget {
    seeds: Vec<Vec<Bytes>>,
}

impl AdmissionTarget {
    /// Starts from the corpus and from honest histories of the seed.
    pub fn new(corpus: Vec<Bytes>, seed: u64) -> Self {
        let mut seeds: Vec<_> = corpus.iter().map(corpus::split).collect();
        for index in 0..HISTORIES {
            let mut random = Random::new(seed.wrapping_add(index));
            let edits = 2 + random.index(14);
            let history = history(&mut random, edits);
            let mut updates: Vec<_> = history.sent.into_iter().map(|sent| sent.1).collect();
            updates.extend(history.peers.iter().map(|peer| state(&peer.doc)));
            seeds.push(updates);
        }
        seeds.retain(|updates| !updates.is_empty());
        Self { seeds }
    }

    fn input(&self, random: &mut Random, seed: &[Bytes], next: usize, held: &Held) -> Bytes {
        let honest = &seed[next % seed.len()];
        if random.one_in(4) {
            return honest.clone();
        }
        let mut model = match random.one_in(3) {
            true => synthesize::update(random, held),
            false => UpdateModel::decode(honest).unwrap_or_default(),
        };
        if random.one_in(2) {
            let other = &random.pick(&self.seeds)[0];
            let other = UpdateModel::decode(other).unwrap_or_default();
            mutate::update(random, &mut model, &other, held);
        }
        let mut bytes = model.encode();
        if random.one_in(8) {
            mutate::bytes(random, &mut bytes);
        }
        let update = bytes.into();
        // What a replica is given, sent by a peer.
        match random.one_in(16) {
            true => hide_subdocuments(&update).unwrap_or(update),
            false => update,
        }
    }
}

impl Target for AdmissionTarget {
    fn step(&mut self, random: &mut Random, report: &mut Report) {
        let seed = random.pick(&self.seeds);
        let mut replica = Replica::new();
        let inputs = 1 + random.index(SCENARIO_INPUTS_MAX);
        for next in 0..inputs {
            let held: Held = replica.known.vector.iter().collect();
            let input = self.input(random, seed, next, &held);
            if !replica.receive(input, report) {
                return;
            }
        }
        replica.finish(report);
    }

    fn replay(&mut self, input: &Bytes, report: &mut Report) {
        let mut replica = Replica::new();
        for update in corpus::split(input) {
            if !replica.receive(update, report) {
                return;
            }
        }
        replica.finish(report);
    }
}

struct Replica {
    doc: Doc,
    known: Known,
    admitted: Vec<Admitted>,
    received: Vec<Bytes>,
}

impl Replica {
    fn new() -> Self {
        Self {
            doc: doc(0, false),
            known: Known::default(),
            admitted: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Admits and applies one update; whether the replica can go on.
    fn receive(&mut self, update: Bytes, report: &mut Report) -> bool {
        report.inputs += 1;
        self.received.push(update.clone());
        let known = &mut self.known;
        let admission = match contain(|| admit(&update, known, None, &LIMITS)) {
            Ok(Ok(admission)) => admission,
            Ok(Err(refusal)) => {
                report.refuse(refusal.reason());
                return true;
            }
            Err(place) => return self.violate(report, &format!("admission panics at {place}")),
        };
        report.gaps += u64::from(admission.gap.is_some());
        let Some(admitted) = admission.admitted else {
            return true;
        };
        report.admitted += 1;
        if let Err(error) = round_trip(&admitted) {
            return self.violate(report, &error);
        }
        let applied = contain(|| apply(&self.doc, &admitted.update));
        self.admitted.push(admitted);
        match applied {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.violate(report, &error),
            Err(place) => return self.panicked(report, place),
        }
        if vector(&self.doc) != sorted(self.known.vector.iter()) {
            return self.violate(report, "the replica's vector is not the admitted one");
        }
        true
    }

    /// Encodes, reloads and compares, both from the state and from the merged log.
    fn finish(&mut self, report: &mut Report) {
        let doc = &self.doc;
        let checked = contain(|| {
            let state = state(doc);
            let reloaded = reload(&state)?;
            let known = known_of(&state).map_err(|refusal| {
                format!("own state: {refusal} {:?}", Update::decode_v1(&state))
            })?;
            if sorted(known.vector.iter()) != vector(doc) {
                return Err("the state's vector differs".to_owned());
            }
            read_for_people(&state)?;
            compare(doc, &reloaded)
        });
        let (admitted, known) = (&self.admitted, &self.known);
        let merged = contain(|| reload(&merge(admitted)).map(|doc| vector(&doc)));
        match (checked, merged) {
            (Err(place), _) | (_, Err(place)) => {
                self.panicked(report, place);
            }
            (Ok(Err(error)), _) | (_, Ok(Err(error))) => {
                self.violate(report, &error);
            }
            (_, Ok(Ok(merged))) if merged != sorted(known.vector.iter()) => {
                self.violate(report, "the merged log has another vector");
            }
            (Ok(Ok(Likeness::OtherOrder)), _) => report.reordered += 1,
            (Ok(Ok(Likeness::Same)), _) => {}
        }
    }

    fn panicked(&mut self, report: &mut Report, place: String) -> bool {
        // Dropping a half-changed document may panic again, so it is left as it is.
        std::mem::forget(std::mem::replace(&mut self.doc, doc(0, false)));
        *report.panics.entry(place).or_default() += 1;
        self.save("panics", report);
        false
    }

    fn violate(&mut self, report: &mut Report, what: &str) -> bool {
        let path = self.save("violations", report);
        report.violate(format!("{what} ({path})"));
        false
    }

    fn save(&self, folder: &str, report: &mut Report) -> String {
        match corpus::save(folder, "admission", &corpus::join(&self.received)) {
            Ok(Some(path)) => path.display().to_string(),
            Ok(None) => "not kept: the folder is full".to_owned(),
            Err(error) => {
                report.violate(format!("the corpus cannot be written: {error}"));
                "not kept".to_owned()
            }
        }
    }
}

/// Whether subdocuments are hidden exactly where admission says, and come back as they were.
fn round_trip(admitted: &Admitted) -> Result<(), String> {
    let update = &admitted.update;
    let malformed = |refusal| format!("not rewritten: {refusal}");
    let hidden = hide_subdocuments(update).map_err(malformed)?;
    let described = describe_subdocuments(update).map_err(malformed)?;
    if !admitted.has_subdocuments && hidden.as_ptr() != update.as_ptr() {
        return Err("rewritten in vain".to_owned());
    }
    if has_subdocument(&hidden) || has_subdocument(&described) {
        return Err("yrs is given a subdocument".to_owned());
    }
    let shown = show_subdocuments(&hidden).map_err(malformed)?;
    let by_client = |update: &[u8]| {
        let mut model = UpdateModel::decode(update).unwrap_or_default();
        model.sections.sort_by_key(|section| section.client);
        model.encode()
    };
    match by_client(&shown) == by_client(update) {
        true => Ok(()),
        false => Err("subdocuments come back changed".to_owned()),
    }
}

fn has_subdocument(update: &[u8]) -> bool {
    let model = UpdateModel::decode(update).unwrap_or_default();
    let mut structs = model.sections.iter().flat_map(|section| &section.structs);
    structs.any(|read| match read {
        StructModel::Item(item) => matches!(item.content, Content::Subdocument(..)),
        StructModel::Gc(_) | StructModel::Skip(_) => false,
    })
}

/// An export ends, and yrs does not panic in it.
fn read_for_people(state: &Bytes) -> Result<(), String> {
    for failed in [export::json(state).err(), export::text(state, None).err()] {
        if let Some(error @ ExportError::Unreadable(_)) = failed {
            return Err(format!("the export failed: {error}"));
        }
    }
    Ok(())
}

fn apply(doc: &Doc, update: &Bytes) -> Result<(), String> {
    let update = hide_subdocuments(update).map_err(|error| format!("not hidden: {error}"))?;
    let update = Update::decode_v1(&update).map_err(|error| format!("undecodable: {error}"))?;
    let mut txn = doc.transact_mut();
    txn.apply_update(update)
        .map_err(|error| format!("not applied: {error}"))?;
    match txn.has_missing_updates() {
        true => Err("something is pending".to_owned()),
        false => Ok(()),
    }
}

fn reload(state: &Bytes) -> Result<Doc, String> {
    let reloaded = doc(0, false);
    apply(&reloaded, state)?;
    Ok(reloaded)
}

fn vector(doc: &Doc) -> Vec<(u64, u32)> {
    let vector = doc.transact().state_vector();
    sorted(vector.iter().map(|(client, clock)| (client.get(), *clock)))
}

fn sorted(entries: impl Iterator<Item = (u64, u32)>) -> Vec<(u64, u32)> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    entries
}

fn compare(left: &Doc, right: &Doc) -> Result<Likeness, String> {
    if vector(left) != vector(right) {
        return Err("the reloaded vector differs".to_owned());
    }
    let deletes = |doc: &Doc| doc.transact().snapshot().delete_set;
    if deletes(left) != deletes(right) {
        return Err("the reloaded deletes differ".to_owned());
    }
    let (left, right) = (view(left), view(right));
    if left == right {
        return Ok(Likeness::Same);
    }
    match left.letters() == right.letters() {
        true => Ok(Likeness::OtherOrder),
        false => Err(format!(
            "the reloaded content differs: {left:?} / {right:?}"
        )),
    }
}

/// How alike two documents are that hold the same structs and deletes.
enum Likeness {
    Same,
    /// Hand-made neighbours that never were neighbours: YATA then orders by the sequence of
    /// integration, in Yjs as in yrs. It cannot be told from the update, only its author suffers.
    OtherOrder,
}
