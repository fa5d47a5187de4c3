//! The bus within one process. With one node it costs a load of a counter per commit; with several
//! nodes over one store it is what a network bus is to processes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftless_proto::name::DocumentName;

use super::nodes::NodeListeners;
use super::{
    Bus, BusError, BusFuture, BusStatus, Event, Listener, NodeEvent, NodeListener,
    NodeSubscription, Subscription,
};

/// Channels in memory; clones share them. Bounded by the documents that are loaded.
#[derive(Debug, Clone, Default)]
pub struct LocalBus(Arc<Hub>);

#[derive(Debug, Default)]
struct Hub {
    channels: Mutex<HashMap<DocumentName, Arc<Channel>>>,
    nodes: NodeListeners,
}

#[derive(Debug, Default)]
struct Channel {
    /// How many members there are, to be read without the lock.
    count: AtomicUsize,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    listeners: Vec<(u64, Arc<dyn Listener>)>,
}

#[derive(Debug)]
struct Member {
    hub: Arc<Hub>,
    document: DocumentName,
    channel: Arc<Channel>,
    number: u64,
}

/// Locks, also after a panic elsewhere: every critical section here leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus for LocalBus {
    fn status(&self) -> BusStatus {
        BusStatus::Local
    }

    fn subscribe<'a>(
        &'a self,
        document: &'a DocumentName,
        listener: Arc<dyn Listener>,
    ) -> BusFuture<'a, Result<Box<dyn Subscription>, BusError>> {
        let mut channels = lock(&self.0.channels);
        let channel = channels.entry(document.clone()).or_default().clone();
        let mut members = lock(&channel.members);
        let number = members.next;
        members.next += 1;
        members.listeners.push((number, listener));
        channel
            .count
            .store(members.listeners.len(), Ordering::Release);
        drop(members);
        drop(channels);
        let member = Member {
            hub: self.0.clone(),
            document: document.clone(),
            channel,
            number,
        };
        Box::pin(std::future::ready(Ok(Box::new(member) as Box<_>)))
    }

    fn join_nodes(&self, listener: Arc<dyn NodeListener>) -> Box<dyn NodeSubscription> {
        Box::new(NodeMember {
            number: self.0.nodes.add(listener),
            hub: self.0.clone(),
        })
    }
}

#[derive(Debug)]
struct NodeMember {
    hub: Arc<Hub>,
    number: u64,
}

impl NodeSubscription for NodeMember {
    fn publish(&self, event: NodeEvent) -> BusFuture<'_, bool> {
        self.hub.nodes.tell(&event, Some(self.number));
        Box::pin(std::future::ready(true))
    }
}

impl Drop for NodeMember {
    fn drop(&mut self) {
        self.hub.nodes.remove(self.number);
    }
}

impl Subscription for Member {
    fn has_peers(&self) -> bool {
        self.channel.count.load(Ordering::Acquire) > 1
    }

    fn publish(&self, event: Event) {
        // Listeners are called without the lock: one that leaves meanwhile may hear one event more.
        let others: Vec<_> = lock(&self.channel.members)
            .listeners
            .iter()
            .filter(|(number, _)| *number != self.number)
            .map(|(_, listener)| listener.clone())
            .collect();
        for listener in others {
            listener.hear(event.clone());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut channels = lock(&self.hub.channels);
        let mut members = lock(&self.channel.members);
        members
            .listeners
            .retain(|(number, _)| *number != self.number);
        self.channel
            .count
            .store(members.listeners.len(), Ordering::Release);
        if members.listeners.is_empty() {
            channels.remove(&self.document);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::conformance;

    conformance::enrol!(LocalBus::default());

    #[test]
    fn channels_that_everyone_left_are_gone() {
        let bus = LocalBus::default();
        let listener = Arc::<conformance::Ear>::default();
        let document = conformance::name("a");
        let joined =
            futures_util::future::FutureExt::now_or_never(bus.subscribe(&document, listener));
        assert_eq!(lock(&bus.0.channels).len(), 1);
        drop(joined);
        assert_eq!(lock(&bus.0.channels).len(), 0);
    }
}
