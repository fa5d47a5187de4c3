//! The Hocuspocus door: `/hocuspocus`, for providers 2, 3 and 4, many documents over one socket.
//!
//! ```text
//!  frame ─▶ address ─▶ Channel ─┬─ waits for a token, or for the answer to one: frames queue
//!                               └─ open: frames go to its session
//! ```
//!
//! Source of protocol facts: `proto/src/wire/hocuspocus.rs`, and for the order of what is said
//! `ClientConnection.ts` and `Connection.ts` of @hocuspocus/server 4.7.0.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use driftless_proto::bucket::TokenBucket;
use driftless_proto::engine::CloseReason;
use driftless_proto::wire::hocuspocus::{self as wire, Incoming, Said};
use driftless_proto::wire::{Message, Outbound};
use futures_util::stream::{FuturesUnordered, Stream};

use self::channel::{Channel, Stage};
use super::access::{Deciding, Opening};
use super::http::DoorSign;
use super::websocket::{Conversation, Delivered, FIRST_PING, HEARD_PING, Work, put_frame};
use crate::auth::{Denial, Grant};
use crate::error::Refusal;
use crate::metrics;
use crate::outbox::{LineId, Recheck};
use crate::session::{Ended, ReceiveError, SessionHandle};

mod channel;
mod codes;
mod questions;
mod steps;

/// The door's place.
pub(super) const SIGN: DoorSign = DoorSign {
    matches,
    place: "/hocuspocus",
    dialect: Hocuspocus::NAME,
    client: "new HocuspocusProvider({ url: \"ws://HOST/hocuspocus\", name })",
};

/// Questions about access that may be under way for one connection; what comes next is not read until
/// some are answered.
const DECIDING_MAX: usize = 64;

/// Newer tokens a second that are asked about for open channels of one connection, and for how many
/// seconds that may come at once: a page with two hundred documents renews all of them in one go. What
/// comes faster waits.
const RENEWALS_PER_SECOND: u64 = 20;
const RENEWALS_BURST_SECONDS: u64 = 10;

/// How long a token waits when too many were shown.
const RENEWAL_WAIT_MS: u64 = 250;

/// How long a document stays open that was closed while what had waited for the connection came: if the
/// answer to a question about it comes, it was closed before it was opened.
const CLOSE_PATIENCE_MS: u64 = 5_000;

/// The path at this door, if it is one: what is behind it has no meaning here.
fn matches(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(SIGN.place)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Every path: for clients whose URL cannot be changed.
pub(super) fn matches_all(path: &str) -> Option<&str> {
    Some(path)
}

/// An answer and the channel it is for.
type Answered = (LineId, Result<Grant, Denial>);

/// What is said over one socket.
pub(super) struct Hocuspocus {
    opening: Opening,
    channels: HashMap<LineId, Channel>,
    by_address: HashMap<Bytes, LineId>,
    next_line: LineId,
    /// The first session; the socket is beside its document.
    home: Option<LineId>,
    /// A session came that the socket is not beside yet, and it is beside none.
    wants_move: bool,
    /// A provider of version 4 or later said so: it knows pings and closed documents.
    is_modern: bool,
    /// The answer to the first ping has come.
    has_ponged: bool,
    /// The answer to the ping behind the first message has come. Where the WebSocket hands on what comes
    /// while it closes, so that answers wait for the next connection, they came before.
    has_heard: bool,
    /// A question was answered: the provider has sent what waited for the connection.
    has_answered: bool,
    deciding: FuturesUnordered<Tagged>,
    /// Questions about newer tokens for open channels.
    renewals: Option<TokenBucket>,
    /// Messages on their way to their documents, in order; those of a channel that was just opened,
    /// and those of the frame that was taken last.
    under_way: VecDeque<(LineId, Message)>,
    /// Bytes that wait in channels that are not open.
    waiting_bytes: usize,
    /// What the connection has to end for.
    refusal: Option<Refusal>,
    /// When the first session has to be open; `u64::MAX` once one was.
    proves_by_ms: u64,
    deadline_ms: u64,
    is_over: bool,
}

/// A decision that remembers whom it is for.
struct Tagged {
    line: LineId,
    /// Counts the questions of a channel: a later one makes the answer to an earlier one void.
    number: u64,
    answer: Deciding,
}

impl Future for Tagged {
    type Output = (u64, Answered);

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (number, line) = (self.number, self.line);
        self.answer
            .as_mut()
            .poll(cx)
            .map(|decided| (number, (line, decided)))
    }
}

