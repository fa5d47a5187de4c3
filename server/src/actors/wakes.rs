//! Wake-ups of documents, gathered over one round of a thread's event loop.
//!
//! If every socket that has something to say woke its document, a document would run once a frame, in
//! turns with the sockets. So what the sockets that are ready now have to say is put into the inboxes
//! first; then the documents of this thread are woken, those of each other thread with one message,
//! and each takes all that waits.

use std::cell::RefCell;
use std::sync::Arc;

use actix::{Arbiter, System};

use super::cell::DocumentCell;
use super::placement::own_index;

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
    if !is_first {
        return;
    }
    // Either is polled behind the tasks that are ready already, and ends with this poll.
    if own_index().is_some() {
        actix_rt::spawn(async { flush() });
    } else {
        own_thread.spawn_fn(flush);
    }
}

fn flush() {
    let mut cells = GATHERED.with_borrow_mut(|gathered| {
        gathered.flushing = None;
        std::mem::take(&mut gathered.cells)
    });
    let own = own_index();
    cells.sort_unstable_by_key(|cell| cell.thread());
    for neighbours in cells.chunk_by(|left, right| left.thread() == right.thread()) {
        match neighbours {
            [first, _, ..] if own != Some(first.thread()) => {
                let neighbours = neighbours.to_vec();
                // A thread that is given up before it runs this is replaced with all its documents.
                first.thread_handle().spawn_fn(move || deliver(&neighbours));
            }
            _ => deliver(neighbours),
        }
    }
}

fn deliver(cells: &[Arc<DocumentCell>]) {
    for cell in cells {
        cell.deliver_wake();
    }
}
