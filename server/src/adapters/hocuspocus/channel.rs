//! One address on a socket: whose turn it is to say something about it.

use std::collections::VecDeque;

use bytes::Bytes;
use driftless_proto::name::DocumentName;
use driftless_proto::wire::Message;

use crate::adapters::access::Permit;
use crate::auth::Token;
use crate::session::SessionHandle;

/// How far an address is.
pub(super) enum Stage {
    /// No token, or no answer to it, has come: what the peer says waits.
    Waiting {
        queue: VecDeque<Message>,
        queued_bytes: usize,
        /// The peer may be asked to show a token until then.
        by_ms: u64,
    },
    /// It is open.
    Open {
        session: Box<dyn SessionHandle>,
        permit: Permit,
    },
    /// It was refused, or its session has ended: the peer's next word has to be a token. What it said
    /// behind the refused one is dropped.
    Refused,
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
    /// The newest question has no answer yet.
    pub(super) is_asking: bool,
}

impl Channel {
    pub(super) fn new(address: Bytes, document: DocumentName, by_ms: u64) -> Self {
        Self {
            address,
            document,
            stage: waiting(by_ms),
            asked: 0,
            token: None,
            is_asking: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    /// When something about it is due by itself; `u64::MAX` for never.
    pub(super) fn deadline_ms(&self) -> u64 {
        match &self.stage {
            Stage::Waiting { by_ms, .. } => *by_ms,
            Stage::Open { permit, .. } => permit.deadline_ms(),
            Stage::Refused => u64::MAX,
        }
    }
}

pub(super) fn waiting(by_ms: u64) -> Stage {
    Stage::Waiting {
        queue: VecDeque::new(),
        queued_bytes: 0,
        by_ms,
    }
}
