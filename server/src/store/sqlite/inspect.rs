//! Checking everything stored of a document, and cutting away what is damaged.

use driftless_proto::name::DocumentName;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::super::sql::{kind_name, signed};
use super::super::{Inspection, LogLimits, Repair, Snapshot, SnapshotKind, StoreError};
use super::error::{is_damage, store_error};
use super::load::{DocumentRow, number, read_appends, read_row, read_snapshot};
use super::unsettled::Unsettled;
use super::writer::{begin, end, roll_back};

/// How much log is in memory at once while it is checked.
const STEP_LIMITS: LogLimits = LogLimits {
    appends_max: 20_000,
    bytes_max: 16 << 20,
};

/// Structural findings that are listed; more of them say nothing new.
const STRUCTURE_FINDINGS_MAX: usize = 100;

/// Everything that is known about a document's stored rows.
struct Examination {
    row: DocumentRow,
    /// The intact snapshots that the log continues from, the newest first.
    snapshots: Vec<(SnapshotKind, Snapshot)>,
    /// Snapshots that are to go.
    bad_snapshots: Vec<SnapshotKind>,
    /// Where loads start and how far they get; nothing when no start is intact.
    readable: Option<Readable>,
    /// The kept history is whole from its beginning up to where loads get.
    is_history_whole: bool,
    findings: Vec<String>,
}

struct Readable {
    from: u64,
    until: u64,
}

/// Checks a document in one database snapshot.
pub(super) async fn inspect(
    readers: &SqlitePool,
    document: &DocumentName,
    unsettled: &Unsettled,
) -> Result<Inspection, StoreError> {
    let is_unsettled = unsettled.contains(document);
    let mut transaction = readers.begin().await?;
    let found = examine(&mut transaction, document, is_unsettled).await?;
    Ok(Inspection {
        epoch: found.row.epoch,
        head: found.row.head,
        good_until: found
            .readable
            .map_or(found.row.epoch_start, |one| one.until),
        snapshots: found.snapshots,
        findings: found.findings,
    })
}

