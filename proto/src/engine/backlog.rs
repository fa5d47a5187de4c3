//! Which updates a client counts that began to count with a step 1: those that it made since.
//!
//! What it had made before may come behind the step 1 all the same, and is part of the answer to ours:
//!
//! * what it queued while its socket was not open, which it sends when it first hears the server;
//! * a batch that it had begun to gather, which may go on to what it made since.
//!
//! What an update brings tells when it was made: a client makes structs at the end of what it has. A
//! deletion of what was there tells nothing; then it matters how far the client was.
//! (Source: `HocuspocusProviderWebsocket.ts` of 2.15, 3.4 and 4.8: `resolveConnectionAttempt`, called by
//! the first message, sends the queue. `HocuspocusProvider.ts` of 4.8: `documentUpdateHandler` counts a
//! batch once, when it begins; `startSync` and `forceSync` leave it.)

use bytes::Bytes;

use super::replica::VALUE_NESTING_MAX;
use crate::admission::{self, Ranges, StateVector};

/// When an update was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// Before the client's newest step 1, at least in part: it does not count it.
    Before,
    /// Since: it counts it.
    Since,
    /// It tells nothing, and may have waited for the connection.
    Unknown,
}

/// What a client may still send of what it made before it began to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    /// It has begun: until then it counts nothing.
    has_begun: bool,
    /// What the client had at its newest step 1, until it has answered.
    announced: Option<StateVector>,
    /// The part of that, and of what it announced before, that a batch may still hold: it was in an
    /// answer.
    left: StateVector,
    /// Nothing waits for the connection any more.
    is_sent: bool,
}

impl Backlog {
    /// The client says what it has, and begins to count. One that asks now and then whether all is in
    /// step does so without a connection, too: an older step 1 may come behind a newer one.
    pub(super) fn begin(&mut self, vector: &StateVector) {
        self.has_begun = true;
        match &mut self.announced {
            Some(announced) => announced.merge_max(vector),
            None => self.announced = Some(vector.clone()),
        }
    }

    /// The client has heard the server: what waited for the connection has come.
    pub(super) fn note_sent(&mut self) {
        self.is_sent = true;
    }

    /// The client has answered with all that it has and the server has not.
    pub(super) fn answer(&mut self, step2: &Bytes) {
        self.is_sent = true;
        let announced = self.announced.take();
        let Some(announced) = announced.filter(|announced| !announced.is_empty()) else {
            return;
        };
        // A batch that is still to come is part of the answer, or was of the one before: what neither
        // brings cannot be in it. Little is left, which may stay as long as the client changes nothing.
        let structs = ranges(step2).map(|ranges| ranges.structs);
        for (client, range) in structs.unwrap_or_default() {
            if range.start < announced.get(client) {
                self.left.raise_to(client, announced.get(client));
            }
        }
    }

    /// Judges an update that is no answer.
    pub(super) fn judge(&mut self, update: &Bytes) -> Made {
        if !self.has_begun {
            return Made::Before;
        }
        if self.announced.is_none() && self.left.is_empty() {
            return Made::Since;
        }
        // What cannot be read ends the session.
        let Ok(ranges) = ranges(update) else {
            return Made::Since;
        };
        let made = self.made(&ranges);
        if self.is_sent {
            // Batches come in order: the next one was begun later.
            (self.announced, self.left) = (None, StateVector::default());
        }
        made
    }

    fn made(&self, ranges: &Ranges) -> Made {
        let announced = self.announced.as_ref();
        let announced = |client| announced.map_or(0, |announced| announced.get(client));
        let is_older = |client, clock| clock < announced(client).max(self.left.get(client));
        let mut structs = ranges.structs.iter();
        if structs.any(|(client, range)| is_older(*client, range.start)) {
            return Made::Before;
        }
        let mut deletes = ranges.deletes.iter();
        let brings_more =
            !ranges.structs.is_empty() || deletes.any(|(client, end)| end > announced(client));
        match self.is_sent || brings_more {
            true => Made::Since,
            false => Made::Unknown,
        }
    }
}

fn ranges(update: &Bytes) -> Result<Ranges, admission::Refusal> {
    admission::ranges(update, VALUE_NESTING_MAX)
}
