//! Admission against Yjs 13 and 14: random honest histories made by a Node process are admitted
//! whole, whatever order they arrive in, and the replica ends as Yjs says. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use driftless_proto::admission::{
    GAP_CLIENTS_MAX, Known, Limits, admit, chunks, describe_subdocuments, known_of, merge,
};
use serde_json::{Value, json};
use support::history::{apply, doc, state};
use yrs::types::ToJson;
use yrs::{Doc, GetString, ReadTxn, Transact, WriteTxn};

const LIMITS: Limits = Limits {
    update_bytes_max: 1 << 24,
    nesting_max: 64,
    gap_clients_max: GAP_CLIENTS_MAX,
};

/// How many histories are tried; `DRIFTLESS_INTEROP_HISTORIES` changes it.
const HISTORIES: u64 = 2_000;

#[test]
fn histories_of_yjs_13_and_14_are_admitted_and_end_equal() {
    let mut yjs = Yjs::start();
    let count = std::env::var("DRIFTLESS_INTEROP_HISTORIES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(HISTORIES);
    let (mut gaps, mut subdocuments) = (0, 0);
    for seed in 0..count {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let seen = run(&mut yjs, seed);
            gaps += seen.gaps;
            subdocuments += seen.subdocuments;
        }));
        assert!(outcome.is_ok(), "failed with seed {seed}");
    }
    assert!(gaps > count, "the histories are wild enough: {gaps} gaps");
    assert!(
        subdocuments > count,
        "and hold subdocuments: {subdocuments}"
    );
}

/// How many updates of a history arrived with a gap, and how many brought subdocuments.
struct Seen {
    gaps: u64,
    subdocuments: u64,
}

/// Runs one history.
fn run(yjs: &mut Yjs, seed: u64) -> Seen {
    let history = yjs.ask(&json!({"ask": "history", "seed": seed}));
    let mut server = Server::default();
    let mut early = 0;
    for delivery in history["deliveries"].as_array().unwrap() {
        let peer = &delivery["peer"];
        if server.take(&bytes(&delivery["update"])) {
            early += 1;
            let update = yjs.step_2(peer, &server.known);
            server.take(&update);
        }
    }
    let peers = history["peers"].as_u64().unwrap();
    let mut gaps = Vec::new();
    // Whoever waits for what another one has is whole in the second round.
    for peer in (0..peers).chain(0..peers) {
        let update = yjs.step_2(&json!(peer), &server.known);
        gaps.push(server.take(&update));
    }
    assert!(
        !gaps[peers as usize..].contains(&true),
        "nothing is lacking"
    );
    server.check(yjs);
    let log = &server.log;
    Seen {
        gaps: early,
        subdocuments: log.iter().filter(|part| part.has_subdocuments).count() as u64,
    }
}

#[derive(Default)]
struct Server {
    known: Known,
    replica: Option<Doc>,
    log: Vec<driftless_proto::admission::Admitted>,
}

impl Server {
    /// Admits and applies; whether there was a gap.
    fn take(&mut self, update: &Bytes) -> bool {
        let replica = self.replica.get_or_insert_with(|| doc(0, false));
        let admission = admit(update, &mut self.known, None, &LIMITS).expect("honest updates");
        if let Some(admitted) = admission.admitted {
            apply(replica, &admitted.update);
            self.log.push(admitted);
        }
        assert!(!replica.transact().has_missing_updates());
        admission.gap.is_some()
    }

    /// The replica, the merged log, the chunks and a reload all have to show what Yjs shows.
    fn check(&self, yjs: &mut Yjs) {
        let replica = self.replica.as_ref().unwrap();
        let full = state(replica);
        let known = known_of(&full).expect("own states are complete");
        assert_eq!(known.vector, self.known.vector);
        let shown = yjs.compare(&full);
        for (name, got) in show(&full) {
            // Only what Yjs 13 made has types that Yjs 13 and yrs read alike.
            if let Some(wanted) = shown.get(name) {
                assert!(alike(&got, wanted), "{name}: {got} / {wanted}");
            }
        }
        yjs.compare(&merge(&self.log));
        let chunked = doc(0, false);
        for chunk in chunks(&full, &Default::default(), 100).unwrap() {
            apply(&chunked, &chunk);
            assert!(!chunked.transact().has_missing_updates());
        }
        yjs.compare(&state(&chunked));
    }
}

/// What yrs itself shows of the roots, with descriptions of subdocuments.
fn show(full: &Bytes) -> [(&'static str, Value); 5] {
    let replica = doc(0, false);
    apply(&replica, &describe_subdocuments(full).unwrap());
    let mut txn = replica.transact_mut();
    let text = txn.get_or_insert_text("text").get_string(&txn);
    let map = txn.get_or_insert_map("map").to_json(&txn);
    let array = txn.get_or_insert_array("array").to_json(&txn);
    let docs = txn.get_or_insert_map("docs").to_json(&txn);
    let doc_list = txn.get_or_insert_array("docList").to_json(&txn);
    [
        ("text", json!(text)),
        ("map", serde_json::to_value(map).unwrap()),
        ("array", serde_json::to_value(array).unwrap()),
        ("docs", serde_json::to_value(docs).unwrap()),
        ("docList", serde_json::to_value(doc_list).unwrap()),
    ]
}

/// Equality of JSON, with numbers compared as JavaScript does.
fn alike(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| alike(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| alike(value, other)))
        }
        // Yjs and yrs write XML differently as JSON; the states were compared by Yjs.
        (Value::String(left), Value::String(right)) if left.starts_with('<') => {
            right.starts_with('<')
        }
        _ => left == right,
    }
}

/// The Node process that plays the clients.
struct Yjs {
    process: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Yjs {
    fn start() -> Self {
        let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        assert!(
            folder.join("node_modules/yjs").exists(),
            "the JavaScript packages of this test are not installed: run `cargo xtask test`, \
             or `npm ci` in {}",
            folder.display()
        );
        let mut process = Command::new("node")
            .arg("main.mjs")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`node` (20 or newer) has to be on the PATH: install Node.js");
        Self {
            asks: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    fn ask(&mut self, ask: &Value) -> Value {
        writeln!(self.asks, "{ask}").expect("the Node process takes questions");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("the Node process answers; see its error above")
    }

    fn step_2(&mut self, peer: &Value, known: &Known) -> Bytes {
        let vector = hex(&known.vector.encode());
        bytes(&self.ask(&json!({"ask": "step2", "peer": peer, "vector": vector}))["update"])
    }

    /// Demands that a full state shows what all clients together show.
    fn compare(&mut self, state: &[u8]) -> Value {
        let answer = self.ask(&json!({"ask": "compare", "state": hex(state)}));
        assert_eq!(answer["same"], true, "{answer}");
        answer
    }
}

impl Drop for Yjs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &Value) -> Bytes {
    hex.as_str()
        .unwrap()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
