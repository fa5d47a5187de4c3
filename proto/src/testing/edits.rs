//! Edits as people and apps make them, and what a document shows, to compare documents by.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use yrs::types::{Attrs, ToJson};
use yrs::{
    Any, Array, ArrayPrelim, ArrayRef, Doc, Map, MapPrelim, MapRef, Out, Text, TextPrelim, TextRef,
    Transact, TransactionMut, WriteTxn,
};

use super::rng::Rng;

const TEXTS: [&str; 8] = ["a", "bc", "hello ", "😀", "x😀y", "ä", "\n", "😀😀"];
const KEYS: [&str; 4] = ["k1", "k2", "k3", "long key"];
/// Longer than this, an element is cut rather than grown.
const LENGTH_MAX: u32 = 400;

/// Makes one to three random edits in one transaction; the document's observers tell of them.
pub(super) fn edit(doc: &Doc, rng: &mut Rng) {
    let mut txn = doc.transact_mut();
    for _ in 0..=rng.below(3) {
        match rng.below(8) {
            0..=3 => {
                let text = txn.get_or_insert_text("text");
                edit_text(&text, &mut txn, rng);
            }
            4 => {
                let map = txn.get_or_insert_map("map");
                edit_map(&map, &mut txn, rng);
            }
            5 => {
                let array = txn.get_or_insert_array("array");
                edit_array(&array, &mut txn, rng);
            }
            _ => edit_nested(&mut txn, rng),
        }
    }
}

/// Adds one character to the end of the text.
pub(super) fn type_letter(doc: &Doc) {
    let mut txn = doc.transact_mut();
    let text = txn.get_or_insert_text("text");
    let end = text.len(&txn);
    text.insert(&mut txn, end, "z");
}

/// What the roots show.
pub(super) fn view(doc: &Doc) -> String {
    let mut txn = doc.transact_mut();
    let text = txn.get_or_insert_text("text");
    let map = txn.get_or_insert_map("map");
    let array = txn.get_or_insert_array("array");
    let mut shown = String::new();
    let diff = text.diff(&txn, |_| ());
    for part in diff {
        let mut attributes: Vec<_> = part.attributes.iter().flat_map(|map| map.iter()).collect();
        attributes.sort_by(|left, right| left.0.cmp(right.0));
        let _ = write!(shown, "{:?}{attributes:?}", part.insert);
    }
    show(&map.to_json(&txn), &mut shown);
    show(&array.to_json(&txn), &mut shown);
    shown
}

/// Writes a value with the keys of objects in order.
fn show(value: &Any, shown: &mut String) {
    match value {
        Any::Map(entries) => {
            let mut keys: Vec<_> = entries.keys().collect();
            keys.sort();
            for key in keys {
                shown.push_str(key);
                show(&entries[key], shown);
            }
        }
        Any::Array(values) => values.iter().for_each(|value| show(value, shown)),
        other => {
            let _ = write!(shown, "{other:?}");
        }
    }
    shown.push(';');
}

fn edit_text(text: &TextRef, txn: &mut TransactionMut<'_>, rng: &mut Rng) {
    let borders = borders(text, txn);
    let border = rng.index(borders.len());
    let reach = if text.len(txn) > LENGTH_MAX { 200 } else { 6 };
    let at = borders[border];
    let end = borders[(border + rng.index(reach)).min(borders.len() - 1)];
    let span = end - at;
    match rng.below(10) {
        0..=5 if reach < 10 => {
            // An insert may also part a surrogate pair.
            let inside = at > 0 && rng.percent(10);
            let chunk: &&str = rng.pick(&TEXTS);
            text.insert(txn, at - u32::from(inside), chunk);
        }
        8 if span > 0 => {
            let value = rng
                .pick(&[Any::Bool(true), Any::Null, Any::from("red")])
                .clone();
            let key: Arc<str> = Arc::from(*rng.pick(&["bold", "color"]));
            text.format(txn, at, span, Attrs::from([(key, value)]));
        }
        9 => {
            text.insert_embed(txn, at, Any::from(rng.below(9) as i64));
        }
        _ if span > 0 => text.remove_range(txn, at, span),
        _ => {}
    }
}

