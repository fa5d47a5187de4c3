//! Admission with yrs as the oracle: whatever order honest updates arrive in, what is admitted
//! applies without a rest, and every replica ends equal. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use bytes::Bytes;
use driftless_proto::admission::{
    Admitted, GAP_CLIENTS_MAX, Known, Limits, StateVector, admit, chunks, difference, known_of,
    merge, merge_unordered, preview,
};
use support::edits::view;
use support::history::{History, Peer, apply, doc, hear, history, state};
use support::random::Random;
use yrs::{Doc, ReadTxn, Transact};

const LIMITS: Limits = Limits {
    update_bytes_max: 1 << 24,
    nesting_max: 64,
    gap_clients_max: GAP_CLIENTS_MAX,
};

/// A replica behind admission.
struct Server {
    doc: Doc,
    known: Known,
    log: Vec<Admitted>,
}

impl Server {
    fn new() -> Self {
        Self {
            doc: doc(0, false),
            known: Known::default(),
            log: Vec::new(),
        }
    }

    /// Admits and applies; whether there was a gap.
    fn take(&mut self, update: &Bytes) -> bool {
        let before = format!("{:?}", self.known);
        let seen = preview(update, &mut self.known, None, &LIMITS).expect("honest updates");
        assert_eq!(format!("{:?}", self.known), before, "only looked at");
        let admission = admit(update, &mut self.known, None, &LIMITS).expect("honest updates");
        assert_eq!(format!("{seen:?}"), format!("{admission:?}"));
        if let Some(admitted) = admission.admitted {
            apply(&self.doc, &admitted.update);
            self.log.push(admitted);
        }
        self.check();
        admission.gap.is_some()
    }

    /// Takes an update of `peer`; on a gap what the peer's step 2 gives.
    fn take_from(&mut self, peer: &Peer, update: &Bytes) {
        if self.take(update) {
            let vector = yrs_vector(&self.known.vector);
            let step_2 = peer.doc.transact().encode_diff_v1(&vector);
            assert!(!self.take(&step_2.into()), "a whole step 2 leaves no gap");
        }
    }

    fn check(&self) {
        let txn = self.doc.transact();
        assert!(!txn.has_missing_updates(), "nothing is pending");
        assert_eq!(own_vector(&txn.state_vector()), self.known.vector);
    }
}

fn yrs_vector(vector: &StateVector) -> yrs::StateVector {
    use yrs::updates::decoder::Decode;
    yrs::StateVector::decode_v1(&vector.encode()).unwrap()
}

fn own_vector(vector: &yrs::StateVector) -> StateVector {
    vector
        .iter()
        .map(|(client, clock)| (client.get(), *clock))
        .collect()
}

/// Runs `check` on histories of consecutive seeds; a failure names its seed.
fn on_histories(count: u64, edits: usize, check: fn(&mut Random, History)) {
    for seed in 0..count {
        let result = std::panic::catch_unwind(|| {
            let mut random = Random::new(seed);
            let history = history(&mut random, edits);
            check(&mut random, history);
        });
        assert!(result.is_ok(), "failed with seed {seed}");
    }
}

/// A document that heard every client.
fn everyone(history: &History) -> Doc {
    let all = doc(0, false);
    for peer in &history.peers {
        hear(&all, &peer.doc);
    }
    all
}

fn same(left: &Doc, right: &Doc) {
    assert_eq!(view(left), view(right));
    let vector = |doc: &Doc| own_vector(&doc.transact().state_vector());
    assert_eq!(vector(left), vector(right));
}

#[test]
fn updates_in_any_order_converge() {
    on_histories(1000, 60, |random, history| {
        let mut server = Server::new();
        let mut order: Vec<_> = history.sent.iter().collect();
        if random.one_in(2) {
            random.shuffle(&mut order);
        }
        for (index, update) in order {
            server.take_from(&history.peers[*index], update);
            if random.one_in(8) {
                assert!(!server.take(update), "a duplicate is no gap");
            }
        }
        same(&server.doc, &everyone(&history));
    });
}

#[test]
fn overlapping_and_merged_updates_converge() {
    on_histories(1000, 60, |random, history| {
        let mut server = Server::new();
        for _ in 0..60 {
            let index = random.index(history.peers.len());
            let peer = &history.peers[index];
            let update: Bytes = if peer.sent.is_empty() || random.one_in(3) {
                let mut vector = yrs_vector(&server.known.vector);
                if let Some((client, clock)) = server.known.vector.iter().next() {
                    let lower = random.below(u64::from(clock) + 1) as u32;
                    vector = yrs_vector(
                        &server
                            .known
                            .vector
                            .iter()
                            .filter(|entry| entry.0 != client)
                            .collect(),
                    );
                    vector.set_max(yrs::ClientID::new(client), lower);
                }
                peer.doc.transact().encode_diff_v1(&vector).into()
            } else {
                let picked: Vec<_> = peer
                    .sent
                    .iter()
                    .filter(|_| random.one_in(2))
                    .map(|update| &update[..])
                    .collect();
                yrs::merge_updates_v1(picked).unwrap().into()
            };
            server.take(&update);
        }
        for peer in &history.peers {
            assert!(!server.take(&state(&peer.doc)));
        }
        same(&server.doc, &everyone(&history));
    });
}

