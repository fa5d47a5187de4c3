//! What a check of the surroundings found: one line for people, one object for scripts.

use crate::store::StoreError;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, but a person should look at it.
    Warning,
    /// It does not work until a person changes something.
    Refused,
    /// It does not work now, and may later.
    Unavailable,
    /// Stored data is not what was written.
    Damaged,
}

impl Grade {
    /// What an error of a store means.
    pub fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Damaged(_) => Self::Damaged,
            StoreError::Refused(_) | StoreError::NotFound => Self::Refused,
            StoreError::Unavailable(_) | StoreError::DiskFull(_) | StoreError::FlushFailed(_) => {
                Self::Unavailable
            }
        }
    }

    /// True when a server cannot work like this.
    pub fn is_problem(self) -> bool {
        !matches!(self, Self::Ok | Self::Warning)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found, and what to do about it.
    pub text: String,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(subject, Grade::Ok, text)
    }

    /// Something to look at.
    pub fn warning(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(subject, Grade::Warning, text)
    }

    /// Something to change.
    pub fn refused(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(subject, Grade::Refused, text)
    }

    /// A store that does not do as it is told.
    pub fn failed(subject: &'static str, error: &StoreError) -> Self {
        Self::new(subject, Grade::of(error), error.to_string())
    }

    /// Any finding.
    pub fn new(subject: &'static str, grade: Grade, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            subject,
            grade,
            text,
        }
    }
}
