//! What operators see of sessions, and do with them: list, end, look again.

use std::sync::Arc;

use driftless_proto::engine::{CloseReason, Rights, SessionId};
use driftless_proto::name::DocumentName;

use super::cell::DocumentCell;
use super::lock;
use super::registry::Registry;
use super::slot::Slot;
use crate::access::Visitor;
use crate::metrics;
use crate::outbox::Recheck;
use crate::session::Holder;

/// An attached session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// Its document.
    pub document: DocumentName,
    /// Whose it is.
    pub holder: Holder,
    /// What it may do now.
    pub rights: Rights,
    /// The door and the peer.
    pub door: String,
    /// When it came, in milliseconds since 1970.
    pub since_ms: u64,
}

impl Registry {
    /// The sessions of this process that are wanted.
    pub fn sessions(&self, wanted: impl Fn(&Visitor<'_>) -> bool) -> Vec<LiveSession> {
        let mut sessions = Vec::new();
        self.each(wanted, |cell, _, slot| {
            sessions.push(LiveSession {
                document: cell.name.clone(),
                holder: lock(&slot.holder).clone(),
                rights: slot.access().rights,
                door: slot.origin.door.clone(),
                since_ms: slot.since_ms,
            });
        });
        sessions
    }

    /// Has sessions show again that they may be here; how many there are.
    pub fn recheck_sessions(&self, wanted: impl Fn(&Visitor<'_>) -> bool, what: Recheck) -> usize {
        self.each(wanted, |_, _, slot| slot.line.recheck(what))
    }

    /// Ends sessions, which may come back; how many there are.
    pub fn end_sessions(&self, wanted: impl Fn(&Visitor<'_>) -> bool) -> usize {
        self.each(wanted, |cell, session, _| {
            metrics::access_changed(CloseReason::Ended.label());
            cell.end_session(session, CloseReason::Ended);
        })
    }

    fn each(
        &self,
        wanted: impl Fn(&Visitor<'_>) -> bool,
        mut act: impl FnMut(&DocumentCell, SessionId, &Slot),
    ) -> usize {
        let cells: Vec<Arc<DocumentCell>> = lock(&self.inner().cells).values().cloned().collect();
        let mut count = 0;
        for cell in cells {
            // One that is over stays in the table until its socket has said so to its peer.
            let live = cell.slots().into_iter();
            for (session, slot) in live.filter(|(_, slot)| slot.ending().is_none()) {
                let holder = lock(&slot.holder).clone();
                let visitor = Visitor {
                    document: cell.name.as_str(),
                    subject: holder.subject.as_deref(),
                    token_id: holder.token_id.as_deref(),
                    issued_at_ms: holder.issued_at_ms,
                };
                if wanted(&visitor) {
                    act(&cell, session, &slot);
                    count += 1;
                }
            }
        }
        count
    }
}
