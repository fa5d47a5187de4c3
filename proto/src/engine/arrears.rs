//! What a session that is answered by receipts is still owed, kept outside of the replica: the next one
//! pays it when this one is gone.

use std::collections::VecDeque;

use bytes::Bytes;

use super::receipts::QUESTIONS_MAX;
use crate::wire::Message;

/// The account of one session, written by the caller of the replica: of what it gives to it and of the
/// effects that it performs. What a replica decided and nobody performed did not happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrears {
    /// Receipts that the client waits for.
    pub(super) owed: u64,
    /// The step 1s that it was sent and has not answered; true where it counts the answer.
    pub(super) questions: VecDeque<bool>,
    /// It sent a step 1 and was not asked in return.
    pub(super) unasked: bool,
    /// What it had at its step 1, encoded, until it answered ours.
    pub(super) announced: Option<Bytes>,
}

impl Arrears {
    /// The session's message is about to be handled.
    pub fn note_received(&mut self, message: &Message) {
        match message {
            Message::SyncStep1 { vector } => {
                // It begins to count anew: one answer, to the question that it is asked next.
                self.owed = 0;
                self.unasked = true;
                self.questions
                    .iter_mut()
                    .for_each(|is_counted| *is_counted = false);
                // A copy, so that the frame it came in can go.
                self.announced = Some(Bytes::copy_from_slice(vector));
            }
            Message::SyncStep2 { .. } => {
                let is_counted = self.questions.pop_front().unwrap_or(true);
                self.owed += u64::from(is_counted);
                if is_counted {
                    self.announced = None;
                }
            }
            Message::Update { .. } => self.owed += 1,
            _ => {}
        }
    }

    /// It was sent a step 1.
    pub fn note_asked(&mut self) {
        let is_counted = std::mem::take(&mut self.unasked);
        if self.questions.len() >= QUESTIONS_MAX {
            self.questions.pop_front();
        }
        self.questions.push_back(is_counted);
    }

    /// So many updates were answered, or will not be.
    pub fn note_answered(&mut self, count: u64) {
        // What was refused may be answered a second time, once it was taken in after all.
        self.owed = self.owed.saturating_sub(count);
    }
}
