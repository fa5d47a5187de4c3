//! Bringing documents of other servers into a store.
//!
//! ```text
//!  source ─▶ name ─▶ updates ─▶ admission, engine ─▶ judge against the target ─▶ commit ─▶ read back
//! ```
//!
//! A source is read and never written; what it holds is as little trusted as what a peer sends. A
//! document is one append in the target, so that it is there whole or not at all, and an import that
//! was stopped goes on by finding what is there already.

mod content;
mod folder;
pub mod hocuspocus;
mod leveldb;
mod names;
mod rehearsal;
mod report;
mod run;
pub mod update_files;
pub mod y_sweet;
pub mod y_websocket;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

pub use names::{NameRules, Pattern};
pub use report::{Counts, Note, NoteKind, Progress, Report};
pub use run::{ImportError, ImportOptions, import};

/// How much more a source may hold of a document than the state that comes of it: logs of single
/// edits and content that was deleted since.
const SOURCE_BYTES_FACTOR: usize = 4;

/// A boxed future, so that one way of importing serves all sources.
pub type SourceFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + 'a>>;

/// What a source holds, before anything is imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Documents.
    pub documents: u64,
    /// Bytes of their updates.
    pub bytes: u64,
}

/// A source cannot be read; nothing more of it is imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// It is something else than it was said to be, or in use.
    #[error("{0}")]
    Refused(String),
    /// It does not answer now.
    #[error("{0}")]
    Unavailable(String),
    /// Its bytes are not what a writer leaves behind.
    #[error("{0}")]
    Damaged(String),
}

/// What is read of one document: its Yjs v1 updates in the order in which they were written, or why it
/// cannot be read.
pub type Updates = Result<Vec<Bytes>, String>;

/// Documents of another server, one after the other.
pub trait Source {
    /// Counts what there is. Called once, before anything else.
    fn survey(&mut self) -> SourceFuture<'_, Survey>;

    /// Goes on to the next document and gives its name as it is written there.
    fn next(&mut self) -> SourceFuture<'_, Option<String>>;

    /// Reads the document that [`Source::next`] gave; more than `bytes_max` is not read.
    fn read(&mut self, bytes_max: usize) -> SourceFuture<'_, Updates>;
}

/// Why more than `bytes_max` is not read.
fn too_large(bytes: u64, bytes_max: usize) -> String {
    format!(
        "it has {bytes} bytes, and at most {bytes_max} are read ({SOURCE_BYTES_FACTOR} times \
         document_bytes_max); raise that setting, here and for the server"
    )
}
