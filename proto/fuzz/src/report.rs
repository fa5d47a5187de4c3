//! What a run counted, and how it is told.

use std::collections::BTreeMap;
use std::fmt;

/// The counts of a run.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Inputs given to the decoder.
    pub inputs: u64,
    /// Inputs of which something new was taken in.
    pub admitted: u64,
    /// Inputs of which something was dropped for want of something else.
    pub gaps: u64,
    /// Refused inputs by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Panics of yrs that were contained, by place.
    pub panics: BTreeMap<String, u64>,
    /// Replicas that show the same content in another order after a reload.
    pub reordered: u64,
    /// Properties that did not hold: a description each, the first few only.
    pub violations: Vec<String>,
}

/// The most violations that are told; the first ones say it.
const VIOLATIONS_MAX: usize = 20;

impl Report {
    /// Counts a refusal.
    pub fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// Notes a property that did not hold.
    pub fn violate(&mut self, description: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(description);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "inputs {}, admitted {}, gaps {}, refused {}, contained panics {}, reordered {}",
            self.inputs,
            self.admitted,
            self.gaps,
            self.refused.values().sum::<u64>(),
            self.panics.values().sum::<u64>(),
            self.reordered,
        )?;
        for (reason, count) in &self.refused {
            writeln!(formatter, "  refused {reason}: {count}")?;
        }
        for (place, count) in &self.panics {
            writeln!(formatter, "  panic {place}: {count}")?;
        }
        for violation in &self.violations {
            writeln!(formatter, "  VIOLATED {violation}")?;
        }
        Ok(())
    }
}
