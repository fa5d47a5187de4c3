//! Table tests of the engine: one replica, hand-written turns, and what comes out of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acks;
mod arrears;
mod failures;
mod foreign;
mod identities;
mod joining;
mod limits;
mod nodes;
mod owners;
mod presence;
mod receipts;
mod relay;
mod rights;
mod snapshots;
mod subdocuments;

use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{ClientID, Doc, GetString, OffsetKind, Options, ReadTxn, Text, Transact, Update};

use super::{
    Access, Acks, Arrears, Claim, ClientIds, CloseReason, Effect, Identity, Input, Missed, Relay,
    Replica, ReplicaOptions, Rights, SessionId, StoredDocument,
};
use crate::wire::{Message, Outbound};

fn options() -> ReplicaOptions {
    ReplicaOptions {
        relay: Relay::Immediate,
        document_bytes_max: 1 << 20,
        update_bytes_max: 1 << 16,
        chunk_bytes: 1 << 16,
        presence_timeout_ms: 30_000,
        presence_grace_ms: 5_000,
        presence_entry_bytes_max: 100,
        presence_entries_max: 3,
        presence_per_second_max: 200,
        presence_identity_field: None,
        stateless_bytes_max: 100,
        client_ids: ClientIds::Free,
    }
}

fn durable() -> ReplicaOptions {
    ReplicaOptions {
        relay: Relay::Durable,
        ..options()
    }
}

/// A replica and the time.
struct Bench {
    replica: Replica,
    now_ms: u64,
}

impl Bench {
    fn new(options: ReplicaOptions) -> Self {
        Self {
            replica: Replica::empty(options),
            now_ms: 0,
        }
    }

    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for input in inputs {
            self.replica.handle(self.now_ms, input, &mut effects);
        }
        self.replica.flush(self.now_ms, &mut effects);
        effects
    }

    /// Lets time pass and runs a turn without an input.
    fn wait(&mut self, ms: u64) -> Vec<Effect> {
        self.now_ms += ms;
        self.turn([])
    }

    /// Attaches sessions that say what they have (nothing) and answer step 1 (with nothing).
    fn join(&mut self, sessions: impl IntoIterator<Item = u64>) {
        for session in sessions {
            self.turn([attach(session), step1(session, &peer(900))]);
            self.turn([step2(session, &nothing())]);
            self.drain(session);
        }
    }

    /// Tells that the queue is empty until nothing more comes of it; returns what came.
    fn drain(&mut self, session: u64) -> Vec<Outbound> {
        let mut sent = Vec::new();
        loop {
            let effects = self.turn([drained(session)]);
            let more = to(&effects, session);
            sent.extend(more.iter().cloned());
            if !wants_drained(&effects, session) && more.is_empty() {
                return sent;
            }
            assert!(sent.len() < 1_000, "no end of it");
        }
    }

    fn commit(&mut self, version: u64) -> Vec<Effect> {
        self.turn([Input::Committed { version }])
    }

    fn view(&mut self) -> String {
        let mut reader = peer(901);
        reader.hear(&self.replica.encode_state().unwrap());
        reader.text()
    }
}

/// A client's document.
struct Peer {
    doc: Doc,
}

fn peer(client: u64) -> Peer {
    let mut options = Options::with_client_id(ClientID::new(client));
    options.offset_kind = OffsetKind::Utf16;
    Peer {
        doc: Doc::with_options(options),
    }
}

impl Peer {
    fn type_text(&mut self, text: &str) -> Bytes {
        let root = self.doc.get_or_insert_text("text");
        let mut txn = self.doc.transact_mut();
        let end = root.len(&txn);
        root.insert(&mut txn, end, text);
        txn.encode_update_v1().into()
    }

    fn delete(&mut self, at: u32, length: u32) -> Bytes {
        let root = self.doc.get_or_insert_text("text");
        let mut txn = self.doc.transact_mut();
        root.remove_range(&mut txn, at, length);
        txn.encode_update_v1().into()
    }

    fn hear(&mut self, update: &Bytes) {
        let update = Update::decode_v1(update).unwrap();
        self.doc.transact_mut().apply_update(update).unwrap();
    }

    fn vector(&self) -> Bytes {
        self.doc.transact().state_vector().encode_v1().into()
    }

