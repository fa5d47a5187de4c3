//! Random edits of a yrs document, through its public API as an honest client makes them.

use std::collections::HashMap;
use std::sync::Arc;

use yrs::types::Attrs;
use yrs::types::ToJson;
use yrs::{
    Any, Array, ArrayPrelim, ArrayRef, Doc, GetString, Map, MapPrelim, MapRef, Out, Text,
    TextPrelim, TextRef, Transact, TransactionMut, WriteTxn, Xml, XmlElementPrelim, XmlFragment,
    XmlFragmentRef, XmlOut, XmlTextPrelim,
};

use super::random::Random;

const TEXTS: [&str; 8] = ["a", "bc", "hello ", "😀", "x😀y", "ä", "\n", "😀😀"];
const KEYS: [&str; 4] = ["k1", "k2", "k3", "long key"];

/// Makes one to three random edits in one transaction and gives its update, if it changed anything.
pub fn edit(doc: &Doc, random: &mut Random) -> Option<Vec<u8>> {
    let mut txn = doc.transact_mut();
    for _ in 0..=random.below(3) {
        edit_root(&mut txn, random);
    }
    txn.has_changes().then(|| txn.encode_update_v1())
}

/// What the roots show, to compare documents by.
pub fn view(doc: &Doc) -> String {
    let mut txn = doc.transact_mut();
    let text = txn.get_or_insert_text("text");
    let map = txn.get_or_insert_map("map");
    let array = txn.get_or_insert_array("array");
    let xml = txn.get_or_insert_xml_fragment("xml");
    let mut shown = String::new();
    let diff = text.diff(&txn, |_| ());
    for part in diff {
        let mut attributes: Vec<_> = part.attributes.iter().flat_map(|map| map.iter()).collect();
        attributes.sort_by(|left, right| left.0.cmp(right.0));
        shown += &format!("{:?}{attributes:?}", part.insert);
    }
    show(&map.to_json(&txn), &mut shown);
    show(&array.to_json(&txn), &mut shown);
    for child in xml.children(&txn) {
        show_xml(&child, &txn, &mut shown);
    }
    shown
}

/// Writes an XML node with its attributes in order.
fn show_xml(node: &XmlOut, txn: &TransactionMut<'_>, shown: &mut String) {
    match node {
        XmlOut::Element(element) => {
            let mut attributes: Vec<_> = element
                .attributes(txn)
                .map(|(name, value)| format!(" {name}={value:?}"))
                .collect();
            attributes.sort();
            *shown += &format!("<{}{}>", element.tag(), attributes.concat());
            for child in element.children(txn) {
                show_xml(&child, txn, shown);
            }
            *shown += "</>";
        }
        XmlOut::Text(text) => *shown += &text.get_string(txn),
        XmlOut::Fragment(_) => {}
    }
}

/// Writes a value with the keys of objects in order.
fn show(value: &Any, shown: &mut String) {
    match value {
        Any::Map(entries) => {
            let mut keys: Vec<_> = entries.keys().collect();
            keys.sort();
            for key in keys {
                *shown += key;
                show(&entries[key], shown);
            }
        }
        Any::Array(values) => values.iter().for_each(|value| show(value, shown)),
        other => *shown += &format!("{other:?}"),
    }
    shown.push(';');
}

fn edit_root(txn: &mut TransactionMut<'_>, random: &mut Random) {
    match random.below(8) {
        0..=2 => {
            let text = txn.get_or_insert_text("text");
            edit_text(&text, txn, random);
        }
        3 => {
            let map = txn.get_or_insert_map("map");
            edit_map(&map, txn, random);
        }
        4 => {
            let array = txn.get_or_insert_array("array");
            edit_array(&array, txn, random);
        }
        5 => {
            let xml = txn.get_or_insert_xml_fragment("xml");
            edit_xml(&xml, txn, random);
        }
        _ => edit_nested(txn, random),
    }
}

