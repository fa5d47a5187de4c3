//! The small decoders: frames, state vectors, presence entries and names. They have to end without
//! a panic, and what they read has to survive being written and read again.

use bytes::{Bytes, BytesMut};
use driftless_proto::admission::{self, PresenceEntry, StateVector};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::ywebsocket::{encode, messages};
use driftless_proto::wire::{Message, Outbound};
use yrs::updates::decoder::Decode;

use super::Target;
use super::contain::contain;
use crate::corpus;
use crate::mutate;
use crate::report::Report;
use crate::support::random::Random;

/// Reads one input: whether it was taken, the reason of a refusal, or what did not hold.
pub type Check = fn(&Bytes) -> Result<Result<(), &'static str>, String>;

/// The longest input that mutations may grow to.
const INPUT_BYTES_MAX: usize = 4096;

/// The most inputs that a run breeds from.
const CORPUS_INPUTS_MAX: usize = 1024;

/// The harness of a decoder that has no state.
#[derive(Debug)]
pub struct BytesTarget {
    corpus: Vec<Bytes>,
    check: Check,
}

impl BytesTarget {
    /// Starts from the corpus; an empty one is as good as one empty input.
    pub fn new(mut corpus: Vec<Bytes>, check: Check) -> Self {
        corpus.push(Bytes::new());
        Self { corpus, check }
    }
}

impl Target for BytesTarget {
    fn step(&mut self, random: &mut Random, report: &mut Report) {
        let mut input = random.pick(&self.corpus).to_vec();
        if random.one_in(3) {
            let more: &Bytes = random.pick(&self.corpus);
            input.extend_from_slice(more);
        }
        mutate::bytes(random, &mut input);
        input.truncate(INPUT_BYTES_MAX);
        let input = Bytes::from(input);
        let taken = report.admitted;
        self.replay(&input, report);
        // What is taken breeds: mutations of it reach further.
        if report.admitted > taken && random.one_in(64) {
            if self.corpus.len() < CORPUS_INPUTS_MAX {
                self.corpus.push(input);
            } else {
                let at = random.index(self.corpus.len());
                self.corpus[at] = input;
            }
        }
    }

    fn replay(&mut self, input: &Bytes, report: &mut Report) {
        report.inputs += 1;
        match contain(|| (self.check)(input)) {
            Ok(Ok(Ok(()))) => report.admitted += 1,
            Ok(Ok(Err(reason))) => report.refuse(reason),
            Ok(Err(violated)) => {
                let path = corpus::save("violations", "bytes", input);
                report.violate(format!("{violated} ({path:?})"));
            }
            Err(place) => {
                let path = corpus::save("violations", "bytes", input);
                report.violate(format!("panic at {place} ({path:?})"));
            }
        }
    }
}

/// Frames of the y-websocket dialect.
pub fn ywebsocket(frame: &Bytes) -> Result<Result<(), &'static str>, String> {
    let mut payload = 0;
    for message in messages(frame.clone()) {
        let Ok(message) = message else {
            return Ok(Err("malformed"));
        };
        let outbound = match message.clone() {
            Message::SyncStep1 { vector } => Outbound::SyncStep1 { vector },
            Message::SyncStep2 { update } => Outbound::SyncStep2 { update },
            Message::Update { update } => Outbound::Update { update },
            Message::Presence { entries } => Outbound::Presence { entries },
            Message::SaveProbe { version } => Outbound::Saved { version },
            Message::QueryPresence | Message::Stateless { .. } => continue,
        };
        let mut written = BytesMut::new();
        encode(&outbound, &mut written);
        payload += written.len();
        let again: Vec<_> = messages(written.freeze()).collect();
        if again != [Ok(message)] {
            return Err("a message changes when written again".to_owned());
        }
    }
    // Written again, a message needs no more bytes than it had; a tolerated query answer one type.
    match payload <= frame.len() {
        true => Ok(Ok(())),
        false => Err("more was read than there is".to_owned()),
    }
}

/// Encoded state vectors.
pub fn state_vector(bytes: &Bytes) -> Result<Result<(), &'static str>, String> {
    let vector = match StateVector::decode(bytes) {
        Ok(vector) => vector,
        Err(refusal) => return Ok(Err(refusal.reason())),
    };
    let encoded = vector.encode();
    if StateVector::decode(&encoded) != Ok(vector.clone()) {
        return Err("a vector changes when written again".to_owned());
    }
    let theirs = yrs::StateVector::decode_v1(&encoded).map_err(|error| error.to_string())?;
    let same = vector
        .iter()
        .all(|(client, clock)| theirs.get(&yrs::ClientID::new(client)) == clock);
    match same && theirs.len() == vector.len() {
        true => Ok(Ok(())),
        false => Err("yrs reads another vector".to_owned()),
    }
}

/// Awareness updates.
pub fn presence(bytes: &Bytes) -> Result<Result<(), &'static str>, String> {
    let read = |bytes| admission::entries(bytes)?.collect::<Result<Vec<PresenceEntry<'_>>, _>>();
    let entries = match read(bytes) {
        Ok(entries) => entries,
        Err(refusal) => return Ok(Err(refusal.reason())),
    };
    for entry in &entries {
        entry.state.map(|state| admission::is_valid_json(state, 64));
    }
    let encoded = admission::encode_entries(entries.iter().copied());
    match read(&encoded) == Ok(entries) {
        true => Ok(Ok(())),
        false => Err("entries change when written again".to_owned()),
    }
}

/// Raw URL paths.
pub fn name(bytes: &Bytes) -> Result<Result<(), &'static str>, String> {
    let Ok(path) = std::str::from_utf8(bytes) else {
        return Ok(Err("not_utf8"));
    };
    let Ok(name) = DocumentName::from_raw_path(path) else {
        return Ok(Err("bad_name"));
    };
    let escaped: String = name
        .as_str()
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    match DocumentName::from_raw_path(&escaped) == Ok(name) {
        true => Ok(Ok(())),
        false => Err("a name changes when escaped".to_owned()),
    }
}
