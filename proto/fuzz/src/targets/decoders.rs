//! The small decoders: frames, state vectors, presence entries and names. They have to end without
//! a panic, and what they read has to survive being written and read again.

use bytes::{Bytes, BytesMut};
use driftless_proto::admission::{self, PresenceEntry, StateVector};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::hocuspocus::{self, Incoming, Said};
use driftless_proto::wire::lib0::{put_bytes, put_var_uint};
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
            Message::QueryPresence
            | Message::Stateless { .. }
            | Message::Leftover { .. }
            | Message::Pong
            | Message::QueueSent => continue,
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

/// Frames of the Hocuspocus dialect.
pub fn hocuspocus(frame: &Bytes) -> Result<Result<(), &'static str>, String> {
    let (address, said) = match hocuspocus::read(frame.clone()) {
        Ok(Incoming::Addressed { address, said }) => (address, said),
        Ok(Incoming::Ping | Incoming::Pong) if frame.len() == 1 => return Ok(Ok(())),
        Ok(Incoming::Ping | Incoming::Pong) => return Err("a ping has bytes behind it".to_owned()),
        Err(_) => return Ok(Err("malformed")),
    };
    let text = std::str::from_utf8(&address).map_err(|error| error.to_string())?;
    let (name, session) = hocuspocus::split_address(text);
    let joined = session.map_or(name.to_owned(), |session| format!("{name}\0{session}"));
    if joined != text || name.contains('\0') {
        return Err("an address changes when split and joined".to_owned());
    }
    let written = written(&address, &said);
    // A token may be followed by what later versions add, and a version may be too long to keep.
    let is_open_ended = matches!(said, Said::Token { .. });
    if written.len() > frame.len() && !is_open_ended {
        return Err("more was read than there is".to_owned());
    }
    let again = hocuspocus::read(written);
    match again == Ok(Incoming::Addressed { address, said }) {
        true => Ok(Ok(())),
        false => Err("a frame changes when written again".to_owned()),
    }
}

/// A frame as a provider writes it; by the server's own writer where it has one.
fn written(address: &[u8], said: &Said) -> Bytes {
    let mut out = BytesMut::new();
    let head = |out: &mut BytesMut, kind: u64| {
        put_bytes(out, address);
        put_var_uint(out, kind);
    };
    let outbound = match said.clone() {
        Said::Message(Message::SyncStep1 { vector }) => Outbound::SyncStep1 { vector },
        Said::Message(Message::SyncStep2 { update }) => Outbound::SyncStep2 { update },
        Said::Message(Message::Update { update }) => Outbound::Update { update },
        Said::Message(Message::Presence { entries }) => Outbound::Presence { entries },
        Said::Message(Message::Stateless { payload }) => Outbound::Stateless { payload },
        Said::Token {
            token,
            provider_version,
        } => {
            head(&mut out, 2);
            put_var_uint(&mut out, 0);
            put_bytes(&mut out, &token);
            if let Some(version) = provider_version {
                put_bytes(&mut out, &version);
            }
            return out.freeze();
        }
        Said::Message(Message::QueryPresence) => {
            head(&mut out, 3);
            return out.freeze();
        }
        // The dialect has no words for these: an empty frame is never read as one.
        Said::Message(
            Message::SaveProbe { .. }
            | Message::Leftover { .. }
            | Message::Pong
            | Message::QueueSent,
        ) => {
            return out.freeze();
        }
        Said::Close => {
            head(&mut out, 7);
            return out.freeze();
        }
    };
    hocuspocus::encode(address, &outbound, &mut out);
    out.freeze()
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
    for state in entries.iter().filter_map(|entry| entry.state) {
        let is_valid = admission::is_valid_json(state, 64);
        // A field that the corpus holds.
        let signed = admission::sign_state(state, "n", Some("ada"));
        if is_valid && !admission::is_valid_json(&signed, 64) {
            return Err("a signed state is no JSON".to_owned());
        }
        if is_valid && admission::sign_state(&signed, "n", Some("ada")) != signed {
            return Err("signed again, a state changes".to_owned());
        }
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