    /// All it has.
    fn state(&self) -> Bytes {
        let all = yrs::StateVector::default();
        self.doc.transact().encode_diff_v1(&all).into()
    }

    fn text(&self) -> String {
        let root = self.doc.get_or_insert_text("text");
        root.get_string(&self.doc.transact())
    }

    fn has_pending(&self) -> bool {
        self.doc.transact().has_missing_updates()
    }
}

fn nothing() -> Bytes {
    Bytes::from_static(&[0, 0])
}

const PROBING: Access = Access {
    rights: Rights::Write,
    acks: Acks::Probes,
};

fn attach(session: u64) -> Input {
    attach_with(session, PROBING)
}

fn attach_with(session: u64, access: Access) -> Input {
    attach_as(session, access, None)
}

fn attach_as(session: u64, access: Access, identity: Identity) -> Input {
    let session = SessionId(session);
    Input::Attach {
        session,
        access,
        identity,
    }
}

fn receive(session: u64, message: Message) -> Input {
    let session = SessionId(session);
    Input::Receive { session, message }
}

fn update(session: u64, update: &Bytes) -> Input {
    let update = update.clone();
    receive(session, Message::Update { update })
}

fn step1(session: u64, peer: &Peer) -> Input {
    let vector = peer.vector();
    receive(session, Message::SyncStep1 { vector })
}

fn step2(session: u64, update: &Bytes) -> Input {
    let update = update.clone();
    receive(session, Message::SyncStep2 { update })
}

fn pong(session: u64) -> Input {
    receive(session, Message::Pong)
}

fn probe(session: u64, version: u64) -> Input {
    receive(session, Message::SaveProbe { version })
}

fn drained(session: u64) -> Input {
    let session = SessionId(session);
    Input::Drained { session }
}

fn detach(session: u64, clean: bool) -> Input {
    let session = SessionId(session);
    Input::Detach { session, clean }
}

fn overflow(session: u64, missed: Missed) -> Input {
    let session = SessionId(session);
    Input::Overflow { session, missed }
}

/// Everything that reaches a session, in order.
fn to(effects: &[Effect], session: u64) -> Vec<Outbound> {
    let session = SessionId(session);
    let reaches = |effect: &Effect| match effect {
        Effect::Send { to, message } if *to == session => Some(message.clone()),
        Effect::Broadcast {
            to,
            except,
            message,
            ..
        } if to.contains(&session) && *except != Some(session) => Some(message.clone()),
        _ => None,
    };
    effects.iter().filter_map(reaches).collect()
}

/// The updates and states that reach a session.
fn updates_to(effects: &[Effect], session: u64) -> Vec<Bytes> {
    updates(to(effects, session))
}

fn updates(messages: Vec<Outbound>) -> Vec<Bytes> {
    let update = |message| match message {
        Outbound::Update { update } | Outbound::SyncStep2 { update } => Some(update),
        _ => None,
    };
    messages.into_iter().filter_map(update).collect()
}

fn asks(effects: &[Effect], session: u64) -> bool {
    let is_step1 = |message: &Outbound| matches!(message, Outbound::SyncStep1 { .. });
    to(effects, session).iter().any(is_step1)
}

fn saved(effects: &[Effect], session: u64) -> Option<u64> {
    let saved = |message| match message {
        Outbound::Saved { version } => Some(version),
        _ => None,
    };
    to(effects, session).into_iter().find_map(saved)
}

fn wants_drained(effects: &[Effect], session: u64) -> bool {
    let wanted = SessionId(session);
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::NotifyDrained { session } if *session == wanted))
}

/// Version, session and bytes of each append.
fn appends(effects: &[Effect]) -> Vec<(u64, u64, Bytes)> {
    let append = |effect: &Effect| match effect {
        Effect::Append {
            version,
            session,
            update,
            ..
        } => Some((*version, session.0, update.clone())),
        _ => None,
    };
    effects.iter().filter_map(append).collect()
}

fn closed(effects: &[Effect]) -> Vec<(u64, CloseReason)> {
    let close = |effect: &Effect| match effect {
        Effect::Close { session, reason } => Some((session.0, *reason)),
        _ => None,
    };
    effects.iter().filter_map(close).collect()
}

fn denied(effects: &[Effect], session: u64) -> bool {
    let is_denial = |message: &Outbound| matches!(message, Outbound::Denied { .. });
    to(effects, session).iter().any(is_denial)
}
