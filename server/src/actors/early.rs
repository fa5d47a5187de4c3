//! Serves joiners that have nothing from stored bytes, before the replica is built.
//!
//! What the store holds is a state already: the snapshot and the appends behind it, each an update.
//! Building the replica of a large document takes longer than everything else between a cold start
//! and its first reader.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use driftless_proto::admission::StateVector;
use driftless_proto::engine::SessionId;
use driftless_proto::wire::{Message, Outbound};

use super::cell::DocumentCell;
use super::frames::BroadcastFrames;
use super::inbox::Item;
use super::slot::Slot;
use crate::metrics;
use crate::outbox::{PushResult, Written};
use crate::session::Encoding;
use crate::store::LoadedDocument;

/// A larger state waits for the replica, which sends it in parts. This much goes in one piece, which
/// an empty queue takes whatever its bound, and all sockets share the bytes.
const EARLY_BYTES_MAX: usize = 1 << 20;

/// Sends what is stored to the sessions that wait and said that they have nothing; returns them.
pub(super) fn serve(cell: &DocumentCell, stored: &LoadedDocument, now_ms: u64) -> Vec<SessionId> {
    let bytes = stored.updates().map(Bytes::len).sum::<usize>();
    if bytes == 0 || bytes > EARLY_BYTES_MAX || stored.damage.is_some() {
        return Vec::new();
    }
    let mut frames = BroadcastFrames::default();
    let mut written = Written::default();
    let mut served = Vec::new();
    for (session, slot) in newcomers(cell) {
        let frame = frames.get_or(&slot.encoding, || encode(stored, &slot.encoding));
        if slot.line.outbox.push(frame) == PushResult::Queued {
            let more = slot.line.outbox.flush(now_ms);
            written.bytes += more.bytes;
            written.frames += more.frames;
            served.push(session);
        }
    }
    if !served.is_empty() {
        metrics::sent(written);
        metrics::joins_served_early(served.len());
    }
    served
}

/// All updates in their order; the last one as a step 2, which tells that nothing is missing.
fn encode(stored: &LoadedDocument, encoding: &Encoding) -> Bytes {
    let mut frames = BytesMut::new();
    let mut updates = stored.updates().cloned().peekable();
    while let Some(update) = updates.next() {
        let message = match updates.peek() {
            Some(_) => Outbound::Update { update },
            None => Outbound::SyncStep2 { update },
        };
        (encoding.write)(&encoding.address, &message, &mut frames);
    }
    frames.freeze()
}

/// Sessions that wait to be attached and whose first question says that they have nothing.
fn newcomers(cell: &DocumentCell) -> Vec<(SessionId, Arc<Slot>)> {
    let mut arriving = HashMap::new();
    let mut found = Vec::new();
    cell.inbox.look(|item| match item {
        Item::Attach(session, slot) => {
            arriving.insert(*session, slot.clone());
        }
        Item::Receive(session, Message::SyncStep1 { vector }) => {
            if let Some(slot) = arriving.remove(session)
                && slot.ending().is_none()
                && StateVector::decode(vector).is_ok_and(|vector| vector.is_empty())
            {
                found.push((*session, slot));
            }
        }
        _ => {}
    });
    found
}
