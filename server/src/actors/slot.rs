//! One attached session as its document sees it; it outlives the document's actor.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use driftless_proto::engine::{Access, Acks, Arrears, CloseReason, Identity, Rights};
use driftless_proto::wire::Message;

use super::lock;
use crate::outbox::Line;
use crate::session::{AttachRequest, Encoding, Holder};
use crate::store::Origin;

/// One attached session as the document sees it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) line: Line,
    greeting: Bytes,
    pub(super) encoding: Encoding,
    pub(super) origin: Origin,
    pub(super) holder: Mutex<Holder>,
    pub(super) acks: Acks,
    /// When it came, in milliseconds since 1970.
    pub(super) since_ms: u64,
    rights: Mutex<Rights>,
    /// What it has not answered yet, and what it was not, if it is answered by receipts.
    arrears: Mutex<Arrears>,
    /// Its socket is served by the thread of the document.
    pub(super) is_beside: AtomicBool,
    /// An actor took it over, and has to hear of its end.
    pub(super) is_taken_over: AtomicBool,
    /// Why it is over: no actor serves it again.
    ending: Mutex<Option<CloseReason>>,
}

impl Slot {
    pub(super) fn new(request: AttachRequest, since_ms: u64) -> Self {
        Self {
            line: request.line,
            greeting: request.greeting,
            encoding: request.encoding,
            origin: request.origin,
            holder: Mutex::new(request.holder),
            acks: request.access.acks,
            since_ms,
            rights: Mutex::new(request.access.rights),
            arrears: Mutex::default(),
            is_beside: AtomicBool::new(false),
            is_taken_over: AtomicBool::new(false),
            ending: Mutex::new(None),
        }
    }

    /// Sends what is to be said before anything else.
    pub(super) fn greet(&self) {
        if !self.greeting.is_empty() {
            // Once the socket closes nobody hears it.
            let _ = self.line.outbox.push_answer(self.greeting.clone());
        }
    }

    /// It is to end for this reason. The first reason stays.
    pub(super) fn note_ending(&self, reason: CloseReason) {
        lock(&self.ending).get_or_insert(reason);
    }

    /// Why it is over, or about to be.
    pub(super) fn ending(&self) -> Option<CloseReason> {
        *lock(&self.ending)
    }

    /// Ends it, behind what its socket was given.
    pub(super) fn end(&self, reason: CloseReason) {
        self.note_ending(reason);
        self.line.end(reason);
    }

    /// What the session may do, and how it is answered.
    pub(super) fn access(&self) -> Access {
        Access {
            rights: *lock(&self.rights),
            acks: self.acks,
        }
    }

    /// Whose changes its are.
    pub(super) fn identity(&self) -> Identity {
        self.origin.identity.as_deref().map(Into::into)
    }

    pub(super) fn set_rights(&self, rights: Rights) {
        *lock(&self.rights) = rights;
    }

    /// A message of the session is about to be handled.
    pub(super) fn note_handled(&self, message: &Message) {
        // Which questions are open matters for all.
        if self.acks == Acks::Receipts || matches!(message, Message::SyncStep2 { .. }) {
            lock(&self.arrears).note_received(message);
        }
    }

    /// The session was sent a step 1.
    pub(super) fn note_asked(&self) {
        lock(&self.arrears).note_asked();
    }

    /// So many updates were answered, or will not be.
    pub(super) fn note_answered(&self, accepted: Option<bool>, count: u64) {
        lock(&self.arrears).note_answered(accepted, count);
    }

    /// So many updates that were refused will be answered once more.
    pub(super) fn note_restored(&self, count: u64) {
        lock(&self.arrears).note_restored(count);
    }

    /// What the next replica owes to the session.
    pub(super) fn arrears(&self) -> Arrears {
        lock(&self.arrears).clone()
    }
}
