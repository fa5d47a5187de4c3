//! How far a copy is, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use driftless_proto::name::DocumentName;

/// Failures that are named; the others are only counted. A terminal shows no more of use.
const FAILURES_NAMED_MAX: usize = 1_000;

/// Why a document was not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// It is damaged in the source.
    Damaged,
    /// The target holds what the source does not.
    Conflict,
    /// What was read back is not what was written.
    Unequal,
}

/// A document that was not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub document: DocumentName,
    /// What kind of reason.
    pub kind: FailureKind,
    /// The reason, and what to do.
    pub text: String,
}

/// How far a copy is; read while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) total_documents: AtomicU64,
    pub(super) total_bytes: AtomicU64,
    pub(super) copied: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) copied_bytes: AtomicU64,
    pub(super) done_bytes: AtomicU64,
    pub(super) restrictions: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// The numbers of a copy at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Documents of the source.
    pub total_documents: u64,
    /// Bytes of their appends and snapshots.
    pub total_bytes: u64,
    /// Documents that were written and compared.
    pub copied: u64,
    /// Documents that were equal already.
    pub skipped: u64,
    /// Documents that were not copied.
    pub failed: u64,
    /// Bytes that were written.
    pub copied_bytes: u64,
    /// Bytes of all documents that are dealt with.
    pub done_bytes: u64,
    /// Restrictions of access that were copied.
    pub restrictions: u64,
}

impl Progress {
    /// The numbers at this moment.
    pub fn summary(&self) -> Summary {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Summary {
            total_documents: read(&self.total_documents),
            total_bytes: read(&self.total_bytes),
            copied: read(&self.copied),
            skipped: read(&self.skipped),
            failed: read(&self.failed),
            copied_bytes: read(&self.copied_bytes),
            done_bytes: read(&self.done_bytes),
            restrictions: read(&self.restrictions),
        }
    }

    /// The failures so far, by name; not more than a thousand.
    pub fn failures(&self) -> Vec<Failure> {
        let failures = self.failures.lock();
        let mut failures = failures.unwrap_or_else(PoisonError::into_inner).clone();
        failures.sort_by(|a, b| a.document.cmp(&b.document));
        failures
    }

    pub(super) fn fail(&self, document: &DocumentName, kind: FailureKind, text: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_NAMED_MAX {
            failures.push(Failure {
                document: document.clone(),
                kind,
                text,
            });
        }
    }
}

/// Counts up.
pub(super) fn add(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}
