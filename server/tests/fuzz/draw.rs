//! Draws what happens next: peers that open documents with tokens of any worth and say valid and
//! mutated things in right and wrong frames.

use std::collections::HashMap;

use driftless_proto::wire::hocuspocus::split_address;

use crate::calls;
use crate::channel::{Channel, apply};
use crate::dialect::{Dialect, Heard, Meaning, Say, meaning};
use crate::honest::upgrade;
use crate::house::{FRAME_BYTES_MAX, SMALL_BYTES_MAX, UPDATE_BYTES_MAX};
use crate::mutate;
use crate::stage::{DOCUMENTS, SOCKETS_MAX, Stage, document_name};
use crate::step::Step;
use crate::support::random::Random;
use crate::token::{self, Shown};
use crate::write;

/// Messages that a peer remembers, to splice from and to say again.
const POOL_MAX: usize = 16;

/// What is known of a socket by who draws for it.
#[derive(Default)]
struct Player {
    opening: Shown,
    tokens: HashMap<String, Shown>,
    channels: Vec<Channel>,
    pool: Vec<Vec<u8>>,
}

/// Draws the steps of one sequence.
pub(crate) struct Drawer {
    random: Random,
    dialect: Dialect,
    pub(crate) is_mutated: bool,
    players: Vec<Option<Player>>,
    pub(crate) left: u64,
    /// All names that tokens speak of: those of honest clients, and one that nobody uses.
    names: Vec<String>,
}

impl Drawer {
    pub(crate) fn new(dialect: Dialect, seed: u64, names: &[String]) -> Self {
        let mut random = Random::new(!seed);
        let is_mutated = !random.one_in(3);
        let left = 5 + random.below(56);
        let sockets = 1 + random.index(SOCKETS_MAX);
        let unused = document_name(dialect, seed, DOCUMENTS);
        Self {
            random,
            dialect,
            is_mutated,
            players: (0..sockets).map(|_| None).collect(),
            left,
            names: names.iter().cloned().chain([unused]).collect(),
        }
    }

    /// What happens next: one thing, or a few that belong together.
    pub(crate) fn next(&mut self, stage: &mut Stage<'_>) -> Result<Vec<Step>, String> {
        self.left = self.left.saturating_sub(1);
        let socket = self.random.index(self.players.len());
        let is_over = stage.peers[socket]
            .as_ref()
            .is_none_or(|peer| peer.is_ended());
        let document = self.random.index(DOCUMENTS);
        Ok(match self.random.below(24) {
            0 => vec![Step::HonestWrite { document }],
            1 => vec![Step::HonestPresence { document }],
            2..=5 => vec![self.listen()],
            6 if self.dialect == Dialect::YSweet => vec![self.call(stage)?],
            7 if !is_over && self.random.one_in(3) => self.leave(socket),
            _ if is_over || self.players[socket].is_none() => self.open(socket),
            _ => self.speak(stage, socket)?,
        })
    }

    fn listen(&mut self) -> Step {
        let ms = match self.random.below(10) {
            0 => 8,
            few => few % 3,
        };
        Step::Listen { ms }
    }

    fn leave(&mut self, socket: usize) -> Vec<Step> {
        match self.random.below(3) {
            0 => vec![Step::Finish { socket }],
            1 => vec![Step::Cut { socket }],
            _ => {
                let bytes = write::goodbye(&mut self.random);
                vec![plain(socket, bytes)]
            }
        }
    }

    fn token(&mut self) -> Shown {
        token::draw(&mut self.random, &self.names, "peer")
    }

