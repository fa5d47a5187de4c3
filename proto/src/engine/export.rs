//! Reads a stored state for people: JSON, or plain text.
//!
//! The wire does not say what a root is: a client that calls `doc.getText("body")` sends the same
//! bytes as one that calls `doc.getXmlFragment("body")`. So each root is read by what it holds:
//!
//! | its live content | read as | in JSON |
//! |---|---|---|
//! | characters, embeds | text | a string, without formatting and embeds |
//! | XML elements and texts only | xml | a string of well-formed markup |
//! | any other list | array | an array |
//! | keys | map | an object |
//! | both a list and keys | the list with attributes | `{"attributes": …, "content": …}` |
//! | nothing | empty | `null` |
//!
//! Nested types carry their kind and are read as what they are. Binary values become arrays of
//! byte numbers, subdocuments
//! `{"guid": …, "opts": …}`, `undefined` and numbers that JSON lacks `null`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde_json::{Map as JsonMap, Value as Json};
use yrs::branch::{Branch, BranchPtr};
use yrs::types::text::YChange;
use yrs::updates::decoder::Decode;
use yrs::{
    Any, Array, ArrayRef, Doc, Map, MapRef, Number, OffsetKind, Options, Out, ReadTxn, Text,
    TextRef, Transact, Transaction, Update, XmlFragmentRef,
};

use crate::admission::describe_subdocuments;

mod markup;
#[cfg(test)]
mod tests;

/// The deepest nesting that is followed. Editors stay below 100; a stack of 2 MB holds several
/// times as many.
const NESTING_MAX: usize = 256;

/// Why a state could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The bytes do not decode, or cannot be applied.
    #[error("the state cannot be read: {0}")]
    Unreadable(String),
    /// The types are nested deeper than [`NESTING_MAX`].
    #[error("the document nests deeper than {NESTING_MAX} levels; export it as an update")]
    TooDeep,
    /// No root of this name has content.
    #[error("there is no root `{root}`; the document has {}", named(known))]
    NoSuchRoot {
        /// What was asked for.
        root: String,
        /// The roots that are there.
        known: Vec<String>,
    },
    /// Several roots hold text, and none was named.
    #[error("the document has {}; name one with --root", named(known))]
    ManyRoots {
        /// The roots that are there.
        known: Vec<String>,
    },
    /// The root holds no text.
    #[error("the root `{root}` holds {kind}, not text; export it as JSON")]
    NotText {
        /// Its name.
        root: String,
        /// What it holds.
        kind: &'static str,
    },
}

/// The roots as a phrase for an error message.
fn named(known: &[String]) -> String {
    if known.is_empty() {
        return "no roots with content".into();
    }
    let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("the roots {}", quoted.join(", "))
}

/// Reads a Yjs v1 state as one JSON object, a key per root.
pub fn json(state: &[u8]) -> Result<Json, ExportError> {
    contained(|| {
        let doc = replay(state)?;
        let transaction = doc.transact();
        let mut object = JsonMap::new();
        for (name, root) in roots(&transaction) {
            object.insert(name, root.json(&transaction)?);
        }
        Ok(Json::Object(object))
    })
}

/// Reads one root of a Yjs v1 state as text: a text without its formatting, XML as markup.
///
/// Without a name it is the only root that holds either; a document without content reads as "".
pub fn text(state: &[u8], name: Option<&str>) -> Result<String, ExportError> {
    contained(|| {
        let doc = replay(state)?;
        let transaction = doc.transact();
        let roots = roots(&transaction);
        let known = || roots.iter().map(|(name, _)| name.clone()).collect();
        if let Some(wanted) = name {
            let found = roots.iter().find(|(name, _)| name == wanted);
            let Some((name, root)) = found else {
                let root = wanted.to_owned();
                return Err(ExportError::NoSuchRoot {
                    root,
                    known: known(),
                });
            };
            return root.text(name, &transaction);
        }
        let mut readable = roots.iter().filter(|(_, root)| root.kind.is_textual());
        match (readable.next(), readable.next()) {
            (Some((name, root)), None) => root.text(name, &transaction),
            (Some(_), Some(_)) => Err(ExportError::ManyRoots { known: known() }),
            (None, _) => match roots.iter().find(|(_, root)| root.kind != Kind::Empty) {
                Some((name, root)) => root.text(name, &transaction),
                None => Ok(String::new()),
            },
        }
    })
}

