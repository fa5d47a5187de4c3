//! Plays steps: documents with honest clients, peers that may be anything, and what reached whom.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use driftless::auth::Right;
use driftless_proto::wire::hocuspocus::split_address;

use crate::calls;
use crate::dialect::{Dialect, Heard, Say};
use crate::honest::{Honest, upgrade};
use crate::house::House;
use crate::ledger::{Ledger, Party};
use crate::socket::{Frame, Socket};
use crate::step::Step;
use crate::support::random::Random;
use crate::token::{self, Shown};
use crate::write::message;

/// Sockets at a time.
pub(crate) const SOCKETS_MAX: usize = 4;
/// Documents that honest clients are in.
pub(crate) const DOCUMENTS: usize = 3;

/// The name of a sequence's document; those from [`DOCUMENTS`] on are nobody's.
pub(crate) fn document_name(dialect: Dialect, seed: u64, at: usize) -> String {
    format!("{}-{seed:016x}-{at}", dialect.name())
}

/// One socket of a peer.
pub(crate) struct Peer {
    party: Party,
    dialect: Dialect,
    socket: Socket,
    /// Updates that were sent, and receipts that came, by address.
    counted: HashMap<String, u64>,
    receipts: HashMap<String, u64>,
    /// What came and was not acted on.
    pub(crate) news: Vec<(String, Heard)>,
    /// The document, where a socket has only one.
    document: String,
}

/// All that a sequence is played with.
pub(crate) struct Stage<'a> {
    pub(crate) house: &'a House,
    pub(crate) dialect: Dialect,
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    pub(crate) names: Vec<String>,
    /// A token with every right.
    pub(crate) key: Shown,
    pub(crate) honest: Vec<Honest>,
    pub(crate) random: Random,
    pub(crate) peers: Vec<Option<Peer>>,
    /// What each socket's peer is known as, and signs by.
    pub(crate) parties: Vec<(Party, String)>,
    secrets: Vec<String>,
    /// An honest Hocuspocus client of all documents, which says and hears stateless messages.
    ally: Option<Peer>,
}