    /// A socket with a token in one of the places where a request can carry it.
    fn open(&mut self, socket: usize) -> Vec<Step> {
        let is_many = self.dialect == Dialect::Hocuspocus;
        let opening = match is_many && self.random.one_in(2) {
            true => Shown::default(),
            false => self.token(),
        };
        let document = self.random.pick(&self.names).clone();
        let mut path = self.dialect.path(&document);
        if self.is_mutated && self.random.one_in(12) {
            path = self.strange_path(&path);
        }
        let token = &opening.text;
        let mut request = match self.random.below(3) {
            0 => upgrade(&path, "", &format!("Authorization: Bearer {token}\r\n")),
            1 => {
                let offer = format!("Sec-WebSocket-Protocol: driftless.token.{token}\r\n");
                upgrade(&path, "", &offer)
            }
            _ => upgrade(&path, token, ""),
        }
        .into_bytes();
        if self.is_mutated && self.random.one_in(16) {
            mutate::bytes(
                &mut self.random,
                &mut request,
                b"GET /ws/x HTTP/1.1\r\n\r\n",
            );
        }
        // A changed path may be that of another document.
        let named = |name: &&String| {
            request
                .windows(name.len())
                .any(|part| part == name.as_bytes())
        };
        let document = self.names.iter().find(named).cloned().unwrap_or(document);
        let shown = match is_many {
            true => Vec::new(),
            false => self.worth(&opening, |_| true),
        };
        let channel = Channel::new(&mut self.random, &document, "");
        self.players[socket] = Some(Player {
            opening,
            channels: if is_many { Vec::new() } else { vec![channel] },
            ..Player::default()
        });
        vec![
            Step::Open { socket, document },
            Step::Write {
                socket,
                bytes: request,
                shown,
                counted: Vec::new(),
            },
        ]
    }

    fn strange_path(&mut self, path: &str) -> String {
        let mut bytes = path.as_bytes().to_vec();
        mutate::bytes(&mut self.random, &mut bytes, b"/d/a/ws/b%2f%00..//");
        let printable = bytes.into_iter().filter(u8::is_ascii_graphic);
        let path: String = printable.map(char::from).take(1_000).collect();
        format!("/{}", path.trim_start_matches('/'))
    }

    /// What a token is worth for the documents that are meant.
    fn worth(
        &self,
        token: &Shown,
        is_meant: impl Fn(&str) -> bool,
    ) -> Vec<(String, driftless::auth::Right)> {
        let meant = self.names.iter().filter(|name| is_meant(name));
        meant
            .map(|name| (name.clone(), token.right(name)))
            .collect()
    }

    fn call(&mut self, stage: &Stage<'_>) -> Result<Step, String> {
        let token = self.token();
        let document = self.random.pick(&self.names).clone();
        let mark = stage.parties[SOCKETS_MAX].1.clone();
        let prefix = *self.random.pick(&["/d", "/doc"]);
        let mut request = match self.random.below(3) {
            0 => calls::request(&format!("{prefix}/{document}/as-update"), &token.text, None),
            1 => {
                let mut body =
                    Channel::new(&mut self.random, &document, "").edit(&mut self.random, &mark)?;
                if self.is_mutated && self.random.one_in(2) {
                    mutate::bytes(&mut self.random, &mut body, &[]);
                }
                let path = format!("{prefix}/{document}/update");
                calls::request(&path, &token.text, Some(&body))
            }
            _ => {
                let body = br#"{"authorization":"full","validForSeconds":60}"#;
                calls::request(&format!("/doc/{document}/auth"), &token.text, Some(body))
            }
        };
        if self.is_mutated && self.random.one_in(8) {
            mutate::bytes(&mut self.random, &mut request, &[]);
        }
        Ok(Step::Call {
            request,
            shown: self.worth(&token, |_| true),
        })
    }