/// The positions between whole characters, in UTF-16 units.
fn borders(text: &TextRef, txn: &TransactionMut<'_>) -> Vec<u32> {
    let mut borders = vec![0];
    let mut at = 0;
    for part in text.diff(txn, |_| ()) {
        match part.insert {
            Out::Any(Any::String(text)) => {
                for character in text.chars() {
                    at += character.len_utf16() as u32;
                    borders.push(at);
                }
            }
            _ => {
                at += 1;
                borders.push(at);
            }
        }
    }
    borders
}

fn edit_map(map: &MapRef, txn: &mut TransactionMut<'_>, rng: &mut Rng) {
    let key = *rng.pick(&KEYS);
    match rng.below(8) {
        0..=3 => {
            map.insert(txn, key, value(rng));
        }
        4 => {
            map.insert(txn, key, MapPrelim::from([("inner", value(rng))]));
        }
        5 => {
            map.insert(txn, key, ArrayPrelim::from([value(rng), value(rng)]));
        }
        6 => {
            map.insert(txn, key, TextPrelim::new(*rng.pick(&TEXTS)));
        }
        _ => {
            map.remove(txn, key);
        }
    }
}

fn edit_array(array: &ArrayRef, txn: &mut TransactionMut<'_>, rng: &mut Rng) {
    let length = array.len(txn);
    let at = rng.below(u64::from(length) + 1) as u32;
    match rng.below(8) {
        0..=2 if length < LENGTH_MAX => {
            let values: Vec<_> = (0..=rng.below(4)).map(|_| value(rng)).collect();
            array.insert_range(txn, at, values);
        }
        3 => {
            array.insert(txn, at, MapPrelim::from([("k1", value(rng))]));
        }
        4 => {
            array.insert(txn, at, TextPrelim::new(*rng.pick(&TEXTS)));
        }
        5 | 6 if at < length => {
            let span = (rng.below(3) as u32 + 1).min(length - at);
            array.remove_range(txn, at, span);
        }
        _ => {
            array.push_back(txn, value(rng));
        }
    }
}

/// Goes into a random nested type of the map or the array and edits there.
fn edit_nested(txn: &mut TransactionMut<'_>, rng: &mut Rng) {
    let map = txn.get_or_insert_map("map");
    let array = txn.get_or_insert_array("array");
    // By name: the order of a hash map would not replay.
    let mut found: Vec<Out> = KEYS.iter().filter_map(|key| map.get(txn, key)).collect();
    found.extend(array.iter(txn));
    found.retain(|out| matches!(out, Out::YMap(_) | Out::YArray(_) | Out::YText(_)));
    if found.is_empty() {
        return;
    }
    match rng.pick(&found).clone() {
        Out::YMap(map) => edit_map(&map, txn, rng),
        Out::YArray(array) => edit_array(&array, txn, rng),
        Out::YText(text) => edit_text(&text, txn, rng),
        _ => {}
    }
}

fn value(rng: &mut Rng) -> Any {
    match rng.below(9) {
        0 => Any::Null,
        1 => Any::Bool(true),
        2 => Any::from(rng.below(300) as i64 - 150),
        3 => Any::from(0.1 * rng.below(100) as f64),
        4 => Any::from((1_i64 << 60) + 1),
        5 => Any::from(vec![1_u8, 2, 3]),
        6 => Any::from(vec![Any::from("in"), Any::from(2)]),
        7 => Any::from(HashMap::from([
            ("key".to_owned(), Any::from("value")),
            ("other".to_owned(), Any::from(1)),
        ])),
        _ => Any::from(*rng.pick(&TEXTS)),
    }
}
