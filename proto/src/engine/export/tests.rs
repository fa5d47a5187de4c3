//! Roots of every kind, read back as people see them.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use yrs::types::Attrs;
use yrs::{
    Any, Array, ArrayPrelim, Doc, Map, MapPrelim, OffsetKind, Options, ReadTxn, StateVector, Text,
    TextPrelim, Transact, Xml, XmlElementPrelim, XmlFragment, XmlTextPrelim,
};

use super::*;

fn doc() -> Doc {
    Doc::with_options(Options {
        offset_kind: OffsetKind::Utf16,
        ..Options::with_client_id(yrs::ClientID::new(7))
    })
}

fn encoded(doc: &Doc) -> Vec<u8> {
    doc.transact().encode_diff_v1(&StateVector::default())
}

fn bold() -> Attrs {
    Attrs::from([("bold".into(), Any::Bool(true))])
}

/// One document with a root of every kind.
fn mixed() -> Vec<u8> {
    let doc = doc();
    let body = doc.get_or_insert_text("body");
    let list = doc.get_or_insert_array("list");
    let settings = doc.get_or_insert_map("settings");
    let prose = doc.get_or_insert_xml_fragment("prose");
    let gone = doc.get_or_insert_text("gone");
    let mut write = doc.transact_mut();
    body.insert(&mut write, 0, "hé 😀 ");
    body.insert_with_attributes(&mut write, 6, "loud", bold());
    list.push_back(&mut write, 1);
    list.push_back(&mut write, "two");
    list.push_back(&mut write, MapPrelim::from([("three", 3.5)]));
    list.push_back(&mut write, Any::Buffer(vec![0, 255].into()));
    settings.insert(&mut write, "title", "T");
    settings.insert(&mut write, "nested", TextPrelim::new("inner"));
    settings.insert(&mut write, "deep", ArrayPrelim::from([1, 2]));
    let paragraph = prose.push_back(&mut write, XmlElementPrelim::empty("paragraph"));
    paragraph.insert_attribute(&mut write, "align", "\"left\"");
    let text = paragraph.push_back(&mut write, XmlTextPrelim::new("a < b"));
    text.insert_with_attributes(&mut write, 5, "!", bold());
    gone.insert(&mut write, 0, "x");
    gone.remove_range(&mut write, 0, 1);
    drop(write);
    encoded(&doc)
}

#[test]
fn json_reads_each_root_by_what_it_holds() {
    assert_eq!(
        json(&mixed()).unwrap(),
        json!({
            "body": "hé 😀 loud",
            "gone": null,
            "list": [1, "two", { "three": 3.5 }, [0, 255]],
            "prose": "<paragraph align=\"&quot;left&quot;\">a &lt; b<bold>!</bold></paragraph>",
            "settings": { "title": "T", "nested": "inner", "deep": [1, 2] },
        })
    );
}

#[test]
fn a_list_with_keys_shows_both() {
    let doc = doc();
    let text = doc.get_or_insert_text("page");
    let keys = doc.get_or_insert_map("page");
    let mut write = doc.transact_mut();
    text.insert(&mut write, 0, "words");
    keys.insert(&mut write, "lang", "en");
    drop(write);
    assert_eq!(
        json(&encoded(&doc)).unwrap(),
        json!({ "page": { "attributes": { "lang": "en" }, "content": "words" } })
    );
}

#[test]
fn text_takes_the_named_root_or_the_only_one() {
    let state = mixed();
    assert_eq!(text(&state, Some("body")).unwrap(), "hé 😀 loud");
    assert!(
        text(&state, Some("prose"))
            .unwrap()
            .starts_with("<paragraph")
    );
    assert_eq!(text(&state, Some("gone")).unwrap(), "");
    let told = |name| text(&state, name).unwrap_err().to_string();
    assert_eq!(
        told(None),
        "the document has the roots `body`, `gone`, `list`, `prose`, `settings`; name one with --root"
    );
    assert_eq!(
        told(Some("settings")),
        "the root `settings` holds a map, not text; export it as JSON"
    );
    assert!(told(Some("nope")).starts_with("there is no root `nope`; the document has the roots"));

    let doc = doc();
    let only = doc.get_or_insert_text("only");
    only.push(&mut doc.transact_mut(), "one root");
    assert_eq!(text(&encoded(&doc), None).unwrap(), "one root");
    assert_eq!(text(&[0, 0], None).unwrap(), "");
}

#[test]
fn bytes_that_are_no_state_are_an_error() {
    for bytes in [&b""[..], b"\xff\xff\xff", b"\x01\x01"] {
        assert!(matches!(json(bytes), Err(ExportError::Unreadable(_))));
        assert!(matches!(text(bytes, None), Err(ExportError::Unreadable(_))));
    }
}

#[test]
fn bottomless_nesting_is_refused_not_followed() {
    let doc = doc();
    let root = doc.get_or_insert_map("root");
    let mut write = doc.transact_mut();
    let mut inner = root.insert(&mut write, "k", MapPrelim::default());
    for _ in 0..(NESTING_MAX * 4) {
        inner = inner.insert(&mut write, "k", MapPrelim::default());
    }
    drop(write);
    assert_eq!(json(&encoded(&doc)), Err(ExportError::TooDeep));

    let doc = self::doc();
    let root = doc.get_or_insert_xml_fragment("root");
    let mut write = doc.transact_mut();
    let mut inner = root.push_back(&mut write, XmlElementPrelim::empty("p"));
    for _ in 0..(NESTING_MAX * 4) {
        inner = inner.push_back(&mut write, XmlElementPrelim::empty("p"));
    }
    drop(write);
    assert_eq!(text(&encoded(&doc), None), Err(ExportError::TooDeep));
}

#[test]
fn names_from_peers_cannot_forge_markup() {
    let doc = doc();
    let root = doc.get_or_insert_xml_fragment("root");
    let mut write = doc.transact_mut();
    let forged = root.push_back(&mut write, XmlElementPrelim::empty("p><script"));
    forged.insert_attribute(&mut write, "on\"load", "x");
    drop(write);
    assert_eq!(
        text(&encoded(&doc), None).unwrap(),
        "<p__script on_load=\"x\"></p__script>"
    );
}

#[test]
fn text_in_an_array_ends_the_export_too() {
    // A nested array (type 0 under the key `a` of the root `m`) in which somebody typed an emoji:
    // two clocks, one character.
    let mut state = vec![1, 2, 7, 0];
    state.extend([7 | 0x20, 1, 1, b'm', 1, b'a', 0]);
    state.extend([4, 0, 7, 0, 4]);
    state.extend("😀".bytes());
    state.push(0);
    assert_eq!(json(&state).unwrap(), json!({ "m": { "a": "😀" } }));
}