    /// A few messages in one write, some of them answers to what came.
    fn speak(&mut self, stage: &mut Stage<'_>, socket: usize) -> Result<Vec<Step>, String> {
        let mut player = self.players[socket].take().unwrap_or_default();
        let news = stage.peers[socket]
            .as_mut()
            .map(|peer| std::mem::take(&mut peer.news));
        let mark = stage.parties[socket].1.clone();
        let mut messages = self.answers(&mut player, news.unwrap_or_default())?;
        for _ in 0..=self.random.below(3) {
            messages.push(self.say(&mut player, &mark)?);
        }
        let mut steps = Vec::new();
        let (mut bytes, mut shown, mut counted) = (Vec::new(), Vec::new(), Vec::new());
        for mut message in messages {
            if self.is_mutated && self.random.one_in(10) {
                let at = self.random.index(player.pool.len().max(1));
                let other = player.pool.get(at).cloned().unwrap_or_default();
                mutate::bytes(&mut self.random, &mut message, &other);
            }
            if !self.may_say(stage, &player, &message) {
                continue;
            }
            if player.pool.len() < POOL_MAX {
                player.pool.push(message.clone());
            }
            let (framed, times) = self.framed(&message);
            bytes.extend(framed);
            if self.dialect == Dialect::Hocuspocus {
                let meaning = meaning(&message);
                shown.extend(self.meant(&player, &meaning));
                if meaning.is_counted {
                    counted.extend(vec![meaning.address; times]);
                }
            }
        }
        if self.is_mutated && self.random.one_in(24) {
            bytes.truncate(self.random.index(bytes.len() + 1));
            steps.push(Step::Cut { socket });
        } else if self.random.one_in(6) && !bytes.is_empty() {
            let tail = bytes.split_off(self.random.index(bytes.len()));
            steps.extend([self.listen(), plain(socket, tail)]);
        }
        steps.insert(
            0,
            Step::Write {
                socket,
                bytes,
                shown,
                counted,
            },
        );
        self.players[socket] = Some(player);
        Ok(steps)
    }

    /// Whoever knows a secret says it to the document it is of, and to no other.
    fn may_say(&self, stage: &Stage<'_>, player: &Player, message: &[u8]) -> bool {
        let ledger = stage.ledger.borrow();
        let meant = match self.dialect {
            Dialect::Hocuspocus => meaning(message).document,
            _ => player
                .channels
                .first()
                .map(|channel| channel.document.clone()),
        };
        let secrets = ledger.secrets_in(message);
        secrets.iter().all(|owner| meant.as_deref() == Some(*owner))
    }

    /// What a frame shows the server, beside what it says.
    fn meant(&self, player: &Player, meaning: &Meaning) -> Vec<(String, driftless::auth::Right)> {
        let Some(document) = &meaning.document else {
            return Vec::new();
        };
        // What came with the request counts for frames without a token.
        let mut shown = self.worth(&player.opening, |name| name == document);
        let token = meaning
            .token
            .as_ref()
            .and_then(|text| player.tokens.get(text));
        if let Some(token) = token {
            shown.extend(self.worth(token, |name| name == document));
        }
        shown
    }

    /// A message as frames, and how often it may be understood.
    fn framed(&mut self, message: &[u8]) -> (Vec<u8>, usize) {
        let random = &mut self.random;
        match random.below(48) {
            0..=5 => (write::fragments(random, message), 1),
            7..=8 => {
                let mut bytes = write::control(random);
                bytes.extend(write::message(random, message));
                (bytes, 1)
            }
            9 if self.is_mutated => (write::broken(random, message), 2),
            10 if self.is_mutated => {
                let mut bytes = write::message(random, message);
                mutate::bytes(random, &mut bytes, message);
                (bytes, 2)
            }
            11..=12 => {
                let mut bytes = write::message(random, message);
                bytes.extend(write::message(random, message));
                (bytes, 2)
            }
            _ => (write::message(random, message), 1),
        }
    }

    /// Takes in what the server said, and answers most of its questions.
    fn answers(
        &mut self,
        player: &mut Player,
        news: Vec<(String, Heard)>,
    ) -> Result<Vec<Vec<u8>>, String> {
        let mut answers = Vec::new();
        for (address, heard) in news {
            let mut channels = player.channels.iter_mut();
            let Some(channel) = channels.find(|channel| channel.address == address) else {
                continue;
            };
            match heard {
                Heard::Changed(update) => apply(&channel.doc, &update)?,
                Heard::Asked(vector) if !self.random.one_in(5) => {
                    let say = Say::Step2(channel.difference(&vector));
                    answers.push(self.dialect.write(&address, &say));
                }
                _ => {}
            }
        }
        Ok(answers)
    }

