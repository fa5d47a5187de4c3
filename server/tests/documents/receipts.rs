//! What a session is owed that counts receipts, across panics of its document's actor: exactly one for
//! each change, after its commit, however many actors it takes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use driftless::actors::{Fault, Registry};
use driftless::outbox::{Outbox, Taken};
use driftless::session::{Documents, SessionHandle};
use driftless::store::Store;
use driftless::store::committer::CommitterOptions;
use driftless_proto::engine::{Acks, Rights};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::{Message, Outbound, ywebsocket};
use tokio::time::timeout;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

use crate::house::{House, in_system, name, options, request};

const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for a receipt too many to come.
const A_WHILE: Duration = Duration::from_millis(300);

/// The first byte of a receipt as these tests write it; no message of the dialect begins with it.
const RECEIPTS: u8 = 200;

/// The same of those that refuse, which take nothing away from what is unsynced.
const REFUSALS: u8 = 201;

/// A provider that counts as Hocuspocus' do: 1 with each step 1 of its own, 1 more for each change,
/// 1 less for each receipt.
struct Provider {
    doc: Doc,
    session: Box<dyn SessionHandle>,
    outbox: Arc<Outbox>,
    frames: VecDeque<Bytes>,
    unsynced: i64,
    refused: u64,
    /// Step 1s of the server that it has not answered.
    questions: VecDeque<StateVector>,
    asked: usize,
    answers_at_once: bool,
}

fn encode(_: &[u8], message: &Outbound, into: &mut BytesMut) {
    match message {
        Outbound::Receipts { accepted, count } => {
            into.put_u8(if *accepted { RECEIPTS } else { REFUSALS });
            into.put_u64(*count);
        }
        other => ywebsocket::encode(other, into),
    }
}

impl Provider {
    /// Attaches, and says nothing.
    fn attach(registry: &Registry, document: &DocumentName) -> Self {
        let outbox = Outbox::new(256 << 10);
        let mut request = request(document, encode, &outbox);
        request.access.acks = Acks::Receipts;
        Self {
            doc: Doc::new(),
            session: registry.attach(request).unwrap(),
            outbox,
            frames: VecDeque::new(),
            unsynced: 0,
            refused: 0,
            questions: VecDeque::new(),
            asked: 0,
            answers_at_once: true,
        }
    }

    /// Attaches and hears that all is in step.
    async fn join(registry: &Registry, document: &DocumentName) -> Self {
        let mut provider = Self::attach(registry, document);
        provider.start();
        provider.until(|provider| provider.unsynced == 0).await;
        provider
    }

    fn say(&mut self, message: Message) {
        self.session.try_receive(message).unwrap();
    }

    /// Sends step 1: the count begins anew.
    fn start(&mut self) {
        self.unsynced = 1;
        let vector = self.doc.transact().state_vector().encode_v1().into();
        self.say(Message::SyncStep1 { vector });
    }

    /// A change that is not sent.
    fn edit(&self, text: &str) -> Message {
        let root = self.doc.get_or_insert_text("t");
        let mut transaction = self.doc.transact_mut();
        let end = root.len(&transaction);
        root.insert(&mut transaction, end, text);
        let update = transaction.encode_update_v1().into();
        Message::Update { update }
    }

    /// A change that is sent and counted.
    fn write(&mut self, text: &str) {
        self.unsynced += 1;
        let update = self.edit(text);
        self.say(update);
    }

    fn answer_all(&mut self) {
        while let Some(vector) = self.questions.pop_front() {
            let update = self.doc.transact().encode_diff_v1(&vector).into();
            self.say(Message::SyncStep2 { update });
        }
    }

