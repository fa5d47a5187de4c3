//! One decision of an operator to take access back: whose, from what, down to what, how long.

use super::selection::{Selection, SelectionError, Visitor};
use crate::auth::Right;

/// The most that a store keeps: every node holds all of them in memory, and reads them all when they
/// change. Who has more wants another token, or another key.
pub const RESTRICTIONS_MAX: usize = 10_000;

/// The longest reason: a sentence and a link.
pub const REASON_BYTES_MAX: usize = 1_024;

/// Characters of an id: 60 random bits, short enough to be typed.
const ID_CHARACTERS: usize = 12;

/// What an id is written with: no two look alike.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An upper bound on what some may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restriction {
    /// Its random id, by which it is lifted.
    pub id: String,
    /// Whom it concerns.
    pub on: Selection,
    /// The most they may do: nothing, read, or comment.
    pub right_max: Right,
    /// When it was made, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it runs out.
    pub until_ms: Option<u64>,
    /// Who shows a token that was issued then or later is not concerned.
    pub issued_before_ms: Option<u64>,
    /// Why it was made, for people.
    pub reason: String,
}

/// Why there can be no such restriction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestrictionError {
    /// It chooses nobody.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// It would take nothing away.
    #[error("access can be restricted to none, read or comment")]
    Right,
    /// The reason is too long, or could play with a terminal.
    #[error("a reason has at most {REASON_BYTES_MAX} bytes, and no control characters")]
    Reason,
    /// It ends before it begins.
    #[error("a restriction has to last for a while")]
    Over,
}

impl Restriction {
    /// A new random id.
    pub fn new_id() -> String {
        let character = || char::from(ID_ALPHABET[fastrand::usize(..ID_ALPHABET.len())]);
        (0..ID_CHARACTERS).map(|_| character()).collect()
    }

    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<(), RestrictionError> {
        self.on.check()?;
        if self.right_max > Right::Comment {
            return Err(RestrictionError::Right);
        }
        let is_wild = self.reason.contains(char::is_control);
        if is_wild || self.reason.len() > REASON_BYTES_MAX {
            return Err(RestrictionError::Reason);
        }
        if self.is_over(self.since_ms) {
            return Err(RestrictionError::Over);
        }
        Ok(())
    }

    /// Whether it has run out.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }

    /// Whether it concerns this visitor. A token that does not say when it was issued is an old one.
    pub fn covers(&self, visitor: &Visitor<'_>) -> bool {
        let is_old = match (self.issued_before_ms, visitor.issued_at_ms) {
            (Some(before_ms), Some(issued_at_ms)) => issued_at_ms < before_ms,
            _ => true,
        };
        is_old && self.on.covers(visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn restriction() -> Restriction {
        Restriction {
            id: Restriction::new_id(),
            on: Selection {
                subject: Some("ada".into()),
                ..Selection::default()
            },
            right_max: Right::Read,
            since_ms: 10,
            until_ms: None,
            issued_before_ms: None,
            reason: String::new(),
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        type Change = fn(&mut Restriction);
        let table: [(Change, Result<(), RestrictionError>); 8] = [
            (|_| {}, Ok(())),
            (|it| it.right_max = Right::None, Ok(())),
            (
                |it| it.right_max = Right::Write,
                Err(RestrictionError::Right),
            ),
            (
                |it| it.on = Selection::default(),
                Err(SelectionError::Everybody.into()),
            ),
            (
                |it| it.reason = "x".repeat(REASON_BYTES_MAX + 1),
                Err(RestrictionError::Reason),
            ),
            (
                |it| it.reason = "a\nb".into(),
                Err(RestrictionError::Reason),
            ),
            (|it| it.until_ms = Some(10), Err(RestrictionError::Over)),
            (|it| it.until_ms = Some(11), Ok(())),
        ];
        for (number, (change, wanted)) in table.into_iter().enumerate() {
            let mut it = restriction();
            change(&mut it);
            assert_eq!(it.check(), wanted, "row {number}");
        }
    }

    #[test]
    fn newer_tokens_are_not_concerned_if_it_says_so() {
        let table = [
            (None, None, true),
            (None, Some(7), true),
            (Some(5), None, true),
            (Some(5), Some(4), true),
            (Some(5), Some(5), false),
            (Some(5), Some(6), false),
        ];
        for (issued_before_ms, issued_at_ms, wanted) in table {
            let it = Restriction {
                issued_before_ms,
                ..restriction()
            };
            let visitor = Visitor {
                document: "a",
                subject: Some("ada"),
                token_id: None,
                issued_at_ms,
            };
            assert_eq!(
                it.covers(&visitor),
                wanted,
                "{issued_before_ms:?} {issued_at_ms:?}"
            );
        }
    }

    #[test]
    fn ids_differ() {
        let ids: HashSet<_> = (0..1_000).map(|_| Restriction::new_id()).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
