//! Where values come from: flags before environment before file before defaults.

use std::fmt;

use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::error::ConfigError;
use super::setting::{ENVIRONMENT_PREFIX, Setting};
use super::table::TABLE;

/// The largest settings file; the known settings fit a hundred times.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag: its name with dashes.
    Flag(String),
    /// An environment variable: its name.
    Environment(String),
    /// The settings file.
    File {
        /// Its path as it was given.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(formatter, "flag {name}"),
            Self::Environment(name) => write!(formatter, "environment variable {name}"),
            Self::File { path, line } => write!(formatter, "file {path}, line {line}"),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// A value as text, with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The setting it is for.
    pub name: &'static str,
    /// The text.
    pub text: String,
    /// Where it was written.
    pub origin: Origin,
}

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.name == name)
}

/// Reads the environment; variables that look like settings and are none are refused.
pub fn from_environment(environment: &dyn Environment) -> Result<Vec<Raw>, ConfigError> {
    let variables = environment
        .with_prefix(ENVIRONMENT_PREFIX)
        .map_err(ConfigError::NotUtf8)?;
    let mut layer = Vec::new();
    for (variable, text) in variables {
        if is_service_link(&variable) {
            continue;
        }
        let setting = TABLE.iter().find(|known| known.environment() == variable);
        let Some(setting) = setting else {
            let known = TABLE.iter().map(Setting::environment);
            return Err(ConfigError::Unknown {
                nearest: nearest(&variable, known),
                key: variable,
                origin: "the environment".into(),
            });
        };
        let origin = Origin::Environment(variable);
        let name = setting.name;
        layer.push(Raw { name, text, origin });
    }
    Ok(layer)
}

/// Kubernetes and Docker put such variables into every container near a service that is called
/// `driftless`; they are nobody's settings.
fn is_service_link(variable: &str) -> bool {
    let rest = variable.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or("");
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

/// Reads the text of a settings file; `path` is for messages.
pub fn from_file(path: &str, text: &str) -> Result<Vec<Raw>, ConfigError> {
    let broken = |problem: String| ConfigError::File {
        path: path.to_owned(),
        problem,
    };
    let table = DeTable::parse(text).map_err(|error| {
        // Only the message: the library's own display quotes the line, which may hold a secret.
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        broken(format!(
            "is not valid TOML in line {line}: {}",
            error.message()
        ))
    })?;
    let mut layer = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(text, key.span().start);
        let setting = find(key.get_ref()).filter(|setting| setting.in_file());
        let Some(setting) = setting else {
            let known = TABLE.iter().filter(|known| known.in_file());
            return Err(ConfigError::Unknown {
                nearest: nearest(key.get_ref(), known.map(|known| known.name.to_owned())),
                key: key.get_ref().to_string(),
                origin: format!("file {path}, line {line},"),
            });
        };
        let Some(text) = scalar(value.get_ref()) else {
            return Err(broken(format!(
                "sets `{}` in line {line} to neither a text, a number, true or false, nor a list \
                 of texts",
                setting.name
            )));
        };
        let path = path.to_owned();
        let origin = Origin::File { path, line };
        let name = setting.name;
        layer.push(Raw { name, text, origin });
    }
    Ok(layer)
}

/// A TOML value as the text that a flag would have carried.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) if !text.contains(',') => Some(text.to_string()),
                _ => None,
            });
            Some(texts.collect::<Option<Vec<_>>>()?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

/// The most similar of the known names, if one is similar at all.
pub fn nearest(written: &str, known: impl Iterator<Item = String>) -> Option<String> {
    /// Below this two names share little more than a word.
    const SIMILARITY_MIN: f64 = 0.7;
    let normal = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let written = normal(written);
    known
        .map(|name| {
            (
                strsim::normalized_damerau_levenshtein(&written, &normal(&name)),
                name,
            )
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name)
}