/// Checks the structure of the database itself.
pub(super) async fn verify_structure(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, StoreError> {
    let mut findings = Vec::new();
    {
        let mut rows = sqlx::query("PRAGMA integrity_check(100)").fetch(&mut *connection);
        loop {
            match rows.try_next().await {
                Ok(Some(row)) => findings.push(row.try_get::<String, _>(0)?),
                Ok(None) => break,
                Err(error) if is_damage(&error) => {
                    findings.push(error.to_string());
                    break;
                }
                Err(error) => return Err(store_error(&error)),
            }
        }
    }
    findings.retain(|finding| finding != "ok");
    if findings.is_empty() {
        let orphans = sqlx::query("PRAGMA foreign_key_check").fetch_all(connection);
        for row in orphans.await? {
            let table: String = row.try_get(0)?;
            findings.push(format!("a row of `{table}` belongs to no document"));
        }
    }
    findings.truncate(STRUCTURE_FINDINGS_MAX);
    Ok(findings)
}

async fn examine(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    is_unsettled: bool,
) -> Result<Examination, StoreError> {
    let row = read_row(connection, document, is_unsettled)
        .await?
        .ok_or(StoreError::NotFound)?;
    let mut findings = Vec::new();
    let (snapshots, bad_snapshots) =
        examine_snapshots(connection, document, &row, &mut findings).await?;
    let is_from_start = row.floor_sequence == row.epoch_start;
    let has_base = snapshots
        .iter()
        .any(|(_, one)| one.sequence == row.floor_sequence);
    if !is_from_start && !has_base {
        findings.push(format!(
            "the history from {} on has no base snapshot",
            row.floor_sequence + 1
        ));
    }
    let floor = row.floor_sequence;
    let history_end = walk(connection, document, &row, floor, &mut findings).await?;
    let newest = snapshots.first().map(|(_, snapshot)| snapshot.sequence);
    let from = newest.or(is_from_start.then_some(row.epoch_start));
    let readable = match from {
        Some(from) if from > history_end => Some(Readable {
            from,
            until: walk(connection, document, &row, from, &mut findings).await?,
        }),
        Some(from) => Some(Readable {
            from,
            until: history_end,
        }),
        None => None,
    };
    let is_history_whole = (is_from_start || has_base)
        && readable
            .as_ref()
            .is_some_and(|one| one.until == history_end);
    Ok(Examination {
        row,
        snapshots,
        bad_snapshots,
        readable,
        is_history_whole,
        findings,
    })
}

/// Intact snapshots, and those that are not.
pub(super) type Sorted = (Vec<(SnapshotKind, Snapshot)>, Vec<SnapshotKind>);

/// Sorts the document's snapshots, and adds to the findings what is wrong with them.
pub(super) async fn examine_snapshots(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    row: &DocumentRow,
    findings: &mut Vec<String>,
) -> Result<Sorted, StoreError> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for kind in [SnapshotKind::Latest, SnapshotKind::Base] {
        let epoch: Option<i64> =
            sqlx::query_scalar("SELECT epoch FROM snapshots WHERE document_id = ? AND kind = ?")
                .bind(row.id)
                .bind(kind_name(kind))
                .fetch_optional(&mut *connection)
                .await?;
        let Some(epoch) = epoch else { continue };
        let read = read_snapshot(connection, document, row, kind).await?;
        let checked = read.and_then(|snapshot| {
            if epoch as u64 != row.epoch {
                return Err(format!("the {kind:?} snapshot is of epoch {epoch}"));
            }
            if snapshot.sequence < row.floor_sequence {
                return Err(format!("the {kind:?} snapshot is older than the kept log"));
            }
            Ok(snapshot)
        });
        match checked {
            Ok(snapshot) => good.push((kind, snapshot)),
            Err(finding) => {
                findings.push(finding);
                bad.push(kind);
            }
        }
    }
    good.sort_by_key(|(_, snapshot)| std::cmp::Reverse(snapshot.sequence));
    Ok((good, bad))
}

/// Follows the log from behind `after` and returns how far it is intact.
async fn walk(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    row: &DocumentRow,
    after: u64,
    findings: &mut Vec<String>,
) -> Result<u64, StoreError> {
    let mut last = after;
    loop {
        let read = read_appends(connection, document, row, last, STEP_LIMITS).await?;
        let is_end = read.appends.is_empty();
        last = read.appends.last().map_or(last, |append| append.sequence);
        if let Some(damage) = read.damage {
            findings.push(damage);
            return Ok(last);
        }
        if is_end {
            return Ok(last);
        }
    }
}

/// Cuts the document back to what is intact, in one transaction; what goes is kept aside.
pub(super) async fn repair(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    good_until: Option<u64>,
) -> Result<Repair, StoreError> {
    begin(connection).await?;
    let mut found = examine(connection, document, false).await?;
    let head_before = found.row.head;
    if let (Some(readable), Some(good_until)) = (&mut found.readable, good_until) {
        readable.until = readable.until.min(good_until.max(readable.from));
    }
    let is_cut = found
        .readable
        .as_ref()
        .is_some_and(|one| one.until < head_before);
    if found.findings.is_empty() && !is_cut {
        roll_back(connection).await?;
        return Ok(Repair {
            head_before,
            head: head_before,
            appends_cut: 0,
            snapshots_cut: 0,
        });
    }
    let Some(readable) = &found.readable else {
        roll_back(connection).await?;
        return Err(StoreError::Refused(
            "nothing of the document is intact; restore a backup, or delete it".to_owned(),
        ));
    };
    let cut = cut_away(connection, &found, readable).await;
    let (appends_cut, snapshots_cut) = cut.map_err(|error| match store_error(&error) {
        StoreError::Damaged(text) => StoreError::Refused(format!(
            "the database's own pages are damaged ({text}); export what is readable and restore \
             a backup"
        )),
        other => other,
    })?;
    end(connection).await?;
    Ok(Repair {
        head_before,
        head: readable.until,
        appends_cut,
        snapshots_cut,
    })
}