impl Hocuspocus {
    /// Says something to the peer, behind all that was said before.
    fn say(&self, write: impl FnOnce(&mut BytesMut)) {
        // Once the socket closes nobody hears it.
        let _ = self.opening.outbox.push_answer(frame(write));
    }

    fn close(&mut self, reason: CloseReason, text: &'static str) {
        self.refusal.get_or_insert(Refusal {
            text: text.into(),
            ..reason.into()
        });
    }

    fn poll_decisions(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Poll::Ready(Some((number, (line, decided)))) =
            std::pin::Pin::new(&mut self.deciding).poll_next(cx)
        {
            progress = true;
            self.decided(line, number, decided);
        }
        progress
    }

    /// Delivers one message; `Some` when no other can be before something happens.
    fn deliver_one(
        &mut self,
        line: LineId,
        message: Message,
        cx: &mut Context<'_>,
    ) -> Option<Delivered> {
        let channel = self.channels.get_mut(&line)?;
        let Stage::Open { session, .. } = &mut channel.stage else {
            return None;
        };
        match session.try_receive(message) {
            Ok(()) | Err(ReceiveError::Ended) => None,
            Err(ReceiveError::Full(message)) => {
                let room = session.poll_room(cx);
                if let Poll::Ready(Err(Ended)) = room {
                    return None;
                }
                self.under_way.push_front((line, message));
                room.is_pending().then_some(Delivered::Paused)
            }
        }
    }
}

impl Conversation for Hocuspocus {
    const NAME: &'static str = "hocuspocus";
    const ANSWERS_WRITES: bool = true;
    // Its first message has the peer send what waited for the connection.
    const PINGS_FIRST: bool = true;

    fn begin(opening: Opening) -> Self {
        let edge = &opening.edge;
        let now_ms = edge.clock.now_ms();
        let proves_by_ms = now_ms + edge.options.unauthenticated_timeout_ms;
        let refusal = opening.token.as_ref().err().map(|denial| {
            metrics::auth_decided(denial.label(), Self::NAME);
            Refusal::from(*denial)
        });
        Self {
            opening,
            channels: HashMap::new(),
            by_address: HashMap::new(),
            next_line: 0,
            home: None,
            wants_move: false,
            is_modern: false,
            has_ponged: false,
            has_heard: false,
            has_answered: false,
            deciding: FuturesUnordered::new(),
            renewals: TokenBucket::new(RENEWALS_PER_SECOND, RENEWALS_BURST_SECONDS, now_ms),
            under_way: VecDeque::new(),
            waiting_bytes: 0,
            refusal,
            proves_by_ms,
            deadline_ms: proves_by_ms,
            is_over: false,
        }
    }

    fn home(&self) -> Option<&dyn SessionHandle> {
        match &self.channels.get(&self.home?)?.stage {
            Stage::Open { session, .. } => Some(&**session),
            _ => None,
        }
    }

    fn is_listening(&self) -> bool {
        !self.is_over
    }

    fn take(&mut self, frame: Bytes) {
        match wire::read(frame) {
            Ok(Incoming::Ping) => self.say(wire::put_pong),
            Ok(Incoming::Pong) => {}
            Ok(Incoming::Addressed { address, said }) => match said {
                Said::Token {
                    token,
                    provider_version,
                } => {
                    self.is_modern |= provider_version.is_some();
                    self.receive_token(&address, &token);
                }
                Said::Close => self.receive_close(&address),
                Said::Message(message) => self.receive(&address, message),
            },
            Err(error) => {
                self.refusal.get_or_insert(Refusal {
                    text: error.to_string().into(),
                    ..CloseReason::Malformed.into()
                });
            }
        }
    }

