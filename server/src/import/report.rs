//! How far an import is, and what came of each document.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Documents that are named with a reason; the others are only counted.
const NOTES_MAX: usize = 10_000;

/// The numbers of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents of the source, as counted at the start.
    pub total_documents: u64,
    /// Bytes of the source's documents, as counted at the start.
    pub total_bytes: u64,
    /// Documents that are dealt with.
    pub documents: u64,
    /// Bytes that were read of the source.
    pub bytes: u64,
    /// Documents that were written, or would be.
    pub imported: u64,
    /// Of these, those that were merged with other content.
    pub merged: u64,
    /// Documents that the target held already, all of them.
    pub unchanged: u64,
    /// Documents without content: there is nothing to write.
    pub empty: u64,
    /// Documents that were not asked for.
    pub left_out: u64,
    /// Documents that cannot be taken.
    pub refused: u64,
    /// Documents that stayed as they are in the target, since that has other content.
    pub conflicts: u64,
    /// Documents whose pending edits were left behind.
    pub partial: u64,
    /// Documents read from the target that hold what the source holds.
    pub equal: u64,
    /// Documents read from the target that hold all of the source, and more.
    pub contained: u64,
    /// Documents read back from the target that lack something.
    pub differing: u64,
}

impl Counts {
    /// Documents that did not come over.
    pub fn failed(&self) -> u64 {
        self.refused + self.conflicts + self.differing
    }
}

/// What is to be said of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// It cannot be taken.
    Refused,
    /// The target's document has other content.
    Conflict,
    /// What was read back is not what was written.
    Differing,
    /// It came over without edits that nothing was known to rest on.
    Partial,
}

impl NoteKind {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Differing => "differing",
            Self::Partial => "partial",
        }
    }
}

/// A document that needs a person's look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its name in the source.
    pub document: String,
    /// What happened.
    pub kind: NoteKind,
    /// Why, and what to do.
    pub text: String,
}

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The numbers.
    pub counts: Counts,
    /// The first ten thousand documents to look at.
    pub notes: Vec<Note>,
}

/// An import's report while it grows.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Report>);

impl Progress {
    /// The numbers at this moment.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// All of it.
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().counts);
    }

    /// Counts a document as what the note says.
    pub(super) fn note(&self, document: &str, kind: NoteKind, text: impl Into<String>) {
        let mut report = self.lock();
        let counts = &mut report.counts;
        match kind {
            NoteKind::Refused => counts.refused += 1,
            NoteKind::Conflict => counts.conflicts += 1,
            NoteKind::Differing => counts.differing += 1,
            NoteKind::Partial => counts.partial += 1,
        }
        if report.notes.len() < NOTES_MAX {
            let (document, text) = (document.to_owned(), text.into());
            report.notes.push(Note {
                document,
                kind,
                text,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
