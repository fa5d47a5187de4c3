//! What a document of hostile origin shows, read with the few calls of yrs that bear any content.
//!
//! `Array::to_json` and `Array::iter` of yrs 0.28.1 never end, or panic, when a list that is read as
//! an array holds text; so every list is read as a text, which takes everything.

use std::fmt::Write;

use yrs::branch::{Branch, BranchPtr};
use yrs::{Doc, Map, MapRef, Out, ReadTxn, Text, TextRef, Transact, Transaction};

/// What a document shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The content of all roots and of the types in them.
    pub content: String,
    /// The formats of texts, which depend on the order of the content.
    pub formats: String,
}

impl View {
    /// The content without its order.
    pub fn letters(&self) -> Vec<char> {
        let mut letters: Vec<_> = self.content.chars().collect();
        letters.sort_unstable();
        letters
    }
}

/// What the document shows.
pub fn view(doc: &Doc) -> View {
    let txn = doc.transact();
    let mut roots: Vec<_> = txn.root_refs().collect();
    roots.sort_by(|left, right| left.0.cmp(right.0));
    let mut view = View::default();
    for (name, root) in roots {
        view.content += name;
        show(&root, &txn, &mut view);
    }
    view
}

fn show(out: &Out, txn: &Transaction<'_>, view: &mut View) {
    let branch = match out {
        Out::YText(shared) => pointer(shared),
        Out::YArray(shared) => pointer(shared),
        Out::YMap(shared) => pointer(shared),
        Out::YXmlElement(shared) => pointer(shared),
        Out::YXmlFragment(shared) => pointer(shared),
        Out::YXmlText(shared) => pointer(shared),
        Out::UndefinedRef(branch) => *branch,
        Out::YDoc(doc) => {
            view.content += &format!("doc {:?};", doc.guid());
            return;
        }
        Out::Any(value) => {
            show_any(value, &mut view.content);
            return;
        }
    };
    show_branch(branch, txn, view);
}

fn pointer(shared: &impl AsRef<Branch>) -> BranchPtr {
    BranchPtr::from(shared.as_ref())
}

fn show_branch(branch: BranchPtr, txn: &Transaction<'_>, view: &mut View) {
    view.content.push('{');
    let map = MapRef::from(branch);
    let mut entries: Vec<_> = map.iter(txn).collect();
    entries.sort_by(|left, right| left.0.cmp(right.0));
    for (key, value) in entries {
        view.content += key;
        show(&value, txn, view);
    }
    for part in TextRef::from(branch).diff(txn, |_| ()) {
        let mut attributes: Vec<_> = part.attributes.iter().flat_map(|map| map.iter()).collect();
        attributes.sort_by(|left, right| left.0.cmp(right.0));
        for (key, value) in attributes {
            view.formats += key;
            show_any(value, &mut view.formats);
        }
        show(&part.insert, txn, view);
    }
    view.content.push('}');
}

/// Writes a value with the keys of objects in order.
fn show_any(value: &yrs::Any, shown: &mut String) {
    match value {
        yrs::Any::Map(entries) => {
            let mut keys: Vec<_> = entries.keys().collect();
            keys.sort();
            for key in keys {
                *shown += key;
                show_any(&entries[key], shown);
            }
        }
        yrs::Any::String(text) => return shown.push_str(text),
        yrs::Any::Array(values) => values.iter().for_each(|value| show_any(value, shown)),
        // Whole floats become integers, and large integers floats, on the way through the encoding.
        yrs::Any::Number(yrs::Number::Int(whole)) => {
            let _ = write!(shown, "{:?}", *whole as f64);
        }
        yrs::Any::Number(yrs::Number::Float(float)) => {
            // Adding zero makes the negative one positive: JSON through yrs loses its sign.
            let _ = write!(shown, "{:?}", float + 0.0);
        }
        other => {
            let _ = write!(shown, "{other:?}");
        }
    }
    shown.push(';');
}
