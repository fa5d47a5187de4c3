//! Tests of the bus over Redis: the conformance suite, and what happens when the server goes away. They
//! start a server of their own, which goes with the process.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use driftless_cluster::{Conditions, Link, Part, Redis};
use driftless_proto::name::DocumentName;
use tempfile::TempDir;

use super::{PUBLISH_QUEUE_BYTES_MAX, RedisBus, RedisOptions};
use crate::access::Selection;
use crate::bus::conformance::{Ear, NodeEar, enrol, name};
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

async fn until_up(nodes: &[RedisBus]) {
    let begun = Instant::now();
    while nodes.iter().any(|node| node.status() != BusStatus::Up) {
        assert!(begun.elapsed() < PATIENCE, "the bus does not connect");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The server's URL through a link to it.
fn by_link(server: &Redis, link: &Link) -> String {
    let port = |port: u16| format!(":{port}");
    let near = server.url();
    let far = near.replace(&port(server.address().port()), &port(link.port()));
    assert_ne!(near, far);
    far
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
        until_up(&nodes).await;
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
        listener: Arc<dyn Listener>,
    ) -> BusFuture<'a, Result<Box<dyn Subscription>, BusError>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        self.nodes[turn % 2].subscribe(document, listener)
    }

    fn join_nodes(&self, listener: Arc<dyn NodeListener>) -> Box<dyn NodeSubscription> {
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
    let ear = Arc::<Ear>::default();
    let joined = bus.subscribe(&name("a"), ear).await.unwrap();
    joined.publish(Event::Deleted { epoch: 2 });
    assert_eq!(bus.status(), BusStatus::Down);
    let ear = Arc::<NodeEar>::default();
    let nodes = bus.join_nodes(ear);
    assert!(
        !nodes.publish(NodeEvent::RestrictionsChanged).await,
        "nobody else hears it"
    );
}

#[tokio::test]
async fn a_command_counts_as_told_only_once_the_server_has_taken_it() {
    let (mut server, _folder) = start();
    let options = RedisOptions {
        url: server.url(),
        prefix: "told".to_owned(),
    };
    let nodes = [(); 2].map(|()| RedisBus::start(&options).unwrap());
    until_up(&nodes).await;
    let ear = Arc::<NodeEar>::default();
    let ours = nodes[0].join_nodes(Arc::<NodeEar>::default());
    let _theirs = nodes[1].join_nodes(ear.clone());
    let selection = Selection {
        subject: Some("ada".to_owned()),
        ..Selection::default()
    };
    let end = NodeEvent::EndSessions(selection);
    assert!(ours.publish(end.clone()).await);
    ear.until(std::slice::from_ref(&end)).await;

    // It hangs, which takes the link seconds to find out.
    server.pause();
    assert!(!ours.publish(end.clone()).await, "it has answered nothing");
    server.kill();
    assert!(!ours.publish(end.clone()).await, "it is not there");
    server.start().unwrap();
    server.wait_ready().unwrap();
    until_up(&nodes).await;
    ear.until(&[end.clone(), NodeEvent::Rejoined]).await;
    assert!(ours.publish(end.clone()).await);
    // What was not told is not told later.
    ear.until(&[end.clone(), NodeEvent::Rejoined, end]).await;
}

#[tokio::test]
async fn a_server_that_takes_its_time_is_waited_for() {
    let (server, _folder) = start();
    let far = Link::new(server.address().port()).unwrap();
    // More, there and back, than the library would give it by itself.
    far.set(Conditions {
        latency: Duration::from_millis(300),
        ..Conditions::default()
    });
    let bus = RedisBus::start(&RedisOptions {
        url: by_link(&server, &far),
        prefix: "slow".to_owned(),
    })
    .unwrap();
    let nodes = bus.join_nodes(Arc::<NodeEar>::default());
    let begun = Instant::now();
    while !nodes.publish(NodeEvent::RestrictionsChanged).await {
        assert!(begun.elapsed() < PATIENCE, "it is never told");
    }
}

#[tokio::test]
async fn what_joins_while_the_link_is_being_made_hears_afterwards() {
    let (server, _folder) = start();
    let far = Link::new(server.address().port()).unwrap();
    let options = |url: String| RedisOptions {
        url,
        prefix: "joins".to_owned(),
    };
    let speaker = RedisBus::start(&options(server.url())).unwrap();
    // So far away that there is a while between each two steps of connecting.
    far.set(Conditions {
        latency: Duration::from_millis(100),
        ..Conditions::default()
    });
    let hearer = [RedisBus::start(&options(by_link(&server, &far))).unwrap()];
    let mut joined = Vec::new();
    while hearer[0].status() != BusStatus::Up {
        let document = name(&format!("at {}", joined.len()));
        let ear = Arc::<Ear>::default();
        let listens = hearer[0].subscribe(&document, ear.clone()).await.unwrap();
        let speaks = speaker.subscribe(&document, Arc::<Ear>::default()).await;
        joined.push((ear, listens, speaks.unwrap()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(joined.len() > 10, "it took no time");
    let is_deleted = |event: &Event| matches!(event, Event::Deleted { .. });
    let begun = Instant::now();
    while !joined.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{} hear nothing", joined.len());
        for (_, _, speaks) in &joined {
            speaks.publish(Event::Deleted { epoch: 2 });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        joined.retain(|(ear, ..)| !ear.heard().iter().any(is_deleted));
    }
}

#[tokio::test]
async fn what_waits_for_a_server_that_is_away_is_bounded_in_bytes() {
    let options = RedisOptions {
        url: "redis://127.0.0.1:1".to_owned(),
        prefix: "x".to_owned(),
    };
    let bus = RedisBus::start(&options).unwrap();
    let ear = Arc::<Ear>::default();
    let joined = bus.subscribe(&name("a"), ear).await.unwrap();
    let large = Event::Committed(Arc::new(Commit {
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
