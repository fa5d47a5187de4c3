//! Several nodes over one store: what one commits, all show, whatever the bus loses.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use driftless::bus::local::LocalBus;
use driftless::bus::{
    Bus, BusError, BusFuture, BusStatus, Event, Listener, NodeListener, NodeSubscription,
    Subscription,
};
use driftless::store::{LogLimits, LogStart, Store};
use driftless_proto::engine::CloseReason;
use driftless_proto::name::DocumentName;

use crate::house::{House, in_system, name};
use crate::peer::Peer;

/// A bus that drops, repeats and holds back what is published, by a seed. The last event of a test
/// is not followed by another one that shows the hole, so [`FaultyBus::heal`] says so.
#[derive(Debug)]
struct FaultyBus {
    inner: LocalBus,
    random: Arc<AtomicU64>,
}

#[derive(Debug)]
struct FaultyChannel {
    inner: Box<dyn Subscription>,
    random: Arc<AtomicU64>,
    held_back: Mutex<Option<Event>>,
}

impl FaultyBus {
    fn new(inner: LocalBus, seed: u64) -> Self {
        Self {
            inner,
            random: Arc::new(AtomicU64::new(seed)),
        }
    }

    /// Interrupts the listeners of a document, as a bus does when it was away.
    async fn heal(&self, document: &DocumentName) {
        let ear: Arc<dyn Listener> = Arc::new(Deaf);
        let channel = self.inner.subscribe(document, ear).await.unwrap();
        channel.publish(Event::Interrupted);
    }
}

#[derive(Debug)]
struct Deaf;

impl Listener for Deaf {
    fn hear(&self, _: Event) {}
}

impl Bus for FaultyBus {
    fn status(&self) -> BusStatus {
        self.inner.status()
    }

    fn subscribe<'a>(
        &'a self,
        document: &'a DocumentName,
        listener: Arc<dyn Listener>,
    ) -> BusFuture<'a, Result<Box<dyn Subscription>, BusError>> {
        Box::pin(async move {
            let inner = self.inner.subscribe(document, listener).await?;
            let random = self.random.clone();
            let held_back = Mutex::default();
            Ok(Box::new(FaultyChannel {
                inner,
                random,
                held_back,
            }) as Box<_>)
        })
    }

    fn join_nodes(&self, listener: Arc<dyn NodeListener>) -> Box<dyn NodeSubscription> {
        self.inner.join_nodes(listener)
    }
}

impl Subscription for FaultyChannel {
    fn has_peers(&self) -> bool {
        self.inner.has_peers()
    }

    fn publish(&self, event: Event) {
        let step = self
            .random
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        match (step ^ (step >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 61 {
            0 => {}
            1 => {
                self.inner.publish(event.clone());
                self.inner.publish(event);
            }
            2 | 3 => {
                // It comes after the next one.
                let late = self.held_back.lock().unwrap().replace(event);
                late.into_iter().for_each(|late| self.inner.publish(late));
            }
            _ => {
                self.inner.publish(event);
                let late = self.held_back.lock().unwrap().take();
                late.into_iter().for_each(|late| self.inner.publish(late));
            }
        }
    }
}

/// One writer on each node types; at the end all show the same and the log holds it once.
async fn write_everywhere(nodes: &[House], document: &DocumentName, heal: impl AsyncFn()) {
    const ROUNDS: usize = 30;
    let mut peers = Vec::new();
    for node in nodes {
        peers.push(Peer::join(&node.registry, document).await);
    }
    for round in 0..ROUNDS {
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.write(&format!("<{number}:{round}>")).await;
        }
    }
    for peer in &mut peers {
        peer.until_saved().await;
    }
    heal().await;
    let whole = |text: &str| {
        (0..nodes.len()).all(|number| {
            (0..ROUNDS).all(|round| text.matches(&format!("<{number}:{round}>")).count() == 1)
        })
    };
    for peer in &mut peers {
        peer.until(|peer| whole(&peer.text())).await;
    }
    let texts: BTreeSet<String> = peers.iter().map(Peer::text).collect();
    assert_eq!(texts.len(), 1, "all nodes show the same");
    let mut fresh = Peer::join(&nodes[0].registry, document).await;
    fresh.until(|peer| texts.contains(&peer.text())).await;
    let start = LogStart::After(0);
    let log = nodes[0].store.read_log(document, start, LogLimits::NONE);
    let log = log.await.unwrap();
    assert!(log.damage.is_none());
    let bytes: BTreeSet<_> = log.appends.iter().map(|append| &append.update).collect();
    assert_eq!(bytes.len(), log.appends.len(), "nothing is stored twice");
}

#[test]
fn what_one_node_commits_all_nodes_show() {
    in_system(async {
        let nodes = House::open_nodes(3, |bus| Arc::new(bus)).await;
        write_everywhere(&nodes, &name("everywhere"), async || {}).await;
    });
}

#[test]
fn a_bus_that_loses_and_shuffles_costs_time_and_no_change() {
    for seed in 0..8 {
        in_system(async move {
            let healer: Arc<Mutex<Option<Arc<FaultyBus>>>> = Arc::default();
            let keep = healer.clone();
            let nodes = House::open_nodes(2, move |bus| {
                let faulty = Arc::new(FaultyBus::new(bus, seed));
                *keep.lock().unwrap() = Some(faulty.clone());
                faulty
            })
            .await;
            let document = name(&format!("faulty-{seed}"));
            let faulty = healer.lock().unwrap().take().unwrap();
            write_everywhere(&nodes, &document, async || faulty.heal(&document).await).await;
        });
    }
}

#[test]
fn a_node_that_was_cut_off_reads_what_it_missed_from_the_log() {
    in_system(async {
        let nodes = House::open_nodes(2, |bus| Arc::new(bus)).await;
        let document = name("late");
        let mut ada = Peer::join(&nodes[0].registry, &document).await;
        ada.write("before ").await;
        ada.until_saved().await;
        // A node of its own, which hears nothing of the others until it is interrupted.
        let deaf = LocalBus::default();
        let alone = House::over_same_store(&nodes[0], Arc::new(deaf.clone()));
        let mut ben = Peer::join(&alone.registry, &document).await;
        ben.until(|peer| peer.text() == "before ").await;
        ada.write("missed ").await;
        ada.until_saved().await;
        ben.write("own").await;
        ben.until(|peer| peer.text().contains("missed")).await;
    });
}

#[test]
fn a_document_deleted_on_one_node_ends_its_sessions_on_all() {
    in_system(async {
        let nodes = House::open_nodes(2, |bus| Arc::new(bus)).await;
        let document = name("gone");
        let mut ada = Peer::join(&nodes[0].registry, &document).await;
        let mut ben = Peer::join(&nodes[1].registry, &document).await;
        ada.write("secret").await;
        ben.until(|peer| peer.text() == "secret").await;
        nodes[0].registry.delete(&document).await.unwrap();
        for peer in [&mut ada, &mut ben] {
            peer.until(|peer| peer.closed == Some(CloseReason::Deleted))
                .await;
        }
        let mut fresh = Peer::join(&nodes[1].registry, &document).await;
        fresh.write("new").await;
        fresh.until_saved().await;
        assert_eq!(fresh.text(), "new");
    });
}
