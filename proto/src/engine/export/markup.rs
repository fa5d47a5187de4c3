//! Writes shared XML types as markup, escaped, with a bound on the nesting.

use yrs::types::text::YChange;
use yrs::{
    Any, Out, Text, Transaction, Xml, XmlElementRef, XmlFragment, XmlFragmentRef, XmlOut,
    XmlTextRef,
};

use super::{ExportError, NESTING_MAX, value_json};

/// The children of a fragment, one after the other.
pub(super) fn fragment(
    fragment: &XmlFragmentRef,
    transaction: &Transaction<'_>,
) -> Result<String, ExportError> {
    let mut markup = String::new();
    write_children(fragment, transaction, 1, &mut markup)?;
    Ok(markup)
}

/// One XML value that sits in a list, map or text.
pub(super) fn node(
    out: &Out,
    transaction: &Transaction<'_>,
    depth: usize,
) -> Result<String, ExportError> {
    let mut markup = String::new();
    match out {
        Out::YXmlElement(element) => write_element(element, transaction, depth, &mut markup)?,
        Out::YXmlFragment(inner) => write_children(inner, transaction, depth, &mut markup)?,
        Out::YXmlText(text) => write_text(text, transaction, depth, &mut markup)?,
        other => escape(&plain(other, transaction, depth)?, &mut markup),
    }
    Ok(markup)
}

fn write_children(
    parent: &impl XmlFragment,
    transaction: &Transaction<'_>,
    depth: usize,
    markup: &mut String,
) -> Result<(), ExportError> {
    if depth > NESTING_MAX {
        return Err(ExportError::TooDeep);
    }
    for child in parent.children(transaction) {
        match child {
            XmlOut::Element(element) => write_element(&element, transaction, depth + 1, markup)?,
            XmlOut::Fragment(inner) => write_children(&inner, transaction, depth + 1, markup)?,
            XmlOut::Text(text) => write_text(&text, transaction, depth + 1, markup)?,
        }
    }
    Ok(())
}

fn write_element(
    element: &XmlElementRef,
    transaction: &Transaction<'_>,
    depth: usize,
    markup: &mut String,
) -> Result<(), ExportError> {
    let tag = element.try_tag().map_or("element", |tag| tag);
    let mut attributes: Vec<_> = element.attributes(transaction).collect();
    attributes.sort_by_key(|(key, _)| *key);
    let mut pairs = Vec::with_capacity(attributes.len());
    for (key, value) in attributes {
        pairs.push((key.to_owned(), plain(&value, transaction, depth)?));
    }
    open(tag, &pairs, markup);
    write_children(element, transaction, depth + 1, markup)?;
    close(tag, markup);
    Ok(())
}

/// Formatting becomes elements around the run, as in Yjs: `<bold>…</bold>`.
fn write_text(
    text: &XmlTextRef,
    transaction: &Transaction<'_>,
    depth: usize,
    markup: &mut String,
) -> Result<(), ExportError> {
    if depth > NESTING_MAX {
        return Err(ExportError::TooDeep);
    }
    for run in text.diff(transaction, YChange::identity) {
        let mut formats: Vec<_> = run.attributes.iter().flat_map(|all| all.iter()).collect();
        formats.sort_by_key(|(name, _)| *name);
        for (name, value) in &formats {
            let mut pairs = Vec::new();
            if let Any::Map(inner) = value {
                for (key, value) in inner.iter() {
                    pairs.push((key.clone(), plain_any(value, depth)?));
                }
                pairs.sort();
            }
            open(name, &pairs, markup);
        }
        markup.push_str(&node(&run.insert, transaction, depth + 1)?);
        for (name, _) in formats.iter().rev() {
            close(name, markup);
        }
    }
    Ok(())
}

/// A value as bare text: strings as they are, everything else as JSON.
fn plain(out: &Out, transaction: &Transaction<'_>, depth: usize) -> Result<String, ExportError> {
    Ok(match value_json(out, transaction, depth)? {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

fn plain_any(any: &Any, depth: usize) -> Result<String, ExportError> {
    Ok(match super::any_json(any, depth)? {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

fn open(tag: &str, attributes: &[(String, String)], markup: &mut String) {
    markup.push('<');
    name(tag, markup);
    for (key, value) in attributes {
        markup.push(' ');
        name(key, markup);
        markup.push_str("=\"");
        escape(value, markup);
        markup.push('"');
    }
    markup.push('>');
}

fn close(tag: &str, markup: &mut String) {
    markup.push_str("</");
    name(tag, markup);
    markup.push('>');
}

/// Names come from peers: what could end a tag early is replaced.
fn name(raw: &str, markup: &mut String) {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let cleaned = raw.chars().map(|c| if allowed(c) { c } else { '_' });
    markup.extend(cleaned);
    if raw.is_empty() {
        markup.push('_');
    }
}

fn escape(raw: &str, markup: &mut String) {
    for character in raw.chars() {
        match character {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            other => markup.push(other),
        }
    }
}
