//! Presence among several nodes: moves, ghosts, late and repeated messages.

use std::collections::BTreeMap;

use super::presence::{entries, heard};
use super::*;
use crate::engine::{NodeId, NodePresence};

const HERE: Option<&str> = Some("{}");
const GRACE_MS: u64 = 5_000;

/// Nodes that hear each other at once.
struct Cluster {
    nodes: BTreeMap<u64, Bench>,
    number: u64,
    /// The last message of each node.
    last: BTreeMap<u64, (u64, NodePresence)>,
}

impl Cluster {
    fn new(count: u64) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            number: 0,
            last: BTreeMap::new(),
        };
        for node in 1..=count {
            let mut bench = Bench::new(options());
            bench.join([node * 100]);
            cluster.nodes.insert(node, bench);
            cluster.turn(node, [Input::MeetNodes]);
        }
        cluster
    }

    /// A turn on one node and all that follows on the others; what each node's watcher heard.
    fn turn(
        &mut self,
        node: u64,
        inputs: impl IntoIterator<Item = Input>,
    ) -> BTreeMap<u64, Vec<(u64, u32, bool)>> {
        let mut told = BTreeMap::new();
        let mut waiting = vec![(node, inputs.into_iter().collect::<Vec<_>>())];
        for _ in 0..100 {
            let Some((node, inputs)) = waiting.pop() else {
                return told;
            };
            let bench = self.nodes.get_mut(&node).unwrap();
            // Messages of the same moment gather otherwise.
            bench.now_ms += 10;
            let effects = bench.turn(inputs);
            let watcher = heard(&effects, node * 100);
            told.entry(node).or_insert_with(Vec::new).extend(watcher);
            for effect in &effects {
                if let Effect::TellNodes { told } = effect {
                    self.number += 1;
                    self.last.insert(node, (self.number, told.clone()));
                    let others: Vec<u64> = self.nodes.keys().copied().collect();
                    for other in others.into_iter().filter(|other| *other != node) {
                        waiting.push((other, vec![self.repeat(node)]));
                    }
                }
            }
        }
        panic!("nodes talk without end");
    }

    /// The last message of a node, as others hear it.
    fn repeat(&self, node: u64) -> Input {
        let (number, told) = self.last[&node].clone();
        let node = NodeId(node);
        Input::NodePresence { node, number, told }
    }

    /// Time passes everywhere; who each watcher hears to have left.
    fn wait(&mut self, milliseconds: u64) -> Vec<(u64, u64)> {
        let mut gone = Vec::new();
        for (node, bench) in &mut self.nodes {
            let effects = bench.wait(milliseconds);
            let left = heard(&effects, node * 100).into_iter().filter(|it| !it.2);
            gone.extend(left.map(|(client, ..)| (*node, client)));
        }
        gone
    }
}

fn say(session: u64, clock: u32, state: Option<&'static str>) -> Input {
    receive(session, entries(&[(11, clock, state)]))
}

fn arrive(session: u64) -> [Input; 2] {
    [attach(session), step1(session, &peer(session))]
}

#[test]
fn news_reach_the_peers_of_all_nodes() {
    let mut cluster = Cluster::new(3);
    cluster.turn(1, arrive(1));
    let told = cluster.turn(1, [say(1, 1, HERE)]);
    for node in 1..=3 {
        assert_eq!(told[&node], [(11, 1, true)], "node {node}");
    }
    let told = cluster.turn(1, [say(1, 2, None)]);
    for node in 1..=3 {
        assert_eq!(told[&node], [(11, 2, false)], "node {node}");
    }
}

#[test]
fn a_node_that_comes_later_is_told_who_is_here() {
    let mut cluster = Cluster::new(2);
    cluster.turn(1, arrive(1));
    cluster.turn(1, [say(1, 1, HERE)]);
    let mut bench = Bench::new(options());
    bench.join([300]);
    cluster.nodes.insert(3, bench);
    let told = cluster.turn(3, [Input::MeetNodes]);
    assert_eq!(told[&3], [(11, 1, true)]);
}

#[test]
fn a_client_that_moves_never_vanishes_whoever_notices_first() {
    for is_clean in [true, false] {
        for arrives_first in [true, false] {
            let mut cluster = Cluster::new(3);
            cluster.turn(1, arrive(1));
            cluster.turn(1, [say(1, 5, HERE)]);
            if !arrives_first {
                assert_eq!(cluster.turn(1, [detach(1, is_clean)])[&1], []);
            }
            cluster.turn(2, arrive(2));
            cluster.turn(2, [say(2, 5, HERE)]);
            if arrives_first {
                cluster.turn(1, [detach(1, is_clean)]);
            }
            assert_eq!(cluster.wait(3 * GRACE_MS), []);
            cluster.turn(2, [detach(2, false)]);
            assert_eq!(
                cluster.wait(GRACE_MS),
                [(1, 11), (2, 11), (3, 11)],
                "no ghost stays"
            );
        }
    }
}

