//! An honest y-websocket client, which hears all and believes nothing.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use driftless::auth::Right;
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, StateVector, Transact};

use crate::channel::{self, apply, guarded, insert, new_doc};
use crate::dialect::{Dialect, Heard, Say};
use crate::house::House;
use crate::ledger::{Ledger, Party};
use crate::socket::{Frame, Socket};
use crate::support::random::Random;
use crate::token::Shown;
use crate::write::message;

/// Far beyond what anything here takes, on a busy machine, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const DIALECT: Dialect = Dialect::YWebSocket;

/// One client of one document.
pub(crate) struct Honest {
    pub(crate) document: String,
    pub(crate) doc: Doc,
    /// What honest clients wrote, and nothing else.
    pub(crate) mirror: Doc,
    ledger: Rc<RefCell<Ledger>>,
    party: Party,
    socket: Socket,
    random: Random,
    client: u64,
    clock: u64,
    probe: u64,
    saved: u64,
}

/// The request for a WebSocket, with its token in the query.
pub(crate) fn upgrade(path: &str, token: &str, headers: &str) -> String {
    let query = if token.is_empty() {
        String::new()
    } else {
        format!("?token={token}")
    };
    format!(
        "GET {path}{query} HTTP/1.1\r\nHost: sync.example.com\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

impl Honest {
    pub(crate) async fn join(
        house: &House,
        ledger: &Rc<RefCell<Ledger>>,
        random: &mut Random,
        token: &Shown,
        document: &str,
    ) -> Self {
        let party = ledger.borrow_mut().party(random).0;
        ledger
            .borrow_mut()
            .allow(party, document, token.right(document));
        let mut socket = Socket::connect(house.doors.address()).await;
        let request = upgrade(&DIALECT.path(document), &token.text, "");
        socket.write(request.as_bytes()).await;
        let doc = new_doc(random);
        let mut honest = Self {
            document: document.to_owned(),
            mirror: new_doc(random),
            client: doc.client_id().get(),
            doc,
            ledger: ledger.clone(),
            party,
            socket,
            random: Random::new(random.bits()),
            clock: 0,
            probe: 0,
            saved: 0,
        };
        let vector = honest.vector().encode_v1();
        honest.say(&Say::Step1(vector)).await;
        honest
    }

    pub(crate) fn vector(&self) -> StateVector {
        self.doc.transact().state_vector()
    }

    async fn say(&mut self, say: &Say) {
        let bytes = message(&mut self.random, &DIALECT.write("", say));
        self.socket.write(&bytes).await;
    }

    /// Writes as a client of its own: nobody can have used its clocks before.
    pub(crate) async fn write(&mut self, text: &str) -> Result<(), String> {
        let doc = new_doc(&mut self.random);
        let state = {
            let transaction = self.doc.transact();
            guarded("encode", || {
                transaction.encode_diff_v1(&StateVector::default())
            })?
        };
        apply(&doc, &state)?;
        let update = guarded("insert", || insert(&doc, &mut self.random, text))?;
        apply(&self.doc, &update)?;
        apply(&self.mirror, &update)?;
        self.say(&Say::Update(update)).await;
        Ok(())
    }

    /// Shows itself.
    pub(crate) async fn appear(&mut self, text: &str) {
        self.clock += 1;
        let state = format!("{{\"name\":\"{text}\"}}");
        let entries = channel::presence(&[(self.client, self.clock, state)]);
        self.say(&Say::Presence(entries)).await;
    }

    /// Looks at all that came.
    pub(crate) async fn hear(&mut self) -> Result<(), String> {
        for Frame(first, payload) in self.socket.take_frames() {
            match first {
                0x82 => self.read(&payload).await?,
                0x89 | 0x8a => {}
                _ => {
                    let text = String::from_utf8_lossy(&payload).into_owned();
                    return Err(format!(
                        "an honest client of {} is told {first:#x} {text}",
                        self.document
                    ));
                }
            }
        }
        match self.socket.is_ended() {
            true => Err(format!("an honest client of {} was cut off", self.document)),
            false => Ok(()),
        }
    }

    async fn read(&mut self, payload: &[u8]) -> Result<(), String> {
        for heard in DIALECT.hear(payload)?.1 {
            let needed = match heard {
                Heard::Changed(_) => Right::Write,
                _ => Right::Comment,
            };
            self.ledger
                .borrow()
                .check(Some(self.party), &self.document, payload, needed)?;
            match heard {
                Heard::Asked(vector) => {
                    let channel = guarded("answer", || {
                        let vector = yrs::updates::decoder::Decode::decode_v1(&vector);
                        let vector: StateVector = vector.unwrap_or_default();
                        self.doc.transact().encode_diff_v1(&vector)
                    })?;
                    self.say(&Say::Step2(channel)).await;
                }
                Heard::Changed(update) => apply(&self.doc, &update)?,
                Heard::Saved(version) => self.saved = self.saved.max(version),
                _ => {}
            }
        }
        Ok(())
    }

    /// Hears until all it sent is durable.
    pub(crate) async fn until_saved(&mut self) -> Result<(), String> {
        let by = Instant::now() + PATIENCE;
        self.probe += 1;
        self.say(&Say::Probe(self.probe)).await;
        while self.saved < self.probe {
            self.hear().await?;
            if Instant::now() > by {
                return Err(format!(
                    "what was written to {} is never durable",
                    self.document
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Hears until both have the same.
    pub(crate) async fn converge(&mut self, other: &mut Self) -> Result<(), String> {
        let by = Instant::now() + PATIENCE;
        loop {
            self.hear().await?;
            other.hear().await?;
            let (mine, theirs) = (self.vector(), other.vector());
            if mine == theirs {
                return Ok(());
            }
            if Instant::now() > by {
                return Err(format!(
                    "clients of {} do not converge: {mine:?} {theirs:?}",
                    self.document
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.ledger.borrow_mut().forget(self.party);
    }
}
