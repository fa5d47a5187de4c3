//! The suite that every bus passes. A bus enrols with one line:
//! `conformance::enrol!(MyBus::start());`
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use driftless_proto::name::DocumentName;

use super::{
    Bus, Commit, Entry, Event, Listener, NodeEvent, NodeListener, NodeSubscription, Subscription,
};
use crate::access::Selection;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes one test of every function of the suite.
macro_rules! enrol {
    ($bus:expr) => {
        crate::bus::conformance::enrol! { $bus;
            everyone_else_hears_and_the_publisher_does_not,
            documents_have_channels_of_their_own,
            who_left_hears_nothing,
            what_is_published_after_joining_is_heard,
            large_commits_and_deletions_arrive_as_they_are,
            many_publishers_lose_nothing_between_them,
            all_other_nodes_hear_what_is_told_to_nodes,
        }
    };
    ($bus:expr; $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                crate::bus::conformance::$test(&$bus).await;
            }
        )*
    };
}
pub(crate) use enrol;

/// Remembers what it heard.
#[derive(Debug, Default)]
pub(crate) struct Ear(Mutex<Vec<Event>>);

impl Listener for Ear {
    fn hear(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Ear {
    pub(crate) fn heard(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, count: usize) -> Vec<Event> {
        let begun = Instant::now();
        while self.heard().len() < count {
            assert!(begun.elapsed() < PATIENCE, "heard only {:?}", self.heard());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.heard()
    }
}

pub(crate) fn name(text: &str) -> DocumentName {
    DocumentName::new(text).unwrap()
}

fn commit(sequence: u64) -> Event {
    let entry = Entry {
        sequence,
        id: [sequence as u8; 16],
        update: Some(Bytes::from_static(&[0, 0])),
    };
    Event::Committed(Arc::new(Commit {
        epoch: 1,
        entries: vec![entry],
    }))
}

async fn join(bus: &impl Bus, document: &str) -> (Arc<Ear>, Box<dyn Subscription>) {
    let ear = Arc::<Ear>::default();
    let joined = bus.subscribe(&name(document), ear.clone()).await;
    (ear, joined.unwrap())
}

pub(crate) async fn everyone_else_hears_and_the_publisher_does_not(bus: &impl Bus) {
    let (ada, from_ada) = join(bus, "a").await;
    let (ben, from_ben) = join(bus, "a").await;
    let (cleo, _from_cleo) = join(bus, "a").await;
    assert!(from_ada.has_peers());
    from_ada.publish(commit(1));
    from_ben.publish(commit(2));
    assert_eq!(ada.until(1).await, [commit(2)]);
    assert_eq!(ben.until(1).await, [commit(1)]);
    assert_eq!(cleo.until(2).await.len(), 2);
}

pub(crate) async fn documents_have_channels_of_their_own(bus: &impl Bus) {
    let (_ada, from_ada) = join(bus, "a").await;
    let (ben, _from_ben) = join(bus, "a/b").await;
    let (cleo, _from_cleo) = join(bus, "a").await;
    from_ada.publish(commit(1));
    cleo.until(1).await;
    assert_eq!(ben.heard(), []);
}

pub(crate) async fn who_left_hears_nothing(bus: &impl Bus) {
    let (ada, from_ada) = join(bus, "a").await;
    let (ben, from_ben) = join(bus, "a").await;
    let (cleo, _from_cleo) = join(bus, "a").await;
    drop(from_ada);
    from_ben.publish(commit(1));
    cleo.until(1).await;
    assert_eq!((ada.heard().len(), ben.heard().len()), (0, 0));
}

pub(crate) async fn what_is_published_after_joining_is_heard(bus: &impl Bus) {
    let (_ada, from_ada) = join(bus, "a").await;
    from_ada.publish(commit(1));
    for round in 2..=50 {
        let (ben, _from_ben) = join(bus, "a").await;
        from_ada.publish(commit(round));
        // What was published before may still be on its way.
        let begun = Instant::now();
        while ben.heard().last() != Some(&commit(round)) {
            assert!(begun.elapsed() < PATIENCE, "heard only {:?}", ben.heard());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(crate) async fn large_commits_and_deletions_arrive_as_they_are(bus: &impl Bus) {
    let (_ada, from_ada) = join(bus, "a").await;
    let (ben, _from_ben) = join(bus, "a").await;
    let entries = (1..=200).map(|sequence| Entry {
        sequence,
        id: [7; 16],
        update: (sequence % 2 == 0).then(|| vec![sequence as u8; 300].into()),
    });
    let large = Event::Committed(Arc::new(Commit {
        epoch: 9,
        entries: entries.collect(),
    }));
    let events = [large, Event::Deleted { epoch: 10 }];
    events
        .iter()
        .cloned()
        .for_each(|event| from_ada.publish(event));
    assert_eq!(ben.until(2).await, events);
}

pub(crate) async fn many_publishers_lose_nothing_between_them(bus: &impl Bus) {
    let (ear, _listener) = join(bus, "a").await;
    let mut publishers = Vec::new();
    for number in 0..4 {
        let (_, subscription) = join(bus, "a").await;
        publishers.push(tokio::spawn(async move {
            for sequence in 0..50 {
                subscription.publish(commit(number * 1_000 + sequence));
                tokio::task::yield_now().await;
            }
            subscription
        }));
    }
    let mut joined = Vec::new();
    for publisher in publishers {
        joined.push(publisher.await.unwrap());
    }
    let heard = ear.until(200).await;
    for number in 0..4 {
        let own = (0..50).map(|sequence| commit(number * 1_000 + sequence));
        let in_order = heard.iter().filter(|event| match event {
            Event::Committed(commit) => commit.entries[0].sequence / 1_000 == number,
            _ => false,
        });
        assert!(own.eq(in_order.cloned()), "each publisher's order is kept");
    }
}

/// Remembers what it heard of what is told to all nodes.
#[derive(Debug, Default)]
pub(crate) struct NodeEar(Mutex<Vec<NodeEvent>>);

impl NodeListener for NodeEar {
    fn hear(&self, event: NodeEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl NodeEar {
    /// Waits until it has heard exactly this.
    pub(crate) async fn until(&self, wanted: &[NodeEvent]) {
        let begun = Instant::now();
        let heard = || self.0.lock().unwrap().clone();
        while heard() != wanted {
            assert!(begun.elapsed() < PATIENCE, "heard {:?}", heard());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(crate) async fn all_other_nodes_hear_what_is_told_to_nodes(bus: &impl Bus) {
    let join = || -> (Arc<NodeEar>, Box<dyn NodeSubscription>) {
        let ear = Arc::<NodeEar>::default();
        let joined = bus.join_nodes(ear.clone());
        (ear, joined)
    };
    let (ada, from_ada) = join();
    let (ben, from_ben) = join();
    let (cleo, _from_cleo) = join();
    let whom = Selection {
        document: Some("team/*".into()),
        subject: Some("ada".into()),
        token_id: None,
    };
    let told = [
        NodeEvent::RestrictionsChanged,
        NodeEvent::EndSessions(whom.clone()),
        NodeEvent::RecheckSessions(whom),
    ];
    for event in &told {
        assert!(from_ada.publish(event.clone()).await);
    }
    ben.until(&told).await;
    cleo.until(&told).await;
    drop(from_ada);
    assert!(from_ben.publish(NodeEvent::RestrictionsChanged).await);
    let more: Vec<_> = told
        .into_iter()
        .chain([NodeEvent::RestrictionsChanged])
        .collect();
    cleo.until(&more).await;
    ada.until(&[]).await;
}