async fn cut_away(
    connection: &mut SqliteConnection,
    found: &Examination,
    readable: &Readable,
) -> Result<(u64, u64), sqlx::Error> {
    let id = found.row.id;
    let (mut appends_cut, mut snapshots_cut) = (0, 0);
    for kind in &found.bad_snapshots {
        snapshots_cut += cut_snapshot(connection, id, *kind).await?;
    }
    appends_cut += cut_appends(connection, id, readable.until + 1, u64::MAX).await?;
    let floor = if found.is_history_whole {
        found.row.floor_sequence
    } else {
        // What lies before the state that loads start from cannot be read any more.
        appends_cut += cut_appends(connection, id, 0, readable.from).await?;
        if let Some((SnapshotKind::Latest, _)) = found.snapshots.first() {
            snapshots_cut += cut_snapshot(connection, id, SnapshotKind::Base).await?;
            sqlx::query("UPDATE snapshots SET kind = 'base' WHERE document_id = ?")
                .bind(id)
                .execute(&mut *connection)
                .await?;
        }
        readable.from
    };
    recount(connection, id, readable, floor).await?;
    Ok((appends_cut, snapshots_cut))
}

/// Moves log rows to the side table.
async fn cut_appends(
    connection: &mut SqliteConnection,
    document_id: i64,
    first: u64,
    last: u64,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "INSERT INTO cut_appends SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), document_id, \
           sequence, id, epoch, identity, door, time_ms, checksum, content \
         FROM appends WHERE document_id = ? AND sequence BETWEEN ? AND ?",
    )
    .bind(document_id)
    .bind(signed(first))
    .bind(signed(last))
    .execute(&mut *connection)
    .await?;
    let cut = sqlx::query("DELETE FROM appends WHERE document_id = ? AND sequence BETWEEN ? AND ?")
        .bind(document_id)
        .bind(signed(first))
        .bind(signed(last))
        .execute(connection)
        .await?;
    Ok(cut.rows_affected())
}

/// Moves a snapshot to the side table.
async fn cut_snapshot(
    connection: &mut SqliteConnection,
    document_id: i64,
    kind: SnapshotKind,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "INSERT INTO cut_snapshots SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), \
           document_id, kind, epoch, sequence, checksum, state \
         FROM snapshots WHERE document_id = ? AND kind = ?",
    )
    .bind(document_id)
    .bind(kind_name(kind))
    .execute(&mut *connection)
    .await?;
    let cut = sqlx::query("DELETE FROM snapshots WHERE document_id = ? AND kind = ?")
        .bind(document_id)
        .bind(kind_name(kind))
        .execute(connection)
        .await?;
    Ok(cut.rows_affected())
}

/// Brings the document's own numbers in line with the rows that are left.
async fn recount(
    connection: &mut SqliteConnection,
    document_id: i64,
    readable: &Readable,
    floor: u64,
) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "SELECT coalesce(sum(length(content)), 0), \
           coalesce(sum(iif(sequence <= ?3, length(content), 0)), 0) \
         FROM appends WHERE document_id = ?1 AND sequence > ?2",
    )
    .bind(document_id)
    .bind(signed(floor))
    .bind(signed(readable.from))
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE documents SET head = ?2, floor_sequence = ?3, floor_bytes = 0, log_bytes = ?4, \
           covered_sequence = ?5, covered_bytes = ?6, \
           oldest_ms = (SELECT time_ms FROM appends \
             WHERE document_id = ?1 AND sequence > ?3 ORDER BY sequence LIMIT 1) \
         WHERE id = ?1",
    )
    .bind(document_id)
    .bind(signed(readable.until))
    .bind(signed(floor))
    .bind(signed(number(&row, 0)?))
    .bind(signed(readable.from))
    .bind(signed(number(&row, 1)?))
    .execute(connection)
    .await?;
    Ok(())
}
