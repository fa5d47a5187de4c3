//! What each thing that happens does to a channel: tokens, messages, openings, ends.

use bytes::{Bytes, BytesMut};
use driftless_proto::engine::{Access, Acks, CloseReason, Rights};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::hocuspocus as wire;
use driftless_proto::wire::{Message, Notice};

use super::channel::{Channel, Queue, Stage};
use super::{CLOSE_PATIENCE_MS, Hocuspocus, codes, frame, write_frames};
use crate::adapters::access::Due;
use crate::adapters::websocket::{Conversation, put_frame};
use crate::auth::{Denial, Grant, Token};
use crate::error::{Refusal, reason_of};
use crate::metrics;
use crate::outbox::{Line, LineId};
use crate::session::{AttachError, AttachRequest, Encoding};

/// The longest session id behind a document's name; providers use eleven characters.
const SESSION_ID_BYTES_MAX: usize = 128;

impl Hocuspocus {
    pub(super) fn stage(&self, line: LineId) -> Option<&Stage> {
        self.channels.get(&line).map(|channel| &channel.stage)
    }

    /// The peer shows a token: for a new document, after a refusal, or a fresh one for an open one.
    pub(super) fn receive_token(&mut self, address: &Bytes, token: &[u8]) {
        if let Some(line) = self.by_address.get(address).copied()
            && let Some(channel) = self.channels.get(&line)
            && channel.closes_ms != u64::MAX
        {
            // It was closed, and is opened again.
            self.close_channel(line);
        }
        let Some(line) = self.line(address) else {
            return;
        };
        match Token::from_bytes(token) {
            // Providers 3 and 4 always send the field; what came with the request counts then.
            Ok(_) if token.is_empty() => {
                let token = self.opening.token.clone().ok().flatten();
                self.show(line, token);
            }
            Ok(token) => self.show(line, Some(token)),
            Err(denial) => {
                metrics::auth_decided(denial.label(), Self::NAME);
                self.deny(line, denial);
            }
        }
    }

    /// A message for a document.
    pub(super) fn receive(&mut self, address: &Bytes, message: Message) {
        let Some(line) = self.line(address) else {
            return;
        };
        match message {
            Message::SyncStep1 { .. } => {
                if let Some(channel) = self.channels.get_mut(&line) {
                    channel.has_begun = true;
                }
                self.take_in(line, message);
                if self.has_answered {
                    self.take_in(line, Message::QueueSent);
                }
            }
            Message::SyncStep2 { update } if self.has_ponged && !self.has_heard => {
                // It was asked nothing yet over this connection: this waited for it.
                self.take_in(line, Message::Leftover { update });
            }
            Message::SyncStep2 { .. } => {
                if let Some(channel) = self.channels.get_mut(&line) {
                    channel.closes_ms = u64::MAX;
                }
                self.take_in(line, message);
                if !std::mem::replace(&mut self.has_answered, true) {
                    self.tell_all(&Message::QueueSent);
                }
            }
            _ => self.take_in(line, message),
        }
    }

    /// Has all sessions receive what is known of the connection, behind what they have said. Where nothing
    /// was said nothing is to be counted.
    pub(super) fn tell_all(&mut self, what: &Message) {
        let channels = self.channels.iter();
        let spoken = channels.filter(|(_, channel)| channel.has_spoken());
        let lines: Vec<LineId> = spoken.map(|(line, _)| *line).collect();
        for line in lines {
            self.take_in(line, what.clone());
        }
    }

