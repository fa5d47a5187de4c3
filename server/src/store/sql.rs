//! What both databases are told in the same words: numbers, kinds of snapshots, ranges of names.

use driftless_proto::name::DocumentName;

use super::SnapshotKind;

/// A bound for a database, whose numbers are signed.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A snapshot kind as it is stored.
pub(super) fn kind_name(kind: SnapshotKind) -> &'static str {
    match kind {
        SnapshotKind::Latest => "latest",
        SnapshotKind::Base => "base",
    }
}

/// The snapshot kind of a stored name.
pub(super) fn kind_of(name: &str) -> SnapshotKind {
    if name == kind_name(SnapshotKind::Base) {
        SnapshotKind::Base
    } else {
        SnapshotKind::Latest
    }
}

/// The smallest byte string that is in the listing: the prefix, or what follows `after`.
pub(super) fn first_name(prefix: &str, after: Option<&DocumentName>) -> Vec<u8> {
    let mut behind = after.map_or_else(Vec::new, |name| name.as_str().as_bytes().to_vec());
    if after.is_some() {
        behind.push(0);
    }
    behind.max(prefix.as_bytes().to_vec())
}

/// The smallest byte string behind all that start with the prefix; none for the empty prefix.
pub(super) fn behind_prefix(prefix: &str) -> Option<Vec<u8>> {
    let mut bytes = prefix.as_bytes().to_vec();
    // UTF-8 never holds the byte 255, so there is always a next one.
    *bytes.last_mut()? += 1;
    Some(bytes)
}
