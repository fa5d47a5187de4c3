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

use std::sync::Arc;

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
    /// What the client had at its newest step 1, until all of it has come.
    announced: Option<Arc<StateVector>>,
    /// Nothing waits for the connection any more.
    is_sent: bool,
}

impl Backlog {
    /// The client says what it has, and begins to count. One that asks now and then whether all is in
    /// step does so without a connection, too: an older step 1 may come behind a newer one.
    pub(super) fn begin(&mut self, vector: &StateVector) {
        let mut announced = vector.clone();
        if let Some(before) = &self.announced {
            announced.merge_max(before);
        }
        self.announced = Some(Arc::new(announced));
    }

    /// The client has heard the server: what waited for the connection has come.
    pub(super) fn note_sent(&mut self) {
        self.is_sent = true;
    }

    /// Whether this step 2 is no answer to a question that came behind the client's step 1: it leaves out
    /// what that announced and is not here. A client that was disconnected in the moment in which it
    /// answered sends it over its next connection, from its queue.
    pub(super) fn is_leftover(&self, step2: &Bytes, known: &StateVector) -> bool {
        let Some(announced) = self.announced.as_deref().filter(|_| !self.is_sent) else {
            return false;
        };
        if known.covers(announced) {
            return false;
        }
        // What cannot be read ends the session.
        let Ok(ranges) = ranges(step2) else {
            return false;
        };
        let mut brought = known.clone();
        for (client, range) in ranges.structs {
            brought.raise_to(client, range.end);
        }
        !brought.covers(announced)
    }

    /// The client has answered with all that it has and the server has not.
    pub(super) fn answer(&mut self, step2: &Bytes) {
        self.is_sent = true;
        let Some(announced) = self.announced.take() else {
            return;
        };
        // A batch that is still to come is part of the answer: what that does not bring cannot be in it.
        // Little is left, which may stay as long as the client changes nothing.
        let structs = ranges(step2).map(|ranges| ranges.structs);
        let left: StateVector = structs
            .unwrap_or_default()
            .into_iter()
            .map(|(client, range)| (client, range.start, announced.get(client)))
            .filter(|(_, start, announced)| start < announced)
            .map(|(client, _, announced)| (client, announced))
            .collect();
        self.announced = (!left.is_empty()).then(|| Arc::new(left));
    }

    /// Judges an update that came behind the step 1.
    pub(super) fn judge(&mut self, update: &Bytes) -> Made {
        let Some(announced) = self.announced.as_deref() else {
            return Made::Since;
        };
        // What cannot be read ends the session.
        let Ok(ranges) = ranges(update) else {
            return Made::Since;
        };
        let mut structs = ranges.structs.iter();
        let made = if structs.any(|(client, range)| range.start < announced.get(*client)) {
            Made::Before
        } else if self.is_sent || !ranges.structs.is_empty() || !announced.covers(&ranges.deletes) {
            Made::Since
        } else {
            Made::Unknown
        };
        if self.is_sent {
            // Batches come in order: the next one was begun later.
            self.announced = None;
        }
        made
    }
}

fn ranges(update: &Bytes) -> Result<Ranges, admission::Refusal> {
    admission::ranges(update, VALUE_NESTING_MAX)
}
