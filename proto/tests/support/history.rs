//! Histories of several honest yrs clients that edit, hear of each other and go offline.

use bytes::Bytes;
use driftless_proto::admission::{hide_subdocuments, show_subdocuments};
use yrs::updates::decoder::Decode;
use yrs::{ClientID, Doc, OffsetKind, Options, ReadTxn, StateVector, Transact, Update};

use super::edits;
use super::random::Random;

/// A document as the server keeps it: UTF-16 offsets, no edits of its own.
pub fn doc(client: u64, skip_gc: bool) -> Doc {
    let mut options = Options::with_client_id(ClientID::new(client));
    options.offset_kind = OffsetKind::Utf16;
    options.cleanup_formatting = false;
    options.skip_gc = skip_gc;
    Doc::with_options(options)
}

/// Applies an update as the server does and panics when yrs refuses it.
pub fn apply(doc: &Doc, update: &Bytes) {
    let update = hide_subdocuments(update).expect("the update is well-formed");
    let update = Update::decode_v1(&update).expect("the update decodes");
    let mut txn = doc.transact_mut();
    txn.apply_update(update).expect("the update applies");
}

/// The full state of a document as one update, as the server gives it away.
pub fn state(doc: &Doc) -> Bytes {
    let state = doc
        .transact()
        .encode_state_as_update_v1(&StateVector::default());
    show_subdocuments(&state.into()).expect("own states are well-formed")
}

/// A client's replica and what it sent.
#[derive(Debug)]
pub struct Peer {
    /// The replica.
    pub doc: Doc,
    /// The updates of its own edits, oldest first.
    pub sent: Vec<Bytes>,
}

/// Clients after a while of editing.
#[derive(Debug)]
pub struct History {
    /// The clients.
    pub peers: Vec<Peer>,
    /// Who sent what, in the order of the edits: indices into `peers` and updates.
    pub sent: Vec<(usize, Bytes)>,
}

/// A random history of `edits` transactions by two to five clients.
pub fn history(random: &mut Random, edits: usize) -> History {
    let count = 2 + random.index(4);
    let mut peers: Vec<_> = (0..count)
        .map(|index| {
            let client = match random.below(3) {
                0 => index as u64 + 1,
                1 => random.below(1 << 32),
                _ => random.below(1 << 53),
            };
            Peer {
                doc: doc(client, random.one_in(3)),
                sent: Vec::new(),
            }
        })
        .collect();
    let mut sent = Vec::new();
    for _ in 0..edits {
        let index = random.index(count);
        if random.one_in(3) {
            let other = random.index(count);
            hear(&peers[index].doc, &peers[other].doc);
        }
        if let Some(update) = edits::edit(&peers[index].doc, random) {
            let update = Bytes::from(update);
            peers[index].sent.push(update.clone());
            sent.push((index, update));
        }
    }
    History { peers, sent }
}

/// Lets one document take everything that another one has.
pub fn hear(listener: &Doc, speaker: &Doc) {
    let vector = listener.transact().state_vector();
    let update = speaker.transact().encode_diff_v1(&vector);
    apply(listener, &update.into());
}
