//! What can be wrong with the settings, told so that it can be fixed at once.

use super::layers::Origin;

/// Why there are no effective settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value cannot be read or lies outside its range.
    #[error("`{name}` is {shown} (from {origin}); expected {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// The value, quoted, secrets masked.
        shown: String,
        /// Where it came from.
        origin: Origin,
        /// What would be right.
        expected: String,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// A key or variable that no setting has.
    #[error("{origin} sets `{key}`, which is no setting{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// What was written.
        key: String,
        /// Where.
        origin: String,
        /// The most similar name that exists.
        nearest: Option<String>,
    },
    /// The file cannot be read or is not TOML.
    #[error("the settings file {path} {problem}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong, with the line if there is one.
        problem: String,
    },
    /// An environment variable is not UTF-8.
    #[error("the environment variable {0} is not valid UTF-8")]
    NotUtf8(String),
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `driftless config` lists all settings".into(),
    }
}
