//! What `driftless config` prints.

use serde_json::{Value as Json, json};

use super::layers::{Origin, find};
use super::values::Effective;

/// The effective settings as a TOML file, with the origin of each as a comment.
pub fn as_toml(effective: &[Effective]) -> String {
    let lines: Vec<_> = effective.iter().map(|known| (line(known), known)).collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max();
    let width = width.unwrap_or(0).min(48);
    let mut text = String::new();
    for (line, known) in lines {
        text.push_str(&format!("{line:<width$}  # {}\n", known.origin));
    }
    text
}

/// `document_bytes_max = "32MiB"`; a setting that cannot stand in a file is commented out.
fn line(known: &Effective) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let value = match &known.json {
        Json::Bool(value) => value.to_string(),
        Json::Array(items) => {
            let items = items.iter().filter_map(Json::as_str).map(quoted);
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        // A count is shown bare; sizes and durations are easier to read with their unit.
        Json::Number(number) if number.to_string() == known.text => known.text.clone(),
        _ => quoted(&known.text),
    };
    let in_file = find(known.name).is_some_and(|setting| setting.in_file());
    let comment = if in_file { "" } else { "# " };
    format!("{comment}{} = {value}", known.name)
}

/// The effective settings as one JSON object: sizes in bytes, durations in milliseconds.
pub fn as_json(effective: &[Effective]) -> Json {
    let entry = |known: &Effective| {
        let (kind, place) = match &known.origin {
            Origin::Flag(name) => ("flag", Some(name.clone())),
            Origin::Environment(name) => ("environment", Some(name.clone())),
            Origin::File { path, line } => ("file", Some(format!("{path}:{line}"))),
            Origin::Default => ("default", None),
        };
        let value = json!({
            "value": known.json,
            "text": known.text,
            "origin": kind,
            "place": place,
        });
        (known.name.to_owned(), value)
    };
    Json::Object(effective.iter().map(entry).collect())
}
