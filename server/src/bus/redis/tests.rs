//! Tests of the bus over Redis: the conformance suite, and what happens when the server goes away. They
//! start a server of their own, which goes with the process.
#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use driftless_cluster::{Part, Redis};
use driftless_proto::name::DocumentName;
use tempfile::TempDir;

use super::{PUBLISH_QUEUE_BYTES_MAX, RedisBus, RedisOptions};
use crate::bus::conformance::{enrol, name};
use crate::bus::{
    Bus, BusError, BusFuture, BusStatus, Commit, Entry, Event, Listener, NodeEvent, NodeListener,
    NodeSubscription, Subscription,
};

const PATIENCE: Duration = Duration::from_secs(30);

static SERVER: OnceLock<(Redis, TempDir)> = OnceLock::new();
static CLUSTERS: AtomicU32 = AtomicU32::new(0);

fn start() -> (Redis, TempDir) {
    let folder = driftless_cluster::temporary_folder().unwrap();
    let mut server = Redis::new(folder.path()).unwrap();
    server.start().unwrap();
    server.wait_ready().unwrap();
    (server, folder)
}

/// Two nodes of a cluster of their own; members join them in turn, so that what they say to each other
/// travels over Redis.
#[derive(Debug)]
struct TwoNodes {
    nodes: [RedisBus; 2],
    next: AtomicU32,
}

impl TwoNodes {
    async fn start() -> Self {
        let (server, _) = SERVER.get_or_init(start);
        let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let options = RedisOptions {
            url: server.url(),
            prefix: format!("test:{cluster}"),
        };
        let nodes = [(); 2].map(|()| RedisBus::start(&options).unwrap());
        let begun = Instant::now();
        while nodes.iter().any(|node| node.status() != BusStatus::Up) {
            assert!(begun.elapsed() < PATIENCE, "the bus does not connect");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self {
            nodes,
            next: AtomicU32::new(0),
        }
    }
}

impl Bus for TwoNodes {
    fn status(&self) -> BusStatus {
        self.nodes[0].status()
    }

    fn subscribe<'a>(
        &'a self,
        document: &'a DocumentName,
        listener: std::sync::Arc<dyn Listener>,
    ) -> BusFuture<'a, Result<Box<dyn Subscription>, BusError>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        self.nodes[turn % 2].subscribe(document, listener)
    }

    fn join_nodes(&self, listener: std::sync::Arc<dyn NodeListener>) -> Box<dyn NodeSubscription> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        self.nodes[turn % 2].join_nodes(listener)
    }
}

enrol!(TwoNodes::start().await);

#[tokio::test]
async fn a_url_that_can_never_work_is_refused_without_repeating_it() {
    let options = RedisOptions {
        url: "redis://user:hunter2@".to_owned(),
        prefix: "x".to_owned(),
    };
    let told = RedisBus::start(&options).unwrap_err().to_string();
    assert!(told.contains("redis://user:password@host:6379") && !told.contains("hunter2"));
}

#[tokio::test]
async fn without_a_server_a_document_works_alone() {
    let options = RedisOptions {
        url: "redis://127.0.0.1:1".to_owned(),
        prefix: "x".to_owned(),
    };
    let bus = RedisBus::start(&options).unwrap();
    let ear = std::sync::Arc::<crate::bus::conformance::Ear>::default();
    let joined = bus.subscribe(&name("a"), ear).await.unwrap();
    joined.publish(crate::bus::Event::Deleted { epoch: 2 });
    assert_eq!(bus.status(), BusStatus::Down);
    let ear = std::sync::Arc::<crate::bus::conformance::NodeEar>::default();
    let nodes = bus.join_nodes(ear);
    assert!(
        !nodes.publish(NodeEvent::RestrictionsChanged),
        "nobody else hears it"
    );
}

#[tokio::test]
async fn what_waits_for_a_server_that_is_away_is_bounded_in_bytes() {
    let options = RedisOptions {
        url: "redis://127.0.0.1:1".to_owned(),
        prefix: "x".to_owned(),
    };
    let bus = RedisBus::start(&options).unwrap();
    let ear = std::sync::Arc::<crate::bus::conformance::Ear>::default();
    let joined = bus.subscribe(&name("a"), ear).await.unwrap();
    let large = Event::Committed(std::sync::Arc::new(Commit {
        epoch: 1,
        entries: vec![Entry {
            sequence: 1,
            id: [1; 16],
            update: Some(vec![0; 1 << 20].into()),
        }],
    }));
    // The publisher takes nothing out meanwhile: it runs on this thread.
    for _ in 0..40 {
        joined.publish(large.clone());
    }
    let queued = bus.hub.queued_bytes.load(Ordering::Acquire);
    assert!(
        (10 << 20..=PUBLISH_QUEUE_BYTES_MAX).contains(&queued),
        "{queued} bytes wait"
    );
    assert!(
        super::lock(&bus.hub.lost).contains(&name("a")),
        "the rest is told of"
    );
}
