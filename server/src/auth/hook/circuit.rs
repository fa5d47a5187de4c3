//! The breaker before the hook: after failures in a row it is left alone for a while. Pure.

/// Failures in a row after which the hook is left alone.
pub const FAILURES_MAX: u32 = 5;

/// For how long. Questions are denied at once meanwhile, and peers come back by themselves.
pub const PAUSE_MS: u64 = 5_000;

/// Whether the hook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Circuit {
    /// It is, and failed so many times in a row.
    Closed { failures: u32 },
    /// It is not, until then; the first question after that is a probe.
    Open { until_ms: u64 },
}

/// Whether a question may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As usual.
    Yes,
    /// To find out whether the hook works again.
    AsProbe,
    /// Not now.
    No,
}

impl Circuit {
    /// The hook is asked.
    pub(super) fn new() -> Self {
        Self::Closed { failures: 0 }
    }

    /// After a pause one question may go out, and starts the next pause, so that a probe that never
    /// ends blocks nobody for longer.
    pub(super) fn admit(&mut self, now_ms: u64) -> Admission {
        match *self {
            Self::Closed { .. } => Admission::Yes,
            Self::Open { until_ms } if now_ms < until_ms => Admission::No,
            Self::Open { .. } => {
                *self = Self::pause(now_ms);
                Admission::AsProbe
            }
        }
    }

    /// The hook answered, be it yes or no.
    pub(super) fn answered(&mut self) {
        *self = Self::new();
    }

    /// The hook failed; true when that opened the circuit.
    pub(super) fn failed(&mut self, now_ms: u64) -> bool {
        match *self {
            Self::Closed { failures } if failures + 1 < FAILURES_MAX => {
                *self = Self::Closed {
                    failures: failures + 1,
                };
                false
            }
            Self::Closed { .. } => {
                *self = Self::pause(now_ms);
                true
            }
            // Of questions from before, or the probe, whose pause runs already.
            Self::Open { .. } => false,
        }
    }

    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }

    fn pause(now_ms: u64) -> Self {
        Self::Open {
            until_ms: now_ms + PAUSE_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_closes_it() {
        let mut circuit = Circuit::new();
        for _ in 0..FAILURES_MAX - 1 {
            assert!(!circuit.failed(0));
            assert_eq!(circuit.admit(0), Admission::Yes);
        }
        circuit.answered();
        for _ in 0..FAILURES_MAX - 1 {
            assert!(!circuit.failed(0));
        }
        assert!(circuit.failed(100) && circuit.is_open());
        assert_eq!(circuit.admit(100 + PAUSE_MS - 1), Admission::No);
        assert_eq!(circuit.admit(100 + PAUSE_MS), Admission::AsProbe);
        assert_eq!(
            circuit.admit(100 + PAUSE_MS),
            Admission::No,
            "one at a time"
        );
        assert!(!circuit.failed(200 + PAUSE_MS) && circuit.is_open());
        assert_eq!(circuit.admit(100 + 2 * PAUSE_MS), Admission::AsProbe);
        circuit.answered();
        assert_eq!(circuit.admit(0), Admission::Yes);
        assert!(!circuit.is_open());
    }
}
