//! A y-websocket client without a socket: a yrs document behind a session handle.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use driftless::actors::Registry;
use driftless::outbox::{Outbox, Taken};
use driftless::session::{Documents, ReceiveError, SessionHandle};
use driftless_proto::admission::{PresenceEntry, encode_entries, entries};
use driftless_proto::engine::CloseReason;
use driftless_proto::name::DocumentName;
use driftless_proto::wire::{Message, Outbound, ywebsocket};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

use crate::house::request;

/// How long a peer waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(20);

/// One client of one document.
pub(crate) struct Peer {
    doc: Doc,
    session: Box<dyn SessionHandle>,
    outbox: Arc<Outbox>,
    frames: VecDeque<Bytes>,
    pub(crate) saved: u64,
    /// Frames that came.
    pub(crate) heard: usize,
    /// Stateless messages that came.
    pub(crate) told: usize,
    probe: u64,
    /// Clock and state of each client, as y-protocols takes them in.
    presence: BTreeMap<u64, (u32, Option<String>)>,
    pub(crate) denied: Option<String>,
    pub(crate) closed: Option<CloseReason>,
}

/// The first byte of a stateless message as these tests write it: the dialect has no words for it.
const STATELESS: u8 = 200;

fn encode(_: &[u8], message: &Outbound, into: &mut BytesMut) {
    match message {
        Outbound::Stateless { .. } => into.put_u8(STATELESS),
        other => ywebsocket::encode(other, into),
    }
}

impl Peer {
    /// Joins a document as y-websocket does: step 1 at once.
    pub(crate) async fn join(registry: &Registry, document: &DocumentName) -> Self {
        Self::join_with(registry, document, Doc::new()).await
    }

    /// Joins with a document that may hold edits made offline.
    pub(crate) async fn join_with(registry: &Registry, document: &DocumentName, doc: Doc) -> Self {
        Self::join_as(registry, document, doc, None).await
    }

    /// Joins as somebody.
    pub(crate) async fn join_as(
        registry: &Registry,
        document: &DocumentName,
        doc: Doc,
        identity: Option<&str>,
    ) -> Self {
        let outbox = Outbox::new(256 << 10);
        let mut request = request(document, encode, &outbox);
        request.origin.identity = identity.map(str::to_owned);
        request.holder.subject = identity.map(Into::into);
        let session = registry.attach(request).unwrap();
        let mut peer = Self {
            doc,
            session,
            outbox,
            frames: VecDeque::new(),
            saved: 0,
            heard: 0,
            told: 0,
            probe: 0,
            presence: BTreeMap::new(),
            denied: None,
            closed: None,
        };
        let vector = peer.doc.transact().state_vector().encode_v1();
        peer.send(Message::SyncStep1 {
            vector: vector.into(),
        })
        .await;
        peer
    }

    /// Appends text, sends the update and a save probe for it.
    pub(crate) async fn write(&mut self, text: &str) {
        let root = self.doc.get_or_insert_text("t");
        let update = {
            let mut transaction = self.doc.transact_mut();
            let end = root.len(&transaction);
            root.insert(&mut transaction, end, text);
            transaction.encode_update_v1()
        };
        self.send(Message::Update {
            update: update.into(),
        })
        .await;
        self.probe += 1;
        self.send(Message::SaveProbe {
            version: self.probe,
        })
        .await;
    }

    /// Says that a client is here, or gone.
    pub(crate) async fn present(&mut self, client: u64, clock: u32, state: Option<&str>) {
        let entry = PresenceEntry {
            client,
            clock,
            state,
        };
        let entries = encode_entries([entry].into_iter());
        self.send(Message::Presence { entries }).await;
    }

    /// What a client shows of itself, as far as this peer has heard.
    pub(crate) fn sees(&self, client: u64) -> Option<String> {
        self.presence.get(&client)?.1.clone()
    }

    fn hear_presence(&mut self, told: &[u8]) {
        for entry in entries(told).unwrap() {
            let entry = entry.unwrap();
            let state = entry.state.map(str::to_owned);
            let known = self.presence.entry(entry.client).or_insert((0, None));
            if entry.clock > known.0 || entry.clock == known.0 && state.is_none() {
                *known = (entry.clock, state);
            }
        }
    }