fn edit_text(text: &TextRef, txn: &mut TransactionMut<'_>, random: &mut Random) {
    let borders = borders(text, txn);
    let border = random.index(borders.len());
    let at = borders[border];
    let end = borders[(border + random.index(6)).min(borders.len() - 1)];
    let span = end - at;
    match random.below(10) {
        0..=5 => {
            // An insert may also part a surrogate pair; other edits would do so without a trace
            // for the peers, in Yjs as in yrs, and replicas would show it differently.
            let inside = at > 0 && random.one_in(10);
            let chunk: &&str = random.pick(&TEXTS);
            text.insert(txn, at - u32::from(inside), chunk);
        }
        6 | 7 if span > 0 => text.remove_range(txn, at, span),
        8 if span > 0 => {
            let value = random
                .pick(&[Any::Bool(true), Any::Null, Any::from("red")])
                .clone();
            let key: Arc<str> = Arc::from(*random.pick(&["bold", "color"]));
            text.format(txn, at, span, Attrs::from([(key, value)]));
        }
        _ => {
            // Embeds travel as JSON; no text, so that `borders` can tell them from inserts.
            text.insert_embed(txn, at, Any::from(random.below(9) as i64));
        }
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

fn edit_map(map: &MapRef, txn: &mut TransactionMut<'_>, random: &mut Random) {
    let key = *random.pick(&KEYS);
    match random.below(8) {
        0..=3 => {
            map.insert(txn, key, value(random));
        }
        4 => {
            map.insert(txn, key, MapPrelim::from([("inner", value(random))]));
        }
        5 => {
            map.insert(txn, key, ArrayPrelim::from([value(random), value(random)]));
        }
        6 => {
            map.insert(txn, key, TextPrelim::new(*random.pick(&TEXTS)));
        }
        _ => {
            map.remove(txn, key);
        }
    }
}

fn edit_array(array: &ArrayRef, txn: &mut TransactionMut<'_>, random: &mut Random) {
    let length = array.len(txn);
    let at = random.below(u64::from(length) + 1) as u32;
    match random.below(8) {
        0..=2 => {
            let values: Vec<_> = (0..=random.below(4)).map(|_| value(random)).collect();
            array.insert_range(txn, at, values);
        }
        3 => {
            array.insert(txn, at, MapPrelim::from([("k1", value(random))]));
        }
        4 => {
            array.insert(txn, at, TextPrelim::new(*random.pick(&TEXTS)));
        }
        5 if at < length => {
            let span = (random.below(3) as u32 + 1).min(length - at);
            array.remove_range(txn, at, span);
        }
        _ => {
            array.push_back(txn, value(random));
        }
    }
}

fn edit_xml(xml: &XmlFragmentRef, txn: &mut TransactionMut<'_>, random: &mut Random) {
    let length = xml.len(txn);
    let at = random.below(u64::from(length) + 1) as u32;
    match random.below(6) {
        0 | 1 => {
            let element = xml.insert(txn, at, XmlElementPrelim::empty("p"));
            element.insert(txn, 0, XmlTextPrelim::new(*random.pick(&TEXTS)));
        }
        2 => {
            xml.insert(txn, at, XmlTextPrelim::new(*random.pick(&TEXTS)));
        }
        3 if at < length => xml.remove_range(txn, at, 1),
        _ => {
            if let Some(XmlOut::Element(element)) = xml.get(txn, at) {
                element.insert_attribute(txn, *random.pick(&KEYS), *random.pick(&TEXTS));
                let inner = element.len(txn);
                let at = random.below(u64::from(inner) + 1) as u32;
                element.insert(txn, at, XmlElementPrelim::empty("b"));
            }
        }
    }
}

/// Goes into a random nested type of the map or the array and edits there.
fn edit_nested(txn: &mut TransactionMut<'_>, random: &mut Random) {
    let map = txn.get_or_insert_map("map");
    let array = txn.get_or_insert_array("array");
    let mut found: Vec<Out> = map.iter(txn).map(|(_, value)| value).collect();
    found.extend(array.iter(txn));
    found.retain(|out| matches!(out, Out::YMap(_) | Out::YArray(_) | Out::YText(_)));
    if found.is_empty() {
        return;
    }
    match random.pick(&found).clone() {
        Out::YMap(map) => edit_map(&map, txn, random),
        Out::YArray(array) => edit_array(&array, txn, random),
        Out::YText(text) => edit_text(&text, txn, random),
        _ => {}
    }
}

fn value(random: &mut Random) -> Any {
    match random.below(9) {
        0 => Any::Null,
        1 => Any::Bool(true),
        2 => Any::from(random.below(300) as i64 - 150),
        3 => Any::from(0.1 * random.below(100) as f64),
        4 => Any::from((1i64 << 60) + 1),
        5 => Any::from(vec![1_u8, 2, 3]),
        6 => Any::from(vec![Any::from("in"), Any::from(2)]),
        7 => Any::from(HashMap::from([("key".to_owned(), Any::from("value"))])),
        _ => Any::from(*random.pick(&TEXTS)),
    }
}
