//! Every flood at once against the real server, beside two editors who keep syncing.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use driftless_proto::admission::{PresenceEntry, encode_entries, entries};
use driftless_proto::wire::{Message, ywebsocket};
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, Text, Transact, Update};

use crate::binary::Binary;
use crate::limits::{connect, is_refused};
use crate::peer::{BINARY, PING, PONG, Peer, ServerFrame, masked, update};

const SECRET: &str = "a secret of the tests, long enough to be one";
const ROUNDS: usize = 100;
const KNOCKS: usize = 300;
const WAITING_MAX: usize = 150;
const JOINS: usize = 200;
const PRESENCES: u32 = 20_000;
const PRESENCE_PER_SECOND: u64 = 1;
const FLOODER: u64 = 99;

/// A client of y-websocket's dialect with a document.
struct Editor {
    peer: Peer,
    doc: Doc,
    /// Messages about presence, and the newest clock of the flooder's entry.
    told: u64,
    clock: u32,
}

impl Editor {
    async fn join(server: SocketAddr, from: &str, token: &str) -> Self {
        let path = format!("/ws/shared?token={token}");
        let (mut peer, head) = connect(server, from, &path).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        peer.send(&masked(BINARY, &[0, 0, 1, 0])).await;
        Self {
            peer,
            doc: Doc::new(),
            told: 0,
            clock: 0,
        }
    }

    async fn write(&mut self) {
        let root = self.doc.get_or_insert_text("t");
        let written = {
            let mut transaction = self.doc.transact_mut();
            root.insert(&mut transaction, 0, "x");
            transaction.encode_update_v1()
        };
        self.peer.send(&masked(BINARY, &update(&written))).await;
    }

    fn length(&self) -> usize {
        let root = self.doc.get_or_insert_text("t");
        root.get_string(&self.doc.transact()).len()
    }

    async fn hear(&mut self) {
        match self.peer.frame().await {
            ServerFrame(PING, payload) => self.peer.send(&masked(PONG, &payload)).await,
            ServerFrame(BINARY, payload) => self.read(payload.into()),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, frame: Bytes) {
        for message in ywebsocket::messages(frame) {
            match message.unwrap() {
                Message::SyncStep2 { update } | Message::Update { update } => {
                    let update = Update::decode_v1(&update).unwrap();
                    self.doc.transact_mut().apply_update(update).unwrap();
                }
                Message::Presence { entries: list } => {
                    self.told += 1;
                    for entry in entries(&list).unwrap().map(Result::unwrap) {
                        self.clock = self.clock.max(entry.clock);
                    }
                }
                _ => {}
            }
        }
    }
}

fn token() -> String {
    let mut mint = Command::new(env!("CARGO_BIN_EXE_driftless"));
    mint.env("DRIFTLESS_AUTH_SECRET", SECRET);
    mint.args(["token", "--doc", "*=write", "--sub", "ada", "--ttl", "1h"]);
    let minted = mint.output().unwrap();
    assert!(minted.status.success(), "{minted:?}");
    String::from_utf8(minted.stdout).unwrap().trim().to_owned()
}

/// Opens sockets that say nothing; those that were let in.
async fn knock(server: SocketAddr) -> Vec<Peer> {
    let mut inside = Vec::new();
    for _ in 0..KNOCKS {
        let (peer, head) = connect(server, "10.0.0.7:1", "/hocuspocus").await;
        match head.starts_with("HTTP/1.1 101 ") {
            true => inside.push(peer),
            false => assert!(head.starts_with("HTTP/1.1 429 "), "{head}"),
        }
    }
    inside
}

/// Joins documents that do not exist; how often that was refused.
async fn join_many(server: SocketAddr, token: String) -> usize {
    let mut refused = 0;
    for round in 0..JOINS {
        let path = format!("/ws/none-{round}?token={token}");
        let (mut peer, _) = connect(server, "10.0.0.8:1", &path).await;
        if let Some(code) = is_refused(&mut peer).await {
            assert_eq!(code, 4529);
            refused += 1;
        }
    }
    refused
}

/// Moves a cursor as fast as it can.
async fn move_cursor(server: SocketAddr, token: String) -> Editor {
    let mut flooder = Editor::join(server, "10.0.0.9:1", &token).await;
    for clocks in (1..=PRESENCES).collect::<Vec<_>>().chunks(10) {
        let frames = clocks.iter().flat_map(|clock| {
            let entry = PresenceEntry {
                client: FLOODER,
                clock: *clock,
                state: Some("{}"),
            };
            let list = encode_entries([entry].into_iter());
            masked(BINARY, &[&[1, list.len() as u8], &list[..]].concat())
        });
        let frames: Vec<u8> = frames.collect();
        flooder.peer.send(&frames).await;
    }
    flooder
}

async fn metrics(server: SocketAddr) -> String {
    let mut scrape = Peer::connect(server).await;
    scrape.send(crate::proxy_protocol::LOCAL).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    scrape.send(request.as_bytes()).await;
    String::from_utf8(scrape.rest().await).unwrap()
}

#[tokio::test]
async fn editors_keep_syncing_beside_every_flood() {
    let binary = Binary::start(&[
        "--proxy-protocol-from=127.0.0.1",
        &format!("--auth-secret={SECRET}"),
        "--unauthenticated-timeout-ms=10m",
        &format!("--unauthenticated-connections-per-address-max={WAITING_MAX}"),
        "--joins-per-second-max=1",
        &format!("--presence-per-second-max={PRESENCE_PER_SECOND}"),
    ]);
    let (server, token) = (binary.address, token());
    let mut ada = Editor::join(server, "10.0.0.1:1", &token).await;
    let mut ben = Editor::join(server, "10.0.0.2:1", &token).await;
    let started = Instant::now();
    let waiting = tokio::spawn(knock(server));
    let refused = tokio::spawn(join_many(server, token.clone()));
    let flooder = tokio::spawn(move_cursor(server, token.clone()));
    let mut round = 0;
    while round < ROUNDS || !(waiting.is_finished() && refused.is_finished()) {
        ada.write().await;
        while ben.length() < 2 * round + 1 {
            ben.hear().await;
        }
        ben.write().await;
        while ada.length() < 2 * round + 2 {
            ada.hear().await;
        }
        round += 1;
    }
    let _flooder = flooder.await.unwrap();
    while ada.clock < PRESENCES {
        ada.hear().await;
    }
    // Its newest place arrived; on the way there nobody was told more often than the rate allows.
    let told_max = PRESENCE_PER_SECOND * (started.elapsed().as_secs() + 2);
    assert!(ada.told <= told_max, "{} of {told_max}", ada.told);
    let waiting = waiting.await.unwrap();
    assert_eq!(waiting.len(), WAITING_MAX);
    let refused = refused.await.unwrap();
    assert!(refused > JOINS / 4, "{refused}");
    let metrics = metrics(server).await;
    for counted in [
        format!("driftless_unauthenticated_connections {WAITING_MAX}"),
        format!("driftless_refused_total{{reason=\"joins_per_second\"}} {refused}"),
        "\ndriftless_presence_held_back_total ".to_owned(),
    ] {
        assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
    }
    // Actors end with their threads; that is no fault to be mended or told.
    let told = binary.stop();
    let fault = told.iter().find(|line| line.contains(" ERROR "));
    assert_eq!(fault, None);
}
