//! Which entries changed, by whom, and when it is told.

use std::collections::BTreeSet;

use crate::ClientId;
use crate::bucket::TokenBucket;
use crate::engine::types::SessionId;

/// Every change told to everyone costs a message a session, so in a large room changes gather: after
/// so many messages a millisecond passes before the next are sent. Rooms of up to nine hear at once,
/// and 500 editors who all move their cursors get twenty messages a second each.
const MESSAGES_PER_MS: u64 = 10;

/// The longest time that changes gather; cursors that move more rarely look as if they jumped.
const GATHER_MS_MAX: u64 = 100;

/// Seconds' worth of changes that may be told at once, as many as when a whole room arrives.
const BURST_SECONDS: u64 = 1;

/// Who made the changes of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    Nobody,
    One(SessionId),
    Many,
}

/// What is to be told.
#[derive(Debug)]
pub(super) struct News {
    changed: BTreeSet<ClientId>,
    author: Author,
    /// Moves with every change.
    version: u64,
    /// When the next changes may be told.
    tell_at_ms: u64,
    /// How often may be told; `None` without a bound.
    pace: Option<TokenBucket>,
}

impl News {
    pub(super) fn new(per_second_max: u64) -> Self {
        Self {
            changed: BTreeSet::new(),
            author: Author::Nobody,
            version: 0,
            tell_at_ms: 0,
            pace: TokenBucket::new(per_second_max, BURST_SECONDS, 0),
        }
    }

    /// A session of this node changed an entry.
    pub(super) fn mark(&mut self, client: ClientId, session: SessionId) {
        self.changed.insert(client);
        self.version += 1;
        self.author = match self.author {
            Author::Nobody => Author::One(session),
            Author::One(other) if other == session => Author::One(session),
            Author::One(_) | Author::Many => Author::Many,
        };
    }

    /// A change that no session of this node made.
    pub(super) fn mark_foreign(&mut self, client: ClientId) {
        self.changed.insert(client);
        self.version += 1;
        self.author = Author::Many;
    }

    /// Moves with every change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// When there is something to tell, in milliseconds; `u64::MAX` for never.
    pub(super) fn deadline_ms(&self) -> u64 {
        match self.changed.is_empty() {
            true => u64::MAX,
            false => self.tell_at_ms,
        }
    }

    /// The changes are told now, to so many sessions; true when the next have to wait because these
    /// came too fast. A small room tells at once, so that a single session that floods it would cost
    /// every other one a frame a turn.
    pub(super) fn pace(&mut self, now_ms: u64, sessions: usize) -> bool {
        let gather_ms = (sessions as u64 / MESSAGES_PER_MS).min(GATHER_MS_MAX);
        let wait_ms = self.pace.as_mut().map_or(0, |pace| {
            pace.spend(now_ms, 1);
            pace.wait_ms(now_ms)
        });
        self.tell_at_ms = now_ms + gather_ms.max(wait_ms);
        wait_ms > gather_ms
    }

    /// The entries that changed, and the author if there was only one.
    pub(super) fn take(&mut self) -> (BTreeSet<ClientId>, Option<SessionId>) {
        let author = match std::mem::replace(&mut self.author, Author::Nobody) {
            Author::One(session) => Some(session),
            Author::Nobody | Author::Many => None,
        };
        (std::mem::take(&mut self.changed), author)
    }
}
