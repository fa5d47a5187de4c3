//! Snapshots of honest histories are built, and hold the same document.

use yrs::{Any, Array, Map, MapPrelim, WriteTxn};

use super::super::{SnapshotError, build_snapshot};
use super::*;
use crate::testing::rng::Rng;

/// One random edit: text, an object with several keys, or nested types that come and go.
fn edit(doc: &Doc, rng: &mut Rng) -> Bytes {
    let mut txn = doc.transact_mut();
    let text = txn.get_or_insert_text("text");
    let map = txn.get_or_insert_map("map");
    let array = txn.get_or_insert_array("array");
    let length = text.len(&txn);
    let key = ["k1", "k2", "k3"][rng.index(3)];
    match rng.below(9) {
        0..=2 => text.insert(&mut txn, rng.below(u64::from(length) + 1) as u32, "x😀y"),
        3 | 4 if length > 0 => {
            let at = rng.below(u64::from(length)) as u32;
            let span = (1 + rng.below(20) as u32).min(length - at);
            text.remove_range(&mut txn, at, span);
        }
        5 => {
            let inner = map.insert(&mut txn, key, MapPrelim::default());
            inner.insert(&mut txn, "deeper", MapPrelim::from([("leaf", "value")]));
        }
        6 => {
            map.remove(&mut txn, key);
        }
        7 if array.len(&txn) > 3 => array.remove_range(&mut txn, 1, 2),
        _ => {
            let object = [("b", 1), ("a", 2), ("c", 3)];
            let object = object.map(|(key, value)| (key.to_owned(), Any::from(value)));
            let object = std::collections::HashMap::from(object);
            array.push_back(&mut txn, Any::from(object));
        }
    }
    txn.encode_update_v1().into()
}

#[test]
fn snapshots_of_random_histories_hold_the_same_document() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let peers: Vec<_> = (1..=3).map(peer).collect();
        let mut log = Vec::new();
        let mut snapshot = None;
        for _ in 0..rng.between(5, 60) {
            let at = rng.index(peers.len());
            let made = edit(&peers[at].doc, &mut rng);
            for (other, listener) in peers.iter().enumerate() {
                if other != at {
                    let update = Update::decode_v1(&made).unwrap();
                    listener.doc.transact_mut().apply_update(update).unwrap();
                }
            }
            log.push(made);
            if rng.percent(10) {
                let covered = rng.index(log.len() + 1);
                let built = build_snapshot(snapshot.as_ref(), &log[..covered]);
                snapshot = Some(built.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
                log.drain(..covered);
            }
        }
        let built = build_snapshot(snapshot.as_ref(), &log).unwrap();
        let mut reader = peer(9);
        reader.hear(&built);
        assert_eq!(reader.text(), peers[0].text(), "seed {seed}");
    }
}

#[test]
fn a_log_that_cannot_be_loaded_makes_no_snapshot() {
    let mut writer = peer(1);
    writer.type_text("a");
    let second = writer.type_text("b");
    let built = build_snapshot(None, &[second]);
    assert!(matches!(built, Err(SnapshotError::Load(_))), "{built:?}");
}
