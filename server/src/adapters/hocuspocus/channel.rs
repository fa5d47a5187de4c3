//! One address on a socket: whose turn it is to say something about it.

use std::collections::VecDeque;

use bytes::Bytes;
use driftless_proto::name::DocumentName;
use driftless_proto::wire::Message;

use crate::adapters::access::Permit;
use crate::auth::{Denial, Token};
use crate::session::SessionHandle;

/// What a queued message costs besides its payload, so that tiny ones are bounded too.
const QUEUED_OVERHEAD_BYTES: usize = 64;

/// What may wait behind a refusal: the first words of another attempt. Apps that are refused may go on
/// to send every edit.
const REFUSED_BYTES_MAX: usize = 64 << 10;

/// How far an address is.
pub(super) enum Stage {
    /// No token, or no answer to it, has come: what the peer says waits.
    Waiting(Queue),
    /// It is open.
    Open {
        session: Box<dyn SessionHandle>,
        permit: Permit,
    },
}

/// What waits for a channel to open.
#[derive(Debug)]
pub(super) struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Until then a token has to come; `u64::MAX` once one was refused, since an app may take its time
    /// to get another.
    pub(super) by_ms: u64,
    /// Too much came behind a refusal: what follows is dropped until the peer begins anew.
    is_deaf: bool,
}

impl Queue {
    pub(super) fn new(by_ms: u64) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            by_ms,
            is_deaf: false,
        }
    }

    /// What waits counts so many bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing was said yet.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Queues a message. A step 1 begins anew: what was said before is part of the answer to ours.
    pub(super) fn push(&mut self, message: Message) {
        if matches!(message, Message::SyncStep1 { .. }) {
            *self = Self::new(self.by_ms);
        }
        if self.is_deaf {
            return;
        }
        self.bytes += message.payload_bytes() + QUEUED_OVERHEAD_BYTES;
        self.messages.push_back(message);
        if self.by_ms == u64::MAX && self.bytes > REFUSED_BYTES_MAX {
            *self = Self::new(self.by_ms);
            self.is_deaf = true;
        }
    }

    /// All of it, in order.
    pub(super) fn into_messages(self) -> VecDeque<Message> {
        self.messages
    }
}

/// A token that waits to be asked about: the newest one that was shown.
pub(super) struct Shown {
    pub(super) token: Option<Token>,
    /// Not before then; 0 for as soon as there is an answer to what is being asked.
    pub(super) from_ms: u64,
}

/// One address.
pub(super) struct Channel {
    /// As it stands before every frame.
    pub(super) address: Bytes,
    pub(super) document: DocumentName,
    pub(super) stage: Stage,
    /// The number of its newest question; 0 before the first.
    pub(super) asked: u64,
    /// What the newest question is about.
    pub(super) token: Option<Token>,
    /// The newest question is whether what was granted still holds.
    pub(super) is_recheck: bool,
    /// The newest question has no answer yet.
    pub(super) is_asking: bool,
    /// Why its session is about to end, if that was said by an answer.
    pub(super) denial: Option<Denial>,
    /// What is asked about next. One question is under way for a channel at a time.
    pub(super) next: Option<Shown>,
    /// A step 1 has come for it over this connection.
    pub(super) has_begun: bool,
    /// It was closed, perhaps before that: when it is taken for closed; `u64::MAX` if it was not.
    pub(super) closes_ms: u64,
}

impl Channel {
    pub(super) fn new(address: Bytes, document: DocumentName, by_ms: u64) -> Self {
        Self {
            address,
            document,
            stage: Stage::Waiting(Queue::new(by_ms)),
            asked: 0,
            token: None,
            is_recheck: false,
            is_asking: false,
            denial: None,
            next: None,
            has_begun: false,
            closes_ms: u64::MAX,
        }
    }

    /// Whatever is being asked, nobody wants the answer any more.
    pub(super) fn void(&mut self) {
        self.asked += 1;
        (self.is_asking, self.is_recheck) = (false, false);
    }

    /// When the token that waits may be asked about; `u64::MAX` while an answer is waited for.
    pub(super) fn asks_ms(&self) -> u64 {
        match &self.next {
            Some(shown) if !self.is_asking => shown.from_ms,
            _ => u64::MAX,
        }
    }

    /// It was refused, and the peer has not tried again.
    pub(super) fn is_refused(&self) -> bool {
        let waits = matches!(&self.stage, Stage::Waiting(queue) if queue.by_ms == u64::MAX);
        waits && !self.is_asking && self.next.is_none()
    }

    /// The peer has said something about it that its session has, or will have.
    pub(super) fn has_spoken(&self) -> bool {
        match &self.stage {
            Stage::Waiting(queue) => !queue.is_empty(),
            Stage::Open { .. } => true,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    /// When something about it is due by itself; `u64::MAX` for never.
    pub(super) fn deadline_ms(&self) -> u64 {
        let due_ms = match &self.stage {
            Stage::Waiting(queue) => queue.by_ms,
            Stage::Open { permit, .. } => permit.deadline_ms(),
        };
        due_ms.min(self.asks_ms()).min(self.closes_ms)
    }
}
