//! When a document's log is folded into a snapshot, and how much of it is kept as history. Pure.

use super::{LogStats, StatsFilter, StoredAppend};

/// Appends after the newest snapshot from which a new one is built: replaying this many takes a
/// load some milliseconds, and building a snapshot for fewer would rewrite large documents too often.
pub const COMPACT_APPENDS: u64 = 2_000;

/// Bytes after the newest snapshot from which a new one is built, for documents with large edits.
pub const COMPACT_BYTES: u64 = 4 << 20;

/// The default of how long history is kept.
pub const HISTORY_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// The default of how many bytes of history are kept per document.
pub const HISTORY_BYTES_MAX: u64 = 256 << 20;

/// Moving the horizon costs a snapshot, so it waits until this share of the history's length has
/// expired on top of it.
const EXPIRED_SHARE: u64 = 8;

/// The least that waits, so that a history of zero does not move the horizon with every edit.
const EXPIRED_MS_MIN: u64 = 60_000;

/// A history beyond its bytes is cut to this many quarters of them, for the same reason.
const KEPT_QUARTERS: u64 = 3;

/// How much history is kept, and when logs are compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// Appends are kept this long, and at most an eighth (at least a minute) longer.
    pub history_ms: u64,
    /// Bytes of appends that are kept per document.
    pub history_bytes_max: u64,
    /// Appends after the newest snapshot from which a new one is built.
    pub compact_appends: u64,
    /// Bytes after the newest snapshot from which a new one is built.
    pub compact_bytes: u64,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self {
            history_ms: HISTORY_MS,
            history_bytes_max: HISTORY_BYTES_MAX,
            compact_appends: COMPACT_APPENDS,
            compact_bytes: COMPACT_BYTES,
        }
    }
}

impl LogBounds {
    /// The documents that have something to do at `now_ms`.
    pub fn filter(&self, now_ms: u64) -> StatsFilter {
        StatsFilter {
            uncovered_appends: self.compact_appends,
            uncovered_bytes: self.compact_bytes,
            oldest_before_ms: self.expired_before_ms(now_ms),
            kept_bytes: self.history_bytes_max,
        }
    }

    /// True when loads of the document have become slow enough for a new snapshot.
    pub fn needs_snapshot(&self, stats: &LogStats) -> bool {
        stats.uncovered_appends > self.compact_appends || stats.uncovered_bytes > self.compact_bytes
    }

    /// True when enough history has expired to move the horizon.
    pub fn has_expired_history(&self, stats: &LogStats, now_ms: u64) -> bool {
        let before_ms = self.expired_before_ms(now_ms);
        stats.oldest_ms.is_some_and(|oldest| oldest < before_ms)
            || stats.kept_bytes > self.history_bytes_max
    }

    /// How many of these oldest appends stop being history, of a document that has expired history.
    /// Time of day may jump, so only the expired ones in front count.
    pub fn expired(&self, oldest: &[StoredAppend], kept_bytes: u64, now_ms: u64) -> usize {
        let before_ms = now_ms.saturating_sub(self.history_ms);
        let bytes_max = if kept_bytes > self.history_bytes_max {
            self.history_bytes_max / 4 * KEPT_QUARTERS
        } else {
            self.history_bytes_max
        };
        let mut kept_bytes = kept_bytes;
        let expired = oldest.iter().take_while(|append| {
            let is_expired = append.time_ms < before_ms || kept_bytes > bytes_max;
            kept_bytes = kept_bytes.saturating_sub(append.update.len() as u64);
            is_expired
        });
        expired.count()
    }

    fn expired_before_ms(&self, now_ms: u64) -> u64 {
        let slack_ms = (self.history_ms / EXPIRED_SHARE).max(EXPIRED_MS_MIN);
        now_ms.saturating_sub(self.history_ms.saturating_add(slack_ms))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;
    use crate::store::Origin;
    use crate::store::conformance::name;

    const BOUNDS: LogBounds = LogBounds {
        history_ms: 800_000,
        history_bytes_max: 100,
        compact_appends: 10,
        compact_bytes: 50,
    };

    fn stats(uncovered: (u64, u64), kept_bytes: u64, oldest_ms: Option<u64>) -> LogStats {
        LogStats {
            document: name("a"),
            epoch: 1,
            head: 100,
            uncovered_appends: uncovered.0,
            uncovered_bytes: uncovered.1,
            kept_appends: 100,
            kept_bytes,
            oldest_ms,
            has_dead_rows: false,
        }
    }

    fn appends(times_ms: &[u64]) -> Vec<StoredAppend> {
        let append = |(sequence, time_ms): (u64, &u64)| StoredAppend {
            sequence,
            id: [0; 16],
            origin: Origin::default(),
            time_ms: *time_ms,
            update: Bytes::from_static(&[0; 10]),
        };
        (1..).zip(times_ms).map(append).collect()
    }

    #[test]
    fn a_long_or_large_tail_needs_a_snapshot() {
        for (uncovered, expected) in [((10, 50), false), ((11, 1), true), ((1, 51), true)] {
            let stats = stats(uncovered, 0, None);
            assert_eq!(BOUNDS.needs_snapshot(&stats), expected, "{uncovered:?}");
        }
    }

    #[test]
    fn history_expires_by_age_with_slack_and_by_bytes() {
        let now_ms = 2_000_000;
        let table = [
            (0, None, false),
            (100, Some(1_200_000), false),
            (100, Some(1_100_000), false),
            (100, Some(1_099_999), true),
            (101, Some(now_ms), true),
        ];
        for (kept_bytes, oldest_ms, expected) in table {
            let stats = stats((0, 0), kept_bytes, oldest_ms);
            let got = BOUNDS.has_expired_history(&stats, now_ms);
            assert_eq!(got, expected, "{kept_bytes} bytes, oldest {oldest_ms:?}");
        }
    }

    #[test]
    fn the_cut_keeps_what_is_young_and_fits() {
        let now_ms = 2_000_000;
        let (old, young) = (1_199_999, 1_200_000);
        let table = [
            (&[][..], 0, 0),
            (&[old, old, young, young], 40, 2),
            (&[young, old], 20, 0),
            (&[old, old], 20, 2),
            // 130 bytes kept: down to 75, six appends of ten bytes go.
            (&[young; 13], 130, 6),
            (&[young; 3], 130, 3),
            (&[old, young, young], 100, 1),
        ];
        for (times_ms, kept_bytes, expected) in table {
            let got = BOUNDS.expired(&appends(times_ms), kept_bytes, now_ms);
            assert_eq!(got, expected, "{times_ms:?}, {kept_bytes} bytes");
        }
    }

    #[test]
    fn endless_history_never_expires() {
        let bounds = LogBounds {
            history_ms: u64::MAX,
            history_bytes_max: u64::MAX,
            ..BOUNDS
        };
        let stats = stats((0, 0), 1 << 40, Some(0));
        assert!(!bounds.has_expired_history(&stats, 1 << 41));
        assert_eq!(bounds.filter(1 << 41).oldest_before_ms, 0);
    }
}
