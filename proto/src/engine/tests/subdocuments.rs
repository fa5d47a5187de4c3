//! Subdocuments reach peers, log and snapshots as they came, and never yrs.

use super::*;
use crate::engine::{build_snapshot, export};

/// Client 7 puts the subdocument `inner` under the key `k` of the root `m` and into the list `l`.
fn inserted() -> Bytes {
    let mut update = vec![1, 2, 7, 0];
    update.extend([9 | 0x20, 1, 1, b'm', 1, b'k']);
    update.extend(*b"\x05inner\x76\x01\x01a\x78");
    update.extend([9, 1, 1, b'l']);
    update.extend(*b"\x05inner\x76\x00");
    update.push(0);
    update.into()
}

/// Client 7 deletes both.
fn deleted() -> Bytes {
    Bytes::from_static(&[0, 1, 7, 1, 0, 2])
}

fn holds_subdocument(update: &Bytes) -> bool {
    update.windows(6).any(|window| window == b"\x05inner")
}

#[test]
fn peers_and_the_log_get_subdocuments_as_they_came() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let effects = bench.turn([update(1, &inserted())]);
    assert_eq!(updates_to(&effects, 2), [inserted()]);
    assert_eq!(appends(&effects)[0].2, inserted());
    bench.turn([attach(3)]);
    let late = updates_to(&bench.turn([step1(3, &peer(3))]), 3);
    assert_eq!(late, [inserted()]);
    let state = bench.replica.encode_state().unwrap();
    let json = export::json(&state).unwrap();
    assert_eq!(json["m"]["k"], serde_json::json!({ "guid": "inner" }));
    assert_eq!(json["l"], serde_json::json!([{ "guid": "inner" }]));
}

#[test]
fn deleted_subdocuments_are_gone_from_state_and_snapshot() {
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    bench.turn([update(1, &inserted())]);
    let effects = bench.turn([update(1, &deleted())]);
    assert_eq!(updates_to(&effects, 2), [deleted()]);
    let state = bench.replica.encode_state().unwrap();
    assert!(!holds_subdocument(&state), "{state:?}");
    let log = [inserted(), deleted()];
    let alive = build_snapshot(None, &log[..1]).unwrap();
    assert!(holds_subdocument(&alive));
    let snapshot = build_snapshot(Some(&alive), &log[1..]).unwrap();
    assert_eq!(snapshot, build_snapshot(None, &log).unwrap());
    let stored = StoredDocument {
        snapshot: Some(alive),
        appends: vec![deleted(), inserted()],
        tombstone: None,
    };
    let mut loaded = Replica::load(options(), &stored).unwrap();
    assert!(!holds_subdocument(&loaded.encode_state().unwrap()));
}