    fn ponged(&mut self, payload: &[u8]) {
        // Only the first of a kind tells something: by the next one the peer has heard us.
        if payload == FIRST_PING && !std::mem::replace(&mut self.has_ponged, true) {
            self.tell_all(&Message::Pong);
        }
        self.has_heard |= payload == HEARD_PING;
    }

    fn deliver(&mut self, cx: &mut Context<'_>) -> Delivered {
        // Answers that are ready now open channels before the frames behind them are looked at.
        self.poll_decisions(cx);
        while let Some((line, message)) = self.under_way.pop_front() {
            if let Some(stop) = self.deliver_one(line, message, cx) {
                return stop;
            }
        }
        match self.refusal.take() {
            Some(refusal) => Delivered::Refused(refusal),
            // What follows is read once the socket is where it stays, and some answers have come.
            None if self.wants_move || self.deciding.len() >= DECIDING_MAX => Delivered::Paused,
            None => Delivered::All,
        }
    }

    fn work(&mut self, cx: &mut Context<'_>, now_ms: u64) -> Work {
        if self.is_over {
            return Work::Nothing;
        }
        let mut progress = self.poll_decisions(cx);
        if now_ms >= self.deadline_ms {
            self.watch(now_ms);
            progress = true;
        }
        if let Some(refusal) = self.refusal.take() {
            return Work::Close(refusal);
        }
        if std::mem::take(&mut self.wants_move) {
            return Work::Move;
        }
        match progress {
            true => Work::Progress,
            false => Work::Nothing,
        }
    }

    fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    fn drained(&mut self, lines: &[LineId]) {
        for line in lines {
            if let Some(Stage::Open { session, .. }) = self.stage(*line) {
                session.drained();
            }
        }
    }

    fn recheck(&mut self, lines: &BTreeMap<LineId, Recheck>) {
        for (line, what) in lines {
            self.recheck_channel(*line, *what);
        }
    }

    fn ended(&mut self, line: LineId, reason: CloseReason, into: &mut BytesMut) -> Option<Refusal> {
        self.session_ended(line, reason, into)
    }

    fn leave(&mut self, clean: bool) {
        self.is_over = true;
        self.deadline_ms = u64::MAX;
        self.by_address.clear();
        self.under_way.clear();
        self.deciding.clear();
        for (_, channel) in self.channels.drain() {
            if let Stage::Open { session, .. } = channel.stage
                && clean
            {
                session.detach(true);
            }
        }
    }

    fn keep_alive(&self, into: &mut BytesMut) {
        if self.is_modern {
            return put_frame(into, wire::put_ping);
        }
        let open = self.channels.values().find(|channel| channel.is_open());
        // No document has the empty name: the connection counts the message, and hands it to nobody.
        let address = open.map_or(&b""[..], |channel| &channel.address);
        put_frame(into, |into| {
            wire::encode(address, &Outbound::KeepAlive, into)
        });
    }

    fn farewell(&self, refusal: &Refusal, _: &mut BytesMut) -> u16 {
        codes::close_code(refusal)
    }
}

/// One frame.
fn frame(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut frame = BytesMut::new();
    put_frame(&mut frame, write);
    frame.freeze()
}

/// Writes a message to one session as frames; receipts one frame each.
fn write_frames(address: &[u8], message: &Outbound, into: &mut BytesMut) {
    let start = into.len();
    put_frame(into, |into| wire::encode(address, message, into));
    if let Outbound::Receipts { count, .. } = message {
        let frame = Bytes::copy_from_slice(&into[start..]);
        (1..*count).for_each(|_| into.extend_from_slice(&frame));
    }
}

#[cfg(test)]
mod tests;