#[test]
fn long_merged_sessions_are_joined_and_equal() {
    on_histories(60, 300, |random, history| {
        let mut server = Server::new();
        for _ in 0..2 {
            for peer in &history.peers {
                // One struct a key stroke, as an offline queue holds them.
                let from = random.index(peer.sent.len().max(1));
                let typed = peer.sent[from..].iter().map(|update| &update[..]);
                let update: Bytes = yrs::merge_updates_v1(typed).unwrap().into();
                server.take_from(peer, &update);
            }
        }
        for peer in &history.peers {
            server.take(&state(&peer.doc));
        }
        same(&server.doc, &everyone(&history));
        let replica = doc(0, false);
        apply(&replica, &merge(&server.log));
        same(&server.doc, &replica);
    });
}

#[test]
fn merging_is_the_same_as_applying_one_by_one() {
    on_histories(500, 40, |random, history| {
        let mut server = Server::new();
        for (index, update) in &history.sent {
            server.take_from(&history.peers[*index], update);
        }
        let replica = doc(0, false);
        let mut rest = &server.log[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(1 + random.index(rest.len().min(12)));
            let merged = merge(batch);
            apply(&replica, &merged);
            assert!(!replica.transact().has_missing_updates());
            rest = later;
        }
        same(&server.doc, &replica);
        let again = known_of(&merge(&server.log)).unwrap();
        assert_eq!(again.vector, server.known.vector);
        assert_eq!(again.deleted, server.known.deleted);
    });
}

/// All updates of a history in any order, some of them merged, some there twice.
fn shuffled(random: &mut Random, history: &History) -> Vec<Bytes> {
    let mut updates: Vec<Bytes> = history.sent.iter().map(|(_, it)| it.clone()).collect();
    for peer in &history.peers {
        let picked = peer.sent.iter().filter(|_| random.one_in(3));
        let picked = picked.map(|update| &update[..]);
        updates.push(yrs::merge_updates_v1(picked).unwrap().into());
        if random.one_in(3) {
            updates.push(state(&peer.doc));
        }
    }
    random.shuffle(&mut updates);
    updates
}

#[test]
fn updates_of_any_order_are_one() {
    on_histories(1000, 60, |random, history| {
        let updates = shuffled(random, &history);
        let mut server = Server::new();
        let merged = merge_unordered(&updates, LIMITS.nesting_max).unwrap();
        assert!(!server.take(&merged), "nothing is missing");
        same(&server.doc, &everyone(&history));
    });
}

#[test]
fn with_some_updates_lost_the_others_are_one() {
    on_histories(200, 60, |random, history| {
        let kept = history.sent.iter().filter(|_| !random.one_in(20));
        let mut updates: Vec<Bytes> = kept.map(|(_, update)| update.clone()).collect();
        let mut one_by_one = Server::new();
        let is_partial = loop {
            let before = one_by_one.log.len();
            let gaps = updates.iter().filter(|update| one_by_one.take(update));
            let is_partial = gaps.count() > 0;
            if one_by_one.log.len() == before {
                break is_partial;
            }
        };
        random.shuffle(&mut updates);
        let mut server = Server::new();
        let merged = merge_unordered(&updates, LIMITS.nesting_max).unwrap();
        assert_eq!(server.take(&merged), is_partial);
        same(&server.doc, &one_by_one.doc);
        assert_eq!(server.known.deleted, one_by_one.known.deleted);
    });
}

#[test]
fn chunks_in_order_leave_nothing_pending() {
    on_histories(500, 60, |random, history| {
        let all = everyone(&history);
        let state = state(&all);
        let replica = doc(0, false);
        let base = doc(0, false);
        hear(&base, &history.peers[0].doc);
        let from_scratch = random.one_in(2);
        if !from_scratch {
            hear(&replica, &base);
        }
        let vector = own_vector(&replica.transact().state_vector());
        let size = 1 + random.index(400);
        for chunk in chunks(&state, &vector, size).unwrap() {
            apply(&replica, &chunk);
            assert!(!replica.transact().has_missing_updates());
        }
        same(&replica, &all);
    });
}

#[test]
fn differences_bring_a_peer_up() {
    on_histories(500, 40, |_, history| {
        let all = everyone(&history);
        let state = state(&all);
        let known = known_of(&state).unwrap();
        assert_eq!(known.vector, own_vector(&all.transact().state_vector()));
        for peer in &history.peers {
            let vector = own_vector(&peer.doc.transact().state_vector());
            apply(&peer.doc, &difference(&state, &vector).unwrap());
            assert!(!peer.doc.transact().has_missing_updates());
            same(&peer.doc, &all);
        }
    });
}

#[test]
fn a_reloaded_state_admits_as_before() {
    on_histories(500, 40, |_, history| {
        let mut server = Server::new();
        for (index, update) in &history.sent {
            server.take_from(&history.peers[*index], update);
            if server.log.len() % 8 == 7 {
                let state = state(&server.doc);
                let reloaded = doc(0, false);
                apply(&reloaded, &state);
                let known = known_of(&state).expect("own states are complete");
                assert_eq!(known.vector, server.known.vector);
                assert!(known.deleted.covers(&server.known.deleted));
                server.doc = reloaded;
                server.known = known;
            }
        }
        same(&server.doc, &everyone(&history));
    });
}
