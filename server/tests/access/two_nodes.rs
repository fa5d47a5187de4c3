//! Two nodes over real PostgreSQL and Redis: what is said to one is done on the other, told by the bus
//! or found in the store.
// The measured times belong into the output.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use driftless_cluster::{Cluster, ClusterOptions, NodeOptions, Part, Who};
use serde_json::Value;

use crate::client::{Client, letter};
use crate::server::{json, on};

struct Pair {
    cluster: Cluster,
    first: PathBuf,
}

impl Pair {
    fn start() -> Self {
        let options = ClusterOptions {
            nodes: 2,
            node: NodeOptions {
                binary: env!("CARGO_BIN_EXE_driftless").into(),
                arguments: Vec::new(),
            },
            postgres_port: 0,
            has_links: false,
            says_who: false,
        };
        let cluster = Cluster::start(&options).expect("a cluster starts");
        let first = cluster.folder().join("node-1");
        Self { cluster, first }
    }

    /// A command on the first node.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = on(&self.first, arguments);
        command.args(["--store", &self.cluster.database_url()]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Value {
        json(self.command(arguments))
    }

    /// A client in a document on the second node.
    fn joined(&self, document: &str) -> Client {
        let mut client = Client::plain(self.cluster.nodes()[1].address(), document, None);
        client.say(&[0, 0, 1, 0]);
        client.until("step 2", |message| message.starts_with(&[0, 1]));
        client
    }

    /// Restricts a document at the first node; the id, and how the second one learns of it.
    fn restrict(&self, document: &str, to: &str) -> (String, Value) {
        let made = self.run(&["access", "restrict", "--document", document, "--to", to]);
        let id = made["restriction"]["id"].as_str().unwrap().to_owned();
        (id, made["nodes"].clone())
    }
}

#[test]
fn what_is_taken_back_at_one_node_is_taken_back_at_the_other() {
    let mut pair = Pair::start();
    let mut client = pair.joined("plan");
    let begun = Instant::now();
    let (id, nodes) = pair.restrict("pl*", "read");
    assert_eq!(nodes, "told");
    client.until_told("no longer change it");
    println!(
        "lowered at the other node {:?} after the command began",
        begun.elapsed()
    );
    pair.run(&["access", "lift", &id]);
    let begun = Instant::now();
    pair.restrict("plan", "none");
    assert_eq!(client.until_closed(), 4_403);
    println!(
        "ended at the other node {:?} after the command began",
        begun.elapsed()
    );
    let other = pair.cluster.nodes()[1].address();
    assert_eq!(Client::plain(other, "plan", None).until_closed(), 4_403);

    let mut client = pair.joined("other");
    let ended = pair.run(&["session", "end", "--document", "other"]);
    assert_eq!(ended, serde_json::json!({ "sessions": 0, "nodes": "told" }));
    assert_eq!(client.until_closed(), 4_510);
    let mut client = pair.joined("other");
    pair.run(&["session", "check", "--document", "other"]);
    client.write(&letter(1, 'a'));

    // A node that starts holds to it before it listens.
    let second = Who::Node(1);
    pair.cluster.part(second).restart().unwrap();
    assert_eq!(Client::plain(other, "plan", None).until_closed(), 4_403);
    assert_eq!(pair.cluster.stop(), [""; 0], "every part ends by itself");
}

#[test]
fn what_the_bus_cannot_tell_is_found_in_the_store() {
    let mut pair = Pair::start();
    let mut client = pair.joined("plan");
    pair.cluster.part(Who::Redis).pause();
    let begun = Instant::now();
    let (id, nodes) = pair.restrict("plan", "read");
    client.until_told("no longer change it");
    println!(
        "lowered {:?} after the command began, which said {nodes}, with Redis paused",
        begun.elapsed()
    );
    // By now every node has noticed.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let begun = Instant::now();
    let (_, nodes) = pair.restrict("plan", "none");
    assert_eq!(nodes, "later");
    assert_eq!(client.until_closed(), 4_403);
    println!(
        "ended {:?} after the command began, with Redis known to be away",
        begun.elapsed()
    );
    let lifted = pair.run(&["access", "lift", &id]);
    assert_eq!(lifted["nodes"], "later");
    let ended = pair.run(&["session", "end", "--document", "plan"]);
    assert_eq!(ended["nodes"], "untold");
    let text = crate::server::output(pair.command(&["session", "end", "--document", "x"]));
    assert!(text.contains("run this again"), "{text}");
    pair.cluster.part(Who::Redis).resume();
    assert_eq!(pair.cluster.stop(), [""; 0], "every part ends by itself");
}
