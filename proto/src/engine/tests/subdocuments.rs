//! Subdocuments reach peers, log and snapshots as they came, and never yrs.

use super::*;
use crate::admission::hide_subdocuments;
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
    let shown = |opts| serde_json::json!({ "guid": "inner", "opts": opts });
    assert_eq!(json["m"]["k"], shown(serde_json::json!({ "a": true })));
    assert_eq!(json["l"][0], shown(serde_json::json!({})));
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
        owners: Vec::new(),
    };
    let mut loaded = Replica::load(options(), &stored).unwrap();
    assert!(!holds_subdocument(&loaded.encode_state().unwrap()));
}

#[test]
fn bytes_that_look_hidden_stay_bytes() {
    // A peer that heard of the hiding sends what yrs would be given.
    let forged = hide_subdocuments(&inserted()).unwrap();
    assert_ne!(forged, inserted());
    let mut bench = Bench::new(options());
    bench.join([1, 2]);
    let effects = bench.turn([update(1, &forged)]);
    assert_eq!(updates_to(&effects, 2), std::slice::from_ref(&forged));
    assert_eq!(bench.replica.encode_state().unwrap(), forged);
    let snapshot = build_snapshot(None, std::slice::from_ref(&forged)).unwrap();
    assert_eq!(snapshot, forged);
    let json = export::json(&forged).unwrap();
    assert!(
        json["m"]["k"].is_array() && json["l"][0].is_array(),
        "{json}"
    );
}