    /// Has the session of a channel receive a message, now or once it is open.
    fn take_in(&mut self, line: LineId, message: Message) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        match &mut channel.stage {
            Stage::Open { .. } => self.under_way.push_back((line, message)),
            Stage::Waiting(queue) => {
                let is_first = queue.is_empty() && !channel.is_asking && channel.asked == 0;
                self.waiting_bytes -= queue.bytes();
                queue.push(message);
                self.waiting_bytes += queue.bytes();
                let options = &self.opening.edge.options;
                if self.waiting_bytes > options.unauthenticated_bytes_max {
                    metrics::refused("unauthenticated_bytes");
                    return self.close(
                        CloseReason::TooMuch,
                        "too much was sent before the token (setting unauthenticated_bytes_max)",
                    );
                }
                let has_token = matches!(self.opening.token, Ok(Some(_)));
                if is_first && (has_token || self.opening.edge.authority.is_open()) {
                    // Provider 2 sends a token only if it has one.
                    let token = self.opening.token.clone().ok().flatten();
                    self.show(line, token);
                }
            }
        }
    }

    /// The peer is done with a document; the connection stays.
    pub(super) fn receive_close(&mut self, address: &Bytes) {
        let Some(line) = self.by_address.get(address).copied() else {
            return;
        };
        // A provider that was taken off a document and put on it again while there was no connection says
        // both when there is one, but opens the document at once and sends what waited behind that.
        let may_have_waited = self.has_ponged && !self.has_answered;
        let now_ms = self.opening.edge.clock.now_ms();
        match self.channels.get_mut(&line) {
            Some(channel) if channel.has_begun && may_have_waited => {
                channel.closes_ms = now_ms + CLOSE_PATIENCE_MS;
                self.deadline_ms = self.deadline_ms.min(channel.closes_ms);
            }
            _ => self.close_channel(line),
        }
    }

    /// Ends the channel; all that the peer said about it was delivered before.
    fn close_channel(&mut self, line: LineId) {
        if let Some(channel) = self.channels.get(&line) {
            self.by_address.remove(&channel.address);
            self.forget(line, true);
        }
    }

    /// Makes room for another document: of those that were refused the oldest goes. If the peer tries it
    /// again it begins anew.
    fn forget_a_refused_one(&mut self) {
        let refused = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.is_refused());
        if let Some(line) = refused.map(|(line, _)| *line).min() {
            self.close_channel(line);
        }
    }

    /// Forgets a channel, whose session ends.
    pub(super) fn forget(&mut self, line: LineId, clean: bool) {
        let Some(channel) = self.channels.remove(&line) else {
            return;
        };
        match channel.stage {
            Stage::Open { session, .. } if clean => session.detach(true),
            Stage::Waiting(queue) => self.waiting_bytes -= queue.bytes(),
            Stage::Open { .. } => {}
        }
    }

    /// The channel of an address, a new one if need be; `None` when there can be none.
    fn line(&mut self, address: &Bytes) -> Option<LineId> {
        if let Some(line) = self.by_address.get(address) {
            return Some(*line);
        }
        let documents_max = self.opening.edge.options.documents_per_connection_max;
        if self.channels.len() >= documents_max {
            self.forget_a_refused_one();
        }
        let options = &self.opening.edge.options;
        if self.channels.len() >= documents_max {
            metrics::refused("documents_per_connection");
            self.close(
                CloseReason::TooMuch,
                "too many documents over one connection (setting documents_per_connection_max)",
            );
            return None;
        }
        let text = std::str::from_utf8(address).unwrap_or_default();
        let (name, session) = wire::split_address(text);
        let is_long = session.is_some_and(|session| session.len() > SESSION_ID_BYTES_MAX);
        let document = match DocumentName::new(name) {
            Ok(document) if !is_long => document,
            _ => {
                metrics::refused("document_name");
                let reason = "a document name has 1 to 512 bytes, a session id at most 128";
                self.say(|into| wire::put_permission_denied(address, reason, into));
                return None;
            }
        };
        // A copy, so that the frame it came in can go.
        let address = Bytes::copy_from_slice(address);
        let edge = &self.opening.edge;
        let by_ms = edge.clock.now_ms() + options.unauthenticated_timeout_ms;
        let line = self.next_line;
        self.next_line = self.next_line.wrapping_add(1);
        self.by_address.insert(address.clone(), line);
        let channel = Channel::new(address, document, by_ms);
        self.deadline_ms = self.deadline_ms.min(by_ms);
        self.channels.insert(line, channel);
        Some(line)
    }

    /// Opens a channel: the peer is told, joins the document, and what it said meanwhile follows.
    pub(super) fn open(&mut self, line: LineId, grant: Grant) {
        let edge = self.opening.edge.clone();
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        let document = channel.document.clone();
        let mut permit = self.opening.permit(&document, grant, channel.token.clone());
        let can_write = permit.rights() >= Rights::Write;
        let address = channel.address.clone();
        let request = AttachRequest {
            document: document.clone(),
            encoding: Encoding {
                write: write_frames,
                address: address.clone(),
            },
            line: Line {
                outbox: self.opening.outbox.clone(),
                id: line,
            },
            greeting: frame(|into| wire::put_authenticated(&address, can_write, into)),
            origin: self.opening.origin(&permit.grant),
            holder: permit.holder(),
            access: Access {
                rights: permit.rights(),
                acks: Acks::Receipts,
            },
        };
        let session = match edge.documents.attach(request) {
            Ok(session) => session,
            Err(AttachError::DocumentFull) => return self.refuse_line(line, codes::DOCUMENT_FULL),
            Err(AttachError::IdentityFull) => {
                return self.refuse_line(line, codes::TOO_MANY_SESSIONS);
            }
            Err(error) => {
                self.refusal.get_or_insert(error.into());
                return;
            }
        };
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        self.opening.restrict(&document, &*session, &mut permit);
        let deadline_ms = permit.deadline_ms();
        let stage = Stage::Open { session, permit };
        if let Stage::Waiting(queue) = std::mem::replace(&mut channel.stage, stage) {
            self.waiting_bytes -= queue.bytes();
            let messages = queue.into_messages();
            self.under_way
                .extend(messages.into_iter().map(|message| (line, message)));
        }
        self.deadline_ms = self.deadline_ms.min(deadline_ms);
        self.proves_by_ms = u64::MAX;
        if self.home.is_none() {
            self.home = Some(line);
            self.wants_move = true;
        }
    }

    /// The peer may not use the document, or not any longer.
    pub(super) fn deny(&mut self, line: LineId, denial: Denial) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        match &channel.stage {
            Stage::Open { session, .. } => {
                // Behind what it said before; the end comes back by its line.
                metrics::access_changed(denial.label());
                session.end(reason_of(denial));
                channel.denial = Some(denial);
            }
            Stage::Waiting(_) => self.refuse_line(line, codes::denied(denial)),
        }
    }

    /// A channel that is not open gets a word for why not; the peer may try again.
    pub(super) fn refuse_line(&mut self, line: LineId, word: &str) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        let refused = Stage::Waiting(Queue::new(u64::MAX));
        if let Stage::Waiting(queue) = std::mem::replace(&mut channel.stage, refused) {
            self.waiting_bytes -= queue.bytes();
        }
        let address = channel.address.clone();
        self.say(|into| wire::put_permission_denied(&address, word, into));
    }

    /// Does what time alone makes due.
    pub(super) fn watch(&mut self, now_ms: u64) {
        if now_ms >= self.proves_by_ms {
            metrics::refused("unauthenticated_timeout");
            let is_asking = self.channels.values().any(|channel| channel.is_asking);
            let text = match is_asking {
                true => "whether you may open the document was not found out in time; try again",
                false => "no document was opened in time; send a token first",
            };
            self.close(CloseReason::TimedOut, text);
        }
        let (mut late, mut asking, mut closing) = (Vec::new(), Vec::new(), Vec::new());
        for (line, channel) in &mut self.channels {
            if now_ms >= channel.asks_ms() {
                asking.push(*line);
            }
            if now_ms >= channel.closes_ms {
                closing.push(*line);
                continue;
            }
            match &mut channel.stage {
                Stage::Waiting(queue) if now_ms >= queue.by_ms => late.push(*line),
                Stage::Open { session, permit } => match permit.take_due(now_ms) {
                    Due::Nothing => {}
                    Due::Warning { seconds } => session.notify(Notice::ExpiresSoon { seconds }),
                    Due::Expired => {
                        let on_expiry = self.opening.edge.options.on_expiry;
                        on_expiry.perform(&**session, permit);
                    }
                },
                Stage::Waiting(_) => {}
            }
        }
        closing
            .into_iter()
            .for_each(|line| self.close_channel(line));
        late.into_iter().for_each(|line| self.give_up(line));
        asking.into_iter().for_each(|line| self.ask_next(line));
        let deadlines = self.channels.values().map(Channel::deadline_ms);
        self.deadline_ms = deadlines.min().unwrap_or(u64::MAX).min(self.proves_by_ms);
    }

    /// Refuses a channel that was not opened in time.
    fn give_up(&mut self, line: LineId) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        // An answer that comes now is void.
        channel.asked += 1;
        if std::mem::take(&mut channel.is_asking) {
            // A token was shown: that nobody could judge it in time is not the peer's fault.
            metrics::refused("unauthenticated_timeout");
            return self.refuse_line(line, codes::UNAVAILABLE);
        }
        metrics::auth_decided(Denial::TokenMissing.label(), Self::NAME);
        self.deny(line, Denial::TokenMissing);
    }

    /// A document has ended a session.
    pub(super) fn session_ended(
        &mut self,
        line: LineId,
        reason: CloseReason,
        into: &mut BytesMut,
    ) -> Option<Refusal> {
        let channel = self.channels.get_mut(&line)?;
        if !channel.is_open() {
            return None;
        }
        channel.stage = Stage::Waiting(Queue::new(u64::MAX));
        if channel.is_recheck {
            // Whether it may stay is no question any more.
            channel.void();
        }
        // What the peer showed a moment ago is for its next session; what could not be answered is not.
        channel.next.take_if(|shown| shown.from_ms > 0);
        let address = channel.address.clone();
        // Another end may have come first.
        let denial = channel.denial.take();
        let denial = denial.filter(|denial| reason_of(*denial) == reason);
        self.ask_next(line);
        let refusal = denial.map_or_else(|| Refusal::from(reason), Refusal::from);
        let are_others_open = self.channels.values().any(Channel::is_open);
        if !(refusal.is_final() || self.is_modern && are_others_open) {
            // Providers come back by themselves only after the whole connection ended.
            return Some(refusal);
        }
        let is_access = matches!(
            reason,
            CloseReason::Unauthenticated | CloseReason::Forbidden
        );
        if is_access || !self.is_modern {
            let word = match (denial, reason) {
                (Some(denial), _) => codes::denied(denial),
                (None, CloseReason::Unauthenticated) => codes::denied(Denial::Expired),
                (None, CloseReason::Forbidden) => codes::denied(Denial::NoRight),
                _ => &refusal.text,
            };
            put_frame(into, |into| {
                wire::put_permission_denied(&address, word, into)
            });
        }
        if self.is_modern {
            put_frame(into, |into| wire::put_closed(&address, &refusal.text, into));
        }
        // Older ones have no word for a document that is closed: they know only sockets that are.
        (is_access && !self.is_modern && !are_others_open).then_some(refusal)
    }
}