/// What a root is, judged by its live content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Empty,
    Text,
    Xml,
    Array,
    Map,
}

impl Kind {
    fn is_textual(self) -> bool {
        matches!(self, Self::Text | Self::Xml)
    }
}

/// A root with its kind.
struct Root {
    branch: BranchPtr,
    kind: Kind,
}

impl Root {
    fn json(&self, transaction: &Transaction<'_>) -> Result<Json, ExportError> {
        let keys = map_json(&MapRef::from(self.branch), transaction, 0)?;
        let list = match self.kind {
            Kind::Empty => return Ok(Json::Null),
            Kind::Map => return Ok(keys),
            Kind::Text => Json::String(plain_text(&TextRef::from(self.branch), transaction)),
            Kind::Xml => Json::String(self.markup(transaction)?),
            Kind::Array => array_json(&ArrayRef::from(self.branch), transaction, 0)?,
        };
        match keys {
            Json::Object(keys) if !keys.is_empty() => {
                Ok(serde_json::json!({ "attributes": keys, "content": list }))
            }
            _ => Ok(list),
        }
    }

    fn text(&self, name: &str, transaction: &Transaction<'_>) -> Result<String, ExportError> {
        let kind = match self.kind {
            Kind::Empty => return Ok(String::new()),
            Kind::Text => return Ok(plain_text(&TextRef::from(self.branch), transaction)),
            Kind::Xml => return self.markup(transaction),
            Kind::Array => "an array",
            Kind::Map => "a map",
        };
        let root = name.to_owned();
        Err(ExportError::NotText { root, kind })
    }

    fn markup(&self, transaction: &Transaction<'_>) -> Result<String, ExportError> {
        markup::fragment(&XmlFragmentRef::from(self.branch), transaction)
    }
}

/// Builds a fresh replica. The state comes from the store and was admitted before it got there.
fn replay(state: &[u8]) -> Result<Doc, ExportError> {
    let unreadable = |error: &dyn std::fmt::Display| ExportError::Unreadable(error.to_string());
    // The client id is never used: nothing is written through this replica.
    let doc = Doc::with_options(Options {
        offset_kind: OffsetKind::Utf16,
        ..Options::with_client_id(yrs::ClientID::new(1))
    });
    let state = Bytes::copy_from_slice(state);
    let described = describe_subdocuments(&state).map_err(|error| unreadable(&error))?;
    let update = Update::decode_v1(&described).map_err(|error| unreadable(&error))?;
    let mut transaction = doc.transact_mut();
    transaction
        .apply_update(update)
        .map_err(|error| unreadable(&error))?;
    drop(transaction);
    Ok(doc)
}

/// Runs `work` so that a panic inside yrs becomes an error.
fn contained<T>(work: impl FnOnce() -> Result<T, ExportError>) -> Result<T, ExportError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let reason = "it makes the CRDT library panic; run `driftless doc verify`";
        Err(ExportError::Unreadable(reason.into()))
    })
}

/// All roots by name.
fn roots(transaction: &Transaction<'_>) -> Vec<(String, Root)> {
    let mut found: Vec<_> = transaction
        .root_refs()
        .filter_map(|(name, out)| {
            let branch = BranchPtr::from(out.try_branch()?);
            let kind = kind(branch, transaction);
            Some((name.to_owned(), Root { branch, kind }))
        })
        .collect();
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found
}

