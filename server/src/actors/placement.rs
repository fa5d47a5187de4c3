//! Which thread a document lives on: a fixed set of arbiters, chosen by the hash of the name.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use actix::{Arbiter, ArbiterHandle};
use driftless_proto::name::DocumentName;

use super::lock;

/// Threads given up as stuck before the process refuses to hide it any longer: each one keeps its
/// stack and whatever it was working on.
pub const ABANDONED_THREADS_MAX: usize = 8;

/// The arbiters that documents are placed on.
#[derive(Debug)]
pub(super) struct Placement {
    arbiters: Mutex<Vec<Arbiter>>,
    abandoned: Mutex<usize>,
}

impl Placement {
    /// Starts the threads; must be called inside an actix system.
    pub(super) fn start(threads: usize) -> Self {
        let arbiters = (0..threads.max(1)).map(|_| Arbiter::new()).collect();
        Self {
            arbiters: Mutex::new(arbiters),
            abandoned: Mutex::new(0),
        }
    }

    /// The index of a document's thread.
    pub(super) fn index_of(&self, name: &DocumentName) -> usize {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let count = lock(&self.arbiters).len() as u64;
        (hasher.finish() % count) as usize
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
        let former = std::mem::replace(&mut lock(&self.arbiters)[index], Arbiter::new());
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
