//! Which thread a document lives on: a fixed set of arbiters, the one with the least on it.
//!
//! The sockets of a document's sessions are served by its thread, so a thread's load is its documents
//! and their sessions. A document stays where it is for as long as it is in memory.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Arbiter, ArbiterHandle};

use super::lock;

/// Threads given up as stuck before the process refuses to hide it any longer: each one keeps its
/// stack and whatever it was working on.
pub const ABANDONED_THREADS_MAX: usize = 8;

thread_local! {
    /// The index of this thread among those of the documents.
    static OWN_INDEX: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The arbiters that documents are placed on.
#[derive(Debug)]
pub(super) struct Placement {
    arbiters: Mutex<Vec<Arbiter>>,
    /// Documents and sessions of each thread.
    loads: Vec<AtomicUsize>,
    abandoned: Mutex<usize>,
}

impl Placement {
    /// Starts the threads; must be called inside an actix system.
    pub(super) fn start(threads: usize) -> Self {
        let threads = threads.max(1);
        Self {
            arbiters: Mutex::new((0..threads).map(start_thread).collect()),
            loads: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
            abandoned: Mutex::new(0),
        }
    }

    /// The index of the thread with the least on it.
    pub(super) fn least_loaded(&self) -> usize {
        let loads = self.loads.iter().enumerate();
        loads
            .min_by_key(|(_, load)| load.load(Ordering::Relaxed))
            .map_or(0, |(index, _)| index)
    }

    /// Counts a document or a session in.
    pub(super) fn add(&self, index: usize) {
        self.loads[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts documents or sessions out.
    pub(super) fn subtract(&self, index: usize, count: usize) {
        self.loads[index].fetch_sub(count, Ordering::Relaxed);
    }

    /// The thread of this index.
    pub(super) fn handle(&self, index: usize) -> ArbiterHandle {
        lock(&self.arbiters)[index].handle()
    }

    /// Puts a new thread in the place of one that is stuck; false when too many were given up.
    pub(super) fn replace(&self, index: usize) -> bool {
        let mut abandoned = lock(&self.abandoned);
        if *abandoned >= ABANDONED_THREADS_MAX {
            return false;
        }
        *abandoned += 1;
        let former = std::mem::replace(&mut lock(&self.arbiters)[index], start_thread(index));
        // It ends by itself if it ever comes back; nobody joins it.
        former.stop();
        true
    }

    /// Threads that were given up.
    pub(super) fn abandoned(&self) -> usize {
        *lock(&self.abandoned)
    }

    /// Stops all threads.
    pub(super) fn stop(&self) {
        lock(&self.arbiters).iter().for_each(|arbiter| {
            arbiter.stop();
        });
    }
}

fn start_thread(index: usize) -> Arbiter {
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(move || OWN_INDEX.set(Some(index)));
    arbiter
}

/// The index of the calling thread, if documents live on it.
pub(super) fn own_index() -> Option<usize> {
    OWN_INDEX.get()
}
