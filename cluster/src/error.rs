//! Why a part of the cluster cannot be had.

use std::path::PathBuf;

/// Why a part of the cluster cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A program is not on this machine.
    #[error("{0} is not on this machine: `cargo xtask test --suite cluster` installs it on Debian")]
    Missing(&'static str),
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A helper program failed.
    #[error("`{command}` failed: {told}")]
    Helper {
        /// The command.
        command: String,
        /// What it printed.
        told: String,
    },
    /// A part does not become ready.
    #[error("{part} is not ready after {seconds} s; its log {log} ends with:\n{tail}")]
    NotReady {
        /// Its name.
        part: String,
        /// How long was waited.
        seconds: u64,
        /// Where its log is.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Redis refused.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
}

impl ClusterError {
    /// Says what was being done when the system refused.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