    async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let hear = async {
            while !condition(self) {
                self.hear().await;
            }
        };
        let waited = timeout(PATIENCE, hear).await;
        assert!(waited.is_ok(), "in vain; unsynced: {}", self.unsynced);
    }

    async fn hear_for(&mut self, time: Duration) {
        let hear = async {
            loop {
                self.hear().await;
            }
        };
        // The time being over is the usual end.
        let _ = timeout(time, hear).await;
    }

    async fn hear(&mut self) {
        let outbox = self.outbox.clone();
        match poll_fn(|context| outbox.poll_take(context, &mut self.frames)).await {
            Taken::Drained(_) => self.session.drained(),
            end @ (Taken::Close(_) | Taken::Ended(..)) => panic!("{end:?}"),
            Taken::Frames => {
                while let Some(frame) = self.frames.pop_front() {
                    self.read(frame);
                }
            }
        }
    }

    fn read(&mut self, frame: Bytes) {
        if let [RECEIPTS, count @ ..] = &frame[..] {
            self.unsynced -= i64::try_from(u64::from_be_bytes(count.try_into().unwrap())).unwrap();
            assert!(self.unsynced >= 0, "a receipt too many");
            return;
        }
        if let [REFUSALS, count @ ..] = &frame[..] {
            self.refused += u64::from_be_bytes(count.try_into().unwrap());
            return;
        }
        if frame.starts_with(&[2, 0]) {
            // It may not write.
            return;
        }
        for message in ywebsocket::messages(frame) {
            match message.unwrap() {
                Message::SyncStep1 { vector } => {
                    self.asked += 1;
                    let vector = StateVector::decode_v1(&vector).unwrap();
                    self.questions.push_back(vector);
                    if self.answers_at_once {
                        self.answer_all();
                    }
                }
                Message::SyncStep2 { update } | Message::Update { update } => {
                    let update = Update::decode_v1(&update).unwrap();
                    self.doc.transact_mut().apply_update(update).unwrap();
                }
                _ => {}
            }
        }
    }

    /// Hears that all is saved, which is then true, and nothing more than that.
    async fn until_saved(&mut self, house: &House, document: &DocumentName) {
        self.until(|provider| provider.unsynced == 0).await;
        assert_eq!(stored_text(house, document).await, self.text());
        self.hear_for(A_WHILE).await;
        assert_eq!(self.unsynced, 0);
    }

    /// The actor panics; its successor asks.
    async fn survive_panic(&mut self, house: &House, document: &DocumentName) {
        let asked = self.asked;
        house.registry.harm(document, Fault::Panic);
        self.until(|provider| provider.asked > asked).await;
    }

    fn text(&self) -> String {
        let root = self.doc.get_or_insert_text("t");
        root.get_string(&self.doc.transact())
    }
}

async fn stored_text(house: &House, document: &DocumentName) -> String {
    let stored = house.store.load(document).await.unwrap();
    let doc = Doc::new();
    let root = doc.get_or_insert_text("t");
    let snapshot = stored.snapshot.into_iter().map(|snapshot| snapshot.state);
    let appends = stored.appends.into_iter().map(|append| append.update);
    for update in snapshot.chain(appends) {
        let update = Update::decode_v1(&update).unwrap();
        doc.transact_mut().apply_update(update).unwrap();
    }
    root.get_string(&doc.transact())
}

#[test]
fn what_was_sent_before_a_panic_and_what_waits_is_answered_once_and_after_the_commit() {
    in_system(async {
        let (house, faulty) = House::open_faulty(CommitterOptions::default()).await;
        let document = name("owed");
        let mut ada = Provider::join(&house.registry, &document).await;
        faulty.hold_commits(true);
        for round in 0..3 {
            ada.write(&format!("a{round} "));
        }
        ada.hear_for(A_WHILE).await;
        assert_eq!(ada.unsynced, 3, "nothing is committed");
        house.registry.harm(&document, Fault::Panic);
        // The next actor waits for the commits, and these for the next actor.
        for round in 0..2 {
            ada.write(&format!("b{round} "));
        }
        ada.hear_for(A_WHILE).await;
        assert_eq!(ada.unsynced, 5, "nothing is committed still");
        faulty.hold_commits(false);
        ada.until_saved(&house, &document).await;
        assert_eq!(ada.text(), "a0 a1 a2 b0 b1 ");
        ada.write("c");
        ada.until_saved(&house, &document).await;
    });
}

