//! What both databases do alike with restrictions: how a row is read, and what a full table says.

use super::StoreError;
use crate::access::{RESTRICTIONS_MAX, Restriction, Selection};
use crate::auth::Right;

/// A row as both databases give it.
pub(super) struct Row {
    pub(super) id: String,
    /// Document, subject, token id.
    pub(super) selectors: [Option<Vec<u8>>; 3],
    pub(super) right_max: String,
    /// Since, until, issued before.
    pub(super) times_ms: (i64, Option<i64>, Option<i64>),
    pub(super) reason: String,
}

impl Row {
    /// The restriction. What cannot be understood is damage: to leave it out would give access back.
    pub(super) fn read(self) -> Result<Restriction, StoreError> {
        let damaged = || StoreError::Damaged(format!("the restriction {} cannot be read", self.id));
        let text = |bytes: &Option<Vec<u8>>| {
            let text = bytes.clone().map(String::from_utf8).transpose();
            text.map_err(|_| damaged())
        };
        let time = |at_ms: i64| u64::try_from(at_ms).map_err(|_| damaged());
        let [document, subject, token_id] = &self.selectors;
        let on = Selection {
            document: text(document)?,
            subject: text(subject)?,
            token_id: text(token_id)?,
        };
        let right_max = self.right_max.parse::<Right>().map_err(|_| damaged())?;
        let (since_ms, until_ms, issued_before_ms) = self.times_ms;
        Ok(Restriction {
            on,
            right_max,
            since_ms: time(since_ms)?,
            until_ms: until_ms.map(time).transpose()?,
            issued_before_ms: issued_before_ms.map(time).transpose()?,
            reason: self.reason,
            id: self.id,
        })
    }
}

/// When the first of some begins: what ran out before it can go.
pub(super) fn first_since_ms(restrictions: &[Restriction]) -> u64 {
    let since = restrictions.iter().map(|one| one.since_ms);
    since.min().unwrap_or(0)
}

/// Refuses more than can be kept.
pub(super) fn check_count(count: i64) -> Result<(), StoreError> {
    if usize::try_from(count).is_ok_and(|count| count <= RESTRICTIONS_MAX) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "there are {RESTRICTIONS_MAX} restrictions already, the most that are kept; lift some \
         (`driftless access lift`), or make one with a pattern that covers many"
    )))
}