    /// One message, of one of the peer's documents or a new one.
    fn say(&mut self, player: &mut Player, mark: &str) -> Result<Vec<u8>, String> {
        if self.random.one_in(12) && !player.pool.is_empty() {
            return Ok(self.random.pick(&player.pool).clone());
        }
        if self.dialect != Dialect::Hocuspocus {
            let say = self.plain_word(&mut player.channels[0], mark)?;
            return Ok(self.dialect.write("", &say));
        }
        let is_new = player.channels.is_empty() || self.random.one_in(6);
        if is_new {
            let address = self.address();
            if player
                .channels
                .iter()
                .all(|channel| channel.address != address)
            {
                let name = split_address(&address).0.to_owned();
                let channel = Channel::new(&mut self.random, &name, &address);
                player.channels.push(channel);
                if !self.random.one_in(6) {
                    let say = self.show_token(player);
                    return Ok(self.dialect.write(&address, &say));
                }
            }
        }
        let at = self.random.index(player.channels.len());
        let say = match self.random.below(16) {
            0 => Say::Close,
            1 => self.show_token(player),
            2 => Say::Beat(9 + self.random.below(2) as u8),
            3 => Say::Stateless(self.text(mark)),
            4 if self.is_mutated => Say::Other(self.random.below(12), vec![1]),
            _ => self.word(&mut player.channels[at], mark)?,
        };
        let address = player.channels[at].address.clone();
        Ok(self.dialect.write(&address, &say))
    }

    /// A document's name, with a session id or without.
    fn address(&mut self) -> String {
        let name = self.random.pick(&self.names).clone();
        match self.random.below(16) {
            0..=4 => format!("{name}\0s{}", self.random.below(2)),
            5 if self.is_mutated => format!("{name}\0{}", "s".repeat(200)),
            6 if self.is_mutated => "\0".to_owned(),
            7 if self.is_mutated => "n".repeat(600),
            8 if self.is_mutated => format!("{name}/../{name}"),
            _ => name,
        }
    }

    fn show_token(&mut self, player: &mut Player) -> Say {
        let token = self.token();
        player.tokens.insert(token.text.clone(), token.clone());
        let versions = [None, Some("3.4.4"), Some("4.8.0"), Some("4.8.0")];
        Say::Token(token.text, *self.random.pick(&versions))
    }

    fn text(&mut self, mark: &str) -> String {
        let long = match self.random.below(12) {
            0 => SMALL_BYTES_MAX - self.random.index(40),
            _ => self.random.index(20),
        };
        format!("{mark}{}", "t".repeat(long))
    }

    /// What only dialects with one document a socket have.
    fn plain_word(&mut self, channel: &mut Channel, mark: &str) -> Result<Say, String> {
        Ok(match self.random.below(12) {
            0 | 1 => Say::Probe(channel.next_probe(&mut self.random)),
            2 => Say::PresenceAsQuery(channel.presence(&mut self.random, mark)),
            3 if self.is_mutated => Say::Other(self.random.below(110), vec![0]),
            _ => self.word(channel, mark)?,
        })
    }

    /// What all dialects have.
    fn word(&mut self, channel: &mut Channel, mark: &str) -> Result<Say, String> {
        let is_mutated = self.is_mutated && self.random.one_in(4);
        let change = |random: &mut Random, mut bytes: Vec<u8>| {
            if is_mutated {
                mutate::bytes(random, &mut bytes, mark.as_bytes());
            }
            bytes
        };
        let random = &mut self.random;
        Ok(match random.below(14) {
            0 | 1 => Say::Step1(change(random, channel.vector())),
            2 => Say::Step1(vec![0]),
            3 => Say::Step2(change(random, channel.difference(&[0]))),
            4..=8 => {
                let edit = channel.edit(random, mark)?;
                Say::Update(change(random, edit))
            }
            9..=11 => {
                let presence = channel.presence(random, mark);
                Say::Presence(change(random, presence))
            }
            12 if self.is_mutated && random.one_in(6) => {
                let large = *random.pick(&[UPDATE_BYTES_MAX, FRAME_BYTES_MAX]);
                Say::Update(vec![1; large + random.index(3)])
            }
            _ => Say::Query,
        })
    }
}

fn plain(socket: usize, bytes: Vec<u8>) -> Step {
    Step::Write {
        socket,
        bytes,
        shown: Vec::new(),
        counted: Vec::new(),
    }
}
