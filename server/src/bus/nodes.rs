//! Those in one process who hear what is told to all nodes; what both buses share of that channel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{NodeEvent, NodeListener};

/// Listeners by their numbers; usually one.
#[derive(Debug, Default)]
pub(super) struct NodeListeners(Mutex<Listeners>);

#[derive(Debug, Default)]
struct Listeners {
    next: u64,
    all: Vec<(u64, Arc<dyn NodeListener>)>,
}

impl NodeListeners {
    /// Adds one; returns its number.
    pub(super) fn add(&self, listener: Arc<dyn NodeListener>) -> u64 {
        let mut listeners = self.lock();
        let number = listeners.next;
        listeners.next += 1;
        listeners.all.push((number, listener));
        number
    }

    /// Forgets one.
    pub(super) fn remove(&self, number: u64) {
        self.lock().all.retain(|(one, _)| *one != number);
    }

    /// Passes an event on to all, without the one that published it.
    pub(super) fn tell(&self, event: &NodeEvent, except: Option<u64>) {
        // Called without the lock: one that leaves meanwhile may hear one event more.
        let listeners: Vec<_> = self
            .lock()
            .all
            .iter()
            .filter(|(number, _)| Some(*number) != except)
            .map(|(_, listener)| listener.clone())
            .collect();
        for listener in listeners {
            listener.hear(event.clone());
        }
    }

    /// A panic elsewhere cannot leave the list half-changed, so a poisoned lock is as good.
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
