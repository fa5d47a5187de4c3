//! What a session has not answered, and is still owed if it is answered by receipts, kept outside of the
//! replica: the next one pays it when this one is gone.

use super::backlog::{Backlog, Made};
use crate::admission::StateVector;
use crate::wire::Message;

/// The account of one session, written by the caller of the replica: of what it gives to it and of the
/// effects that it performs. What a replica decided and nobody performed did not happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrears {
    /// Receipts that the client waits for. What a replica decides is performed at the end of its turn,
    /// perhaps behind what is received later or what it says of the same updates first: so each of these
    /// two may be below 0 for a while. Their sum is what the client counts.
    pub(super) owed: i64,
    /// Updates that were answered by a refusal: it counts them still.
    pub(super) refused: i64,
    /// The step 1s that it was sent and has not answered.
    pub(super) questions: usize,
    /// It counts its next answer: it sent a step 1, and has not answered since.
    pub(super) awaits_answer: bool,
    pub(super) backlog: Backlog,
    /// Updates of which nobody knows whether it counts them.
    pub(super) doubtful: u64,
}

impl Arrears {
    /// The session's message is about to be handled.
    pub fn note_received(&mut self, message: &Message) {
        match message {
            Message::SyncStep1 { vector } => {
                // It begins to count anew: one answer.
                (self.owed, self.refused, self.doubtful) = (0, 0, 0);
                self.awaits_answer = true;
                // What cannot be read ends the session.
                if let Ok(vector) = StateVector::decode(vector) {
                    self.backlog.begin(&vector);
                }
            }
            Message::SyncStep2 { update } => {
                self.questions = self.questions.saturating_sub(1);
                if std::mem::take(&mut self.awaits_answer) {
                    self.owed += 1;
                    self.backlog.answer(update);
                    self.doubtful = 0;
                }
            }
            Message::Update { update } => match self.backlog.judge(update) {
                Made::Before => {}
                Made::Since => self.owed += 1,
                Made::Unknown => self.doubtful += 1,
            },
            Message::QueueSent => self.backlog.note_sent(),
            Message::Pong => self.owed += std::mem::take(&mut self.doubtful).cast_signed(),
            _ => {}
        }
    }

    /// It was sent a step 1.
    pub fn note_asked(&mut self) {
        self.questions = self.questions.saturating_add(1);
    }

    /// So many updates were answered; not with true: they were refused.
    pub fn note_answered(&mut self, accepted: Option<bool>, count: u64) {
        let count = count.cast_signed();
        self.owed -= count;
        if accepted != Some(true) {
            self.refused += count;
        }
    }

    /// So many updates that were refused are answered a second time, once they are taken in.
    pub fn note_restored(&mut self, count: u64) {
        let count = count.cast_signed();
        self.refused -= count;
        self.owed += count;
    }

    /// What the next replica owes, and what was refused.
    pub(super) fn balance(&self) -> (u64, u64) {
        let total = (self.owed + self.refused).max(0);
        let refused = self.refused.clamp(0, total);
        ((total - refused).cast_unsigned(), refused.cast_unsigned())
    }
}
