//! Wake-ups of documents, gathered over one round of a thread's event loop.
//!
//! A wake-up from another thread makes the scheduler switch to the document's thread at once. If
//! every socket that has something to say did that, a document would run once a frame, in turns with
//! the sockets. So what the sockets that are ready now have to say is put into the inboxes first;
//! then all documents of a thread are woken with one message, and each takes all that waits.

use std::cell::RefCell;
use std::sync::Arc;

use actix::{Arbiter, System};

use super::cell::DocumentCell;

/// Cells whose wake-up is claimed and not delivered. Bounded by the documents in memory: each is
/// here at most once.
#[derive(Debug, Default)]
struct Gathered {
    cells: Vec<Arc<DocumentCell>>,
    /// The system whose event loop will flush; one that stopped before it did never will.
    flushing: Option<usize>,
}

thread_local! {
    static GATHERED: RefCell<Gathered> = RefCell::default();
}

/// Wakes a document after the tasks of this thread that are ready now; at once on a thread without
/// an event loop of actix.
pub(super) fn wake_soon(cell: &Arc<DocumentCell>) {
    if !cell.claim_wake() {
        return;
    }
    let (Some(own_thread), Some(system)) = (Arbiter::try_current(), System::try_current()) else {
        return cell.deliver_wake();
    };
    let is_first = GATHERED.with_borrow_mut(|gathered| {
        gathered.cells.push(cell.clone());
        gathered.flushing.replace(system.id()) != Some(system.id())
    });
    if is_first {
        // It is polled behind the tasks that are ready already, and ends with this poll.
        own_thread.spawn_fn(flush);
    }
}

fn flush() {
    let mut cells = GATHERED.with_borrow_mut(|gathered| {
        gathered.flushing = None;
        std::mem::take(&mut gathered.cells)
    });
    if let [only] = &cells[..] {
        return only.deliver_wake();
    }
    cells.sort_unstable_by_key(|cell| cell.thread());
    for neighbours in cells.chunk_by(|left, right| left.thread() == right.thread()) {
        let Some(first) = neighbours.first() else {
            continue;
        };
        let neighbours = neighbours.to_vec();
        // A thread that is given up before it runs this is replaced with all its documents.
        first.thread_handle().spawn_fn(move || {
            for cell in neighbours {
                cell.deliver_wake();
            }
        });
    }
}