    /// Tells all others something beside the document.
    #[cfg(feature = "fault-injection")]
    pub(crate) async fn tell_all(&mut self) {
        let payload = Bytes::from_static(b"hear");
        self.send(Message::Stateless { payload }).await;
    }

    /// Sends an update that is not its own document's.
    pub(crate) async fn forge(&mut self, update: Vec<u8>) {
        let update = update.into();
        self.send(Message::Update { update }).await;
    }

    /// The text of the document.
    pub(crate) fn text(&self) -> String {
        let root = self.doc.get_or_insert_text("t");
        root.get_string(&self.doc.transact())
    }

    /// Hands over the document for another join.
    pub(crate) fn leave(self, clean: bool) -> Doc {
        self.session.detach(clean);
        self.doc
    }

    /// Hears until all it wrote is saved.
    pub(crate) async fn until_saved(&mut self) {
        let probe = self.probe;
        self.until(|peer| peer.saved >= probe).await;
    }

    /// Hears until the condition holds or the session ends.
    pub(crate) async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let hear = async {
            while !condition(self) && self.closed.is_none() {
                self.hear().await;
            }
        };
        if tokio::time::timeout(PATIENCE, hear).await.is_err() {
            panic!(
                "waited in vain; the text is {:?}, saved {}",
                self.text(),
                self.saved
            );
        }
    }

    /// What comes first, as it is sent; it is not heard.
    pub(crate) async fn first_frame(&mut self) -> Bytes {
        let outbox = self.outbox.clone();
        poll_fn(|context| outbox.poll_take(context, &mut self.frames)).await;
        self.frames.pop_front().unwrap()
    }

    /// Hears what was looked at.
    pub(crate) async fn read_again(&mut self, frame: Bytes) {
        self.read(frame).await;
    }

    /// Hears whatever comes within this time.
    #[cfg(feature = "fault-injection")]
    pub(crate) async fn hear_for(&mut self, time: Duration) {
        let hear = async {
            while self.closed.is_none() {
                self.hear().await;
            }
        };
        // The time being over is the usual end.
        let _ = tokio::time::timeout(time, hear).await;
    }

    async fn hear(&mut self) {
        let outbox = self.outbox.clone();
        match poll_fn(|context| outbox.poll_take(context, &mut self.frames)).await {
            Taken::Drained(_) => self.session.drained(),
            Taken::Close(reason) | Taken::Ended(_, reason) => self.closed = Some(reason),
            Taken::Frames => {
                while let Some(frame) = self.frames.pop_front() {
                    self.read(frame).await;
                }
            }
        }
    }

    async fn read(&mut self, frame: Bytes) {
        self.heard += 1;
        if frame[..] == [STATELESS] {
            self.told += 1;
            return;
        }
        if frame.starts_with(&[2, 0]) {
            self.denied = Some(String::from_utf8_lossy(&frame[2..]).into_owned());
            return;
        }
        for message in ywebsocket::messages(frame) {
            match message.unwrap() {
                Message::SyncStep1 { vector } => {
                    let vector = StateVector::decode_v1(&vector).unwrap();
                    let update = self.doc.transact().encode_diff_v1(&vector);
                    self.send(Message::SyncStep2 {
                        update: update.into(),
                    })
                    .await;
                }
                Message::SyncStep2 { update } | Message::Update { update } => {
                    let update = Update::decode_v1(&update).unwrap();
                    self.doc.transact_mut().apply_update(update).unwrap();
                }
                Message::SaveProbe { version } => self.saved = self.saved.max(version),
                Message::Stateless { .. } => {}
                Message::Presence { entries } => self.hear_presence(&entries),
                Message::QueryPresence
                | Message::Leftover { .. }
                | Message::Pong
                | Message::QueueSent => {}
            }
        }
    }

    async fn send(&mut self, message: Message) {
        let mut message = message;
        loop {
            match self.session.try_receive(message) {
                Ok(()) | Err(ReceiveError::Ended) => return,
                Err(ReceiveError::Full(back)) => message = back,
            }
            if poll_fn(|context| self.session.poll_room(context))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}
