//! The ids of the appends that were tried last: a repeat after a lost reply is looked for in the log.
//!
//! One process writes to the database, and repeats a batch only while it holds it in memory. So an
//! id that was not tried lately is new, and needs no index to be told from the others.

use std::collections::{HashSet, VecDeque};

use super::super::{Append, AppendId};

/// Some batches of the committer: it repeats one, whole or in parts, before it goes on.
pub(super) const ATTEMPTS_MAX: usize = 16_384;

/// Ids by the order in which they were tried; the oldest are forgotten first.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    order: VecDeque<AppendId>,
    ids: HashSet<AppendId>,
}

impl Attempts {
    /// Notes what is about to be committed; true when any of it may be stored already.
    pub(super) fn note(&mut self, batch: &[Append]) -> bool {
        let mut may_repeat = false;
        for append in batch {
            if !self.ids.insert(append.id) {
                may_repeat = true;
                continue;
            }
            self.order.push_back(append.id);
            if self.order.len() > ATTEMPTS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
        may_repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::append;

    #[test]
    fn only_what_was_tried_lately_may_be_a_repeat() {
        let mut attempts = Attempts::default();
        assert!(!attempts.note(&[append("a", 1, 1), append("a", 1, 2)]));
        assert!(attempts.note(&[append("a", 1, 3), append("a", 1, 2)]));
        for number in 0..ATTEMPTS_MAX as u64 {
            attempts.note(&[append("a", 1, 1_000 + number)]);
        }
        assert!(!attempts.note(&[append("a", 1, 1)]));
        assert_eq!(attempts.order.len(), attempts.ids.len());
        assert_eq!(attempts.order.len(), ATTEMPTS_MAX);
    }
}