impl<'a> Stage<'a> {
    /// Everybody honest arrives and has written something.
    pub(crate) async fn set(
        house: &'a House,
        ledger: &Rc<RefCell<Ledger>>,
        dialect: Dialect,
        seed: u64,
    ) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let names: Vec<_> = (0..DOCUMENTS)
            .map(|at| document_name(dialect, seed, at))
            .collect();
        let secret = |name: &String| ledger.borrow_mut().secret(&mut random, name);
        let secrets: Vec<_> = names.iter().map(secret).collect();
        let party = |_| ledger.borrow_mut().party(&mut random);
        let parties: Vec<_> = (0..=SOCKETS_MAX).map(party).collect();
        let key = token::for_all(&names, Right::Write);
        let mut honest = Vec::new();
        for name in &names {
            honest.push(Honest::join(house, ledger, &mut random, &key, name).await);
        }
        let mut stage = Self {
            house,
            dialect,
            ledger: ledger.clone(),
            names,
            key,
            honest,
            random,
            peers: (0..SOCKETS_MAX).map(|_| None).collect(),
            parties,
            secrets,
            ally: None,
        };
        if dialect == Dialect::Hocuspocus {
            stage.ally = Some(stage.invite().await);
        }
        for document in 0..DOCUMENTS {
            stage.honest_write(document).await?;
            stage.honest_presence(document).await;
        }
        for honest in &mut stage.honest {
            honest.until_saved().await?;
        }
        Ok(stage)
    }

    /// An honest Hocuspocus client.
    async fn invite(&mut self) -> Peer {
        let party = self.parties[SOCKETS_MAX].0;
        let mut ally = self.peer(party).await;
        let request = upgrade(Dialect::Hocuspocus.path("").as_str(), "", "");
        ally.socket.write(request.as_bytes()).await;
        for name in &self.names {
            self.ledger.borrow_mut().allow(party, name, Right::Write);
            for say in [
                Say::Token(self.key.text.clone(), Some("4.8.0")),
                Say::Step1(vec![0]),
            ] {
                let bytes = Dialect::Hocuspocus.write(name, &say);
                ally.socket.write(&message(&mut self.random, &bytes)).await;
            }
        }
        ally
    }

    async fn peer(&self, party: Party) -> Peer {
        Peer {
            party,
            dialect: self.dialect,
            socket: Socket::connect(self.house.doors.address()).await,
            counted: HashMap::new(),
            receipts: HashMap::new(),
            news: Vec::new(),
            document: String::new(),
        }
    }

    /// Sessions of honest clients in each document.
    pub(crate) fn honest_sessions(&self) -> usize {
        1 + usize::from(self.ally.is_some())
    }

    /// Plays one step; what does not hold is an error.
    pub(crate) async fn play(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Open { socket, document } => {
                let mut peer = self.peer(self.parties[*socket].0).await;
                peer.document.clone_from(document);
                self.peers[*socket] = Some(peer);
            }
            Step::Write {
                socket,
                bytes,
                shown,
                counted,
            } => {
                let party = self.parties[*socket].0;
                for (document, right) in shown {
                    self.ledger.borrow_mut().allow(party, document, *right);
                }
                if let Some(peer) = &mut self.peers[*socket] {
                    for address in counted {
                        *peer.counted.entry(address.clone()).or_default() += 1;
                    }
                    peer.socket.write(bytes).await;
                }
            }
            Step::Listen { ms } => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                self.hear().await?;
            }
            Step::Finish { socket } => {
                if let Some(peer) = &mut self.peers[*socket] {
                    peer.socket.finish().await;
                }
            }
            Step::Cut { socket } => {
                let peer = self.peers[*socket].take();
                if let Some(mut peer) = peer {
                    peer.hear(&self.ledger.borrow())?;
                }
            }
            Step::HonestWrite { document } => self.honest_write(*document).await?,
            Step::HonestPresence { document } => self.honest_presence(*document).await,
            Step::Call { request, shown } => self.call(shown, request).await?,
        }
        Ok(())
    }

    async fn honest_write(&mut self, document: usize) -> Result<(), String> {
        let text = self.secrets[document].clone();
        self.honest[document].write(&text).await
    }

    async fn honest_presence(&mut self, document: usize) {
        let text = self.secrets[document].clone();
        self.honest[document].appear(&text).await;
        if let Some(ally) = &mut self.ally {
            let say = Say::Stateless(format!("hello {text}"));
            let bytes = Dialect::Hocuspocus.write(&self.names[document], &say);
            ally.socket.write(&message(&mut self.random, &bytes)).await;
        }
    }

    async fn call(&mut self, shown: &[(String, Right)], request: &[u8]) -> Result<(), String> {
        let caller = self.parties[SOCKETS_MAX].0;
        for (document, right) in shown {
            self.ledger.borrow_mut().allow(caller, document, *right);
        }
        let answer = calls::answer(self.house, request).await;
        let ledger = self.ledger.borrow();
        for owner in ledger.secrets_in(&answer) {
            let may_read = |(name, right): &(String, Right)| name == owner && *right >= Right::Read;
            // What this call shows counts, not what an earlier one did.
            if !shown.iter().any(may_read) {
                return Err(format!(
                    "LEAK: the secret of {owner} is in the answer to a call"
                ));
            }
        }
        Ok(())
    }

    /// Looks at all that reached anybody.
    pub(crate) async fn hear(&mut self) -> Result<(), String> {
        for honest in &mut self.honest {
            honest.hear().await?;
        }
        let peers = self.peers.iter_mut().flatten().chain(&mut self.ally);
        for peer in peers {
            peer.hear(&self.ledger.borrow())?;
        }
        let ally_is_gone = self
            .ally
            .as_ref()
            .is_some_and(|ally| ally.socket.is_ended());
        match ally_is_gone {
            true => Err("the honest Hocuspocus client was cut off".to_owned()),
            false => Ok(()),
        }
    }

    /// The peers leave; the honest ones stay.
    pub(crate) fn clear(&mut self) {
        self.peers.iter_mut().for_each(|peer| *peer = None);
    }

    /// Whether a peer or a call may change a document.
    pub(crate) fn is_writable(&self, document: &str) -> bool {
        let ledger = self.ledger.borrow();
        let mut peers = self.parties[..SOCKETS_MAX].iter();
        let called = self.dialect == Dialect::YSweet
            && ledger.right(self.parties[SOCKETS_MAX].0, document) >= Right::Write;
        called || peers.any(|(party, _)| ledger.right(*party, document) >= Right::Write)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let mut ledger = self.ledger.borrow_mut();
        self.parties
            .iter()
            .for_each(|(party, _)| ledger.forget(*party));
    }
}

impl Peer {
    pub(crate) fn is_ended(&self) -> bool {
        self.socket.is_ended()
    }

    fn hear(&mut self, ledger: &Ledger) -> Result<(), String> {
        for Frame(first, payload) in self.socket.take_frames() {
            match first {
                0x82 => self.read(ledger, &payload)?,
                0x88..=0x8a => {
                    // A pong says what the ping said, which can be anything the peer knows.
                    let told = ledger.secrets_in(&payload);
                    if first != 0x8a && !told.is_empty() {
                        return Err(format!("LEAK: a control frame shows {told:?}"));
                    }
                }
                _ => {
                    return Err(format!(
                        "the server sends a frame that begins with {first:#x}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, ledger: &Ledger, payload: &[u8]) -> Result<(), String> {
        let (address, all) = self.dialect.hear(payload)?;
        let document = match self.dialect {
            Dialect::Hocuspocus => split_address(&address).0,
            _ => &self.document,
        };
        for heard in all {
            let needed = match heard {
                Heard::Changed(_) => Right::Write,
                _ => Right::Comment,
            };
            ledger.check(Some(self.party), document, payload, needed)?;
            if let Heard::Receipt { accepted: true } = heard {
                let receipts = self.receipts.entry(address.clone()).or_default();
                *receipts += 1;
                let counted = self.counted.get(&address).copied().unwrap_or_default();
                if *receipts > counted {
                    return Err(format!(
                        "{receipts} receipts for {counted} updates at {address:?}"
                    ));
                }
            }
            self.news.push((address.clone(), heard));
        }
        Ok(())
    }
}
