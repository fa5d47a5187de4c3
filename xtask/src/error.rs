//! Why a step of the automation did not pass.

/// Why a step of the automation did not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A program ran and reported failure.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// The command as one could type it.
        command: String,
        /// How it ended.
        status: String,
    },
    /// A program could not be started, or a file not be read.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something a suite needs is not there and could not be set up.
    #[error("{what} is missing: {remedy}")]
    Missing {
        /// What is not there.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// A check found faults, one per line.
    #[error("{} finding(s):\n  {}", .0.len(), .0.join("\n  "))]
    Findings(Vec<String>),
    /// Suites did not pass: their names.
    #[error("these suites did not pass: {0}")]
    Suites(String),
    /// A tool printed something that cannot be understood.
    #[error("cannot read the output of {0}")]
    Unreadable(String),
}

impl StepError {
    /// Turns a list of faults into a verdict.
    pub(crate) fn from_findings(findings: Vec<String>) -> Result<(), Self> {
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Self::Findings(findings))
        }
    }
}