/// Judges what a root is by its live content.
fn kind(branch: BranchPtr, transaction: &Transaction<'_>) -> Kind {
    let length = ArrayRef::from(branch).len(transaction);
    if length == 0 {
        let has_keys = MapRef::from(branch).len(transaction) > 0;
        return if has_keys { Kind::Map } else { Kind::Empty };
    }
    let runs = TextRef::from(branch).diff(transaction, YChange::identity);
    let is_xml = |out: &Out| {
        matches!(
            out,
            Out::YXmlElement(_) | Out::YXmlText(_) | Out::YXmlFragment(_)
        )
    };
    if runs.iter().any(|run| matches!(run.insert, Out::Any(_))) {
        Kind::Text
    } else if runs.len() as u64 == u64::from(length) && runs.iter().all(|run| is_xml(&run.insert)) {
        Kind::Xml
    } else {
        Kind::Array
    }
}

/// The characters of a text, without formatting and embeds.
fn plain_text(text: &TextRef, transaction: &Transaction<'_>) -> String {
    yrs::GetString::get_string(text, transaction)
}

/// One value of a list or map; `depth` counts the types around it.
fn value_json(out: &Out, transaction: &Transaction<'_>, depth: usize) -> Result<Json, ExportError> {
    if depth > NESTING_MAX {
        return Err(ExportError::TooDeep);
    }
    match out {
        Out::Any(any) => any_json(any, depth),
        Out::YText(text) => Ok(Json::String(plain_text(text, transaction))),
        Out::YArray(array) => array_json(array, transaction, depth + 1),
        Out::YMap(map) => map_json(map, transaction, depth + 1),
        Out::YXmlElement(_) | Out::YXmlFragment(_) | Out::YXmlText(_) => {
            markup::node(out, transaction, depth + 1).map(Json::String)
        }
        // Subdocuments are described as values; the types of others come from a newer client.
        Out::YDoc(_) | Out::UndefinedRef(_) => Ok(Json::Null),
    }
}

fn array_json(
    array: &ArrayRef,
    transaction: &Transaction<'_>,
    depth: usize,
) -> Result<Json, ExportError> {
    // No honest array holds text; the iterator of yrs goes on for ever in one that does.
    let branch = BranchPtr::from(<ArrayRef as AsRef<Branch>>::as_ref(array));
    let text = TextRef::from(branch);
    let runs = text.diff(transaction, YChange::identity);
    if runs.iter().any(|run| matches!(run.insert, Out::Any(_))) {
        return Ok(Json::String(plain_text(&text, transaction)));
    }
    let length = array.len(transaction) as usize;
    array
        .iter(transaction)
        .take(length)
        .map(|value| value_json(&value, transaction, depth))
        .collect::<Result<_, _>>()
        .map(Json::Array)
}

fn map_json(
    map: &MapRef,
    transaction: &Transaction<'_>,
    depth: usize,
) -> Result<Json, ExportError> {
    map.iter(transaction)
        .map(|(key, value)| Ok((key.to_owned(), value_json(&value, transaction, depth)?)))
        .collect::<Result<_, _>>()
        .map(Json::Object)
}

fn any_json(any: &Any, depth: usize) -> Result<Json, ExportError> {
    if depth > NESTING_MAX {
        return Err(ExportError::TooDeep);
    }
    Ok(match any {
        Any::Null | Any::Undefined => Json::Null,
        Any::Bool(value) => Json::Bool(*value),
        Any::Number(Number::Int(value)) => Json::from(*value),
        Any::Number(Number::Float(value)) => float_json(*value),
        Any::String(value) => Json::String(value.to_string()),
        Any::Buffer(bytes) => Json::Array(bytes.iter().map(|byte| Json::from(*byte)).collect()),
        Any::Array(items) => items
            .iter()
            .map(|item| any_json(item, depth + 1))
            .collect::<Result<_, _>>()
            .map(Json::Array)?,
        Any::Map(entries) => entries
            .iter()
            .map(|(key, item)| Ok((key.clone(), any_json(item, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Json::Object)?,
    })
}

/// JavaScript has one number type: a whole number that a double holds exactly is written as one.
fn float_json(value: f64) -> Json {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        return Json::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}