#[test]
fn what_stands_in_the_inbox_around_a_panic_is_answered_once() {
    in_system(async {
        let house = House::open(options()).await;
        // A document that panics more often in a row may only be read.
        for round in 0..5 {
            let document = name(&format!("inbox/{round}"));
            let mut ada = Provider::join(&house.registry, &document).await;
            // Some of it is there before the actor's next turn.
            ada.write("a");
            house.registry.harm(&document, Fault::Panic);
            ada.write("b");
            house.registry.harm(&document, Fault::Panic);
            ada.write("c");
            ada.until_saved(&house, &document).await;
        }
    });
}

#[test]
fn a_provider_that_is_slow_to_answer_gets_no_receipt_too_many_after_two_panics() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("twice");
        let mut ada = Provider::join(&house.registry, &document).await;
        ada.answers_at_once = false;
        ada.write("a");
        ada.survive_panic(&house, &document).await;
        ada.write("b");
        ada.survive_panic(&house, &document).await;
        ada.write("c");
        assert_eq!(ada.questions.len(), 2);
        ada.answer_all();
        ada.answers_at_once = true;
        ada.until_saved(&house, &document).await;
        ada.write("d");
        ada.until_saved(&house, &document).await;
    });
}

#[test]
fn a_provider_that_was_not_answered_yet_counts_one_answer_after_panics() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("early");
        let mut ada = Provider::attach(&house.registry, &document);
        ada.answers_at_once = false;
        ada.edit("made before ");
        ada.start();
        ada.until(|provider| provider.asked == 1).await;
        ada.survive_panic(&house, &document).await;
        ada.survive_panic(&house, &document).await;
        ada.write("made behind");
        ada.answer_all();
        ada.answers_at_once = true;
        ada.until_saved(&house, &document).await;
    });
}

#[test]
fn what_was_queued_before_the_step_1_is_not_counted_after_a_panic_either() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("queued");
        let mut ada = Provider::attach(&house.registry, &document);
        ada.answers_at_once = false;
        let queued = [ada.edit("queued "), ada.edit("offline ")];
        ada.start();
        ada.until(|provider| provider.asked == 1).await;
        ada.survive_panic(&house, &document).await;
        queued.into_iter().for_each(|update| ada.say(update));
        ada.hear_for(A_WHILE).await;
        assert_eq!(ada.unsynced, 1, "only its answer counts");
        ada.answer_all();
        ada.answers_at_once = true;
        ada.until_saved(&house, &document).await;
    });
}

#[test]
fn a_count_that_begins_anew_beside_a_panic_ends_at_nothing() {
    in_system(async {
        let house = House::open(options()).await;
        for round in 0..5 {
            let document = name(&format!("anew/{round}"));
            let mut ada = Provider::join(&house.registry, &document).await;
            ada.write("a");
            ada.start();
            house.registry.harm(&document, Fault::Panic);
            ada.write("b");
            ada.until_saved(&house, &document).await;
        }
    });
}

#[test]
fn what_was_queued_before_the_step_1_is_not_counted_when_the_turn_panics_over_it() {
    in_system(async {
        let house = House::open(options()).await;
        let document = name("queued-panic");
        let mut ada = Provider::attach(&house.registry, &document);
        ada.answers_at_once = false;
        let queued = ada.edit("queued");
        ada.start();
        ada.until(|provider| provider.asked == 1).await;
        house.registry.harm(&document, Fault::PanicOverChange);
        ada.say(queued);
        ada.until(|provider| provider.asked == 2).await;
        ada.answer_all();
        ada.answers_at_once = true;
        ada.until_saved(&house, &document).await;
        ada.write("!");
        ada.until_saved(&house, &document).await;
    });
}

#[test]
fn what_was_refused_is_counted_across_a_panic_once_it_may_be_written() {
    in_system(async {
        let house = House::open(options()).await;
        for panics_first in [true, false] {
            let document = name(&format!("refused/{panics_first}"));
            let mut ada = Provider::join(&house.registry, &document).await;
            ada.session.set_rights(Rights::Read);
            ada.write("a");
            ada.write("b");
            ada.until(|provider| provider.refused == 2).await;
            if panics_first {
                ada.survive_panic(&house, &document).await;
                ada.session.set_rights(Rights::Write);
            } else {
                ada.session.set_rights(Rights::Write);
                house.registry.harm(&document, Fault::Panic);
            }
            ada.write("c");
            ada.until_saved(&house, &document).await;
        }
    });
}