#[test]
fn who_says_that_it_disconnects_may_come_back_at_another_node() {
    let mut cluster = Cluster::new(2);
    cluster.turn(1, arrive(1));
    cluster.turn(1, [say(1, 5, HERE)]);
    let told = cluster.turn(1, [say(1, 5, None), detach(1, true)]);
    assert!(told.values().flatten().next().is_none());
    cluster.turn(2, arrive(2));
    cluster.turn(2, [say(2, 5, HERE)]);
    assert_eq!(cluster.wait(3 * GRACE_MS), []);
    cluster.turn(2, [say(2, 5, None)]);
    assert_eq!(cluster.wait(GRACE_MS), [(1, 11), (2, 11)]);
}

#[test]
fn a_client_that_comes_after_its_removal_is_made_to_raise_its_clock() {
    let mut cluster = Cluster::new(2);
    cluster.turn(1, arrive(1));
    cluster.turn(1, [say(1, 5, HERE)]);
    cluster.turn(1, [detach(1, false)]);
    // Only the first node has noticed that the time is over.
    let bench = cluster.nodes.get_mut(&1).unwrap();
    assert_eq!(heard(&bench.wait(GRACE_MS), 100), [(11, 5, false)]);
    cluster.turn(2, arrive(2));
    let message = say(2, 5, HERE);
    let bench = cluster.nodes.get_mut(&2).unwrap();
    bench.now_ms += 10;
    let effects = bench.turn([message]);
    let told = effects.iter().find_map(|effect| match effect {
        Effect::TellNodes { told } => Some(told.clone()),
        _ => None,
    });
    cluster.number += 1;
    cluster.last.insert(2, (cluster.number, told.unwrap()));
    let claim = cluster.repeat(2);
    let bench = cluster.nodes.get_mut(&1).unwrap();
    bench.now_ms += 10;
    let answer = bench.turn([claim]);
    let answer = answer.iter().find_map(|effect| match effect {
        Effect::TellNodes { told } => Some(told.clone()),
        _ => None,
    });
    let input = Input::NodePresence {
        node: NodeId(1),
        number: cluster.number + 1,
        told: answer.unwrap(),
    };
    let effects = cluster.nodes.get_mut(&2).unwrap().turn([input]);
    assert_eq!(heard(&effects, 2), [(11, 5, false)], "its owner is told");
    assert_eq!(heard(&effects, 200), [], "its peers are not");
}

#[test]
fn late_and_repeated_messages_change_nothing() {
    let mut cluster = Cluster::new(2);
    cluster.turn(1, arrive(1));
    cluster.turn(1, [say(1, 1, HERE)]);
    let here = cluster.repeat(1);
    cluster.turn(1, [detach(1, false)]);
    cluster.wait(GRACE_MS);
    assert_eq!(cluster.turn(2, [here])[&2], []);
    assert_eq!(cluster.wait(60_000), []);
}

#[test]
fn what_only_a_lost_node_carried_leaves_after_the_grace_time() {
    let mut cluster = Cluster::new(2);
    cluster.turn(1, arrive(1));
    cluster.turn(1, [say(1, 1, HERE)]);
    cluster.turn(2, [Input::NodeLost { node: NodeId(1) }]);
    assert_eq!(cluster.wait(GRACE_MS - 1), []);
    assert_eq!(cluster.wait(1), [(2, 11)]);
}

#[test]
fn a_whole_message_takes_back_what_is_not_in_it() {
    let mut cluster = Cluster::new(2);
    cluster.turn(1, arrive(1));
    cluster.turn(1, [say(1, 1, HERE)]);
    let told = NodePresence {
        is_whole: true,
        entries: crate::admission::encode_entries([].into_iter()),
        ..NodePresence::default()
    };
    let input = Input::NodePresence {
        node: NodeId(1),
        number: 1_000,
        told,
    };
    cluster.turn(2, [input]);
    assert_eq!(cluster.wait(GRACE_MS), [(2, 11)]);
}

#[test]
fn what_a_former_replica_held_is_stored_and_relayed() {
    let mut bench = Bench::new(options());
    bench.join([1]);
    let mut writer = peer(7);
    let (known, lost) = (writer.type_text("a"), writer.type_text("b"));
    bench.turn([update(1, &known)]);
    let state = writer.state();
    let effects = bench.turn([Input::Held {
        update: state,
        owners: Vec::new(),
    }]);
    let stored: Vec<_> = appends(&effects).into_iter().map(|it| it.2).collect();
    assert_eq!(stored, std::slice::from_ref(&lost));
    assert_eq!(updates_to(&effects, 1), [lost]);
}

#[test]
fn what_a_former_replica_held_may_be_larger_than_one_update() {
    let mut bench = Bench::new(options());
    let mut writer = peer(7);
    let text = "x".repeat(options().update_bytes_max);
    writer.type_text(&text);
    bench.turn([Input::Held {
        update: writer.state(),
        owners: Vec::new(),
    }]);
    assert_eq!(bench.view(), text);
}
