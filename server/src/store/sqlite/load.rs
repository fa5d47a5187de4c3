//! Reading documents and logs, and trusting nothing that does not match its checksum.

use bytes::Bytes;
use driftless_proto::name::DocumentName;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::super::checksum::{AppendRow, snapshot_checksum};
use super::super::sql::{kind_name, kind_of, signed};
use super::super::{
    LoadedDocument, LogEnd, LogLimits, LogRange, LogStart, Origin, Snapshot, SnapshotKind,
    StoreError, StoredAppend,
};
use super::error::{is_damage, store_error};
use super::unsettled::Unsettled;

/// A row of `documents`, as far as reads need it.
#[derive(Debug, Clone)]
pub(super) struct DocumentRow {
    pub(super) id: i64,
    pub(super) epoch: u64,
    pub(super) epoch_start: u64,
    pub(super) head: u64,
    pub(super) floor_sequence: u64,
    pub(super) quarantine: Option<String>,
    pub(super) tombstone: Option<Vec<u8>>,
    /// Rows of it may wait in the journal; `head` counts them.
    pub(super) is_unsettled: bool,
}

/// Appends of a document, from its log alone.
const SELECT_SETTLED: &str = "SELECT sequence, id, epoch, identity, door, time_ms, checksum, \
     content FROM appends WHERE document_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";

/// Appends of a document, from its log and behind it from the journal.
const SELECT_UNSETTLED: &str = "SELECT * FROM ( \
       SELECT sequence, id, epoch, identity, door, time_ms, checksum, content \
       FROM appends WHERE document_id = ?1 AND sequence > ?2 \
       UNION ALL \
       SELECT sequence, id, epoch, identity, door, time_ms, checksum, content \
       FROM journal WHERE document_id = ?1 AND sequence > ?2 \
         AND sequence > (SELECT head FROM documents WHERE id = ?1)) \
     ORDER BY sequence LIMIT ?3";

/// Appends that were read, and why reading stopped before the end, if it did.
#[derive(Debug, Default)]
pub(super) struct ReadAppends {
    pub(super) appends: Vec<StoredAppend>,
    pub(super) damage: Option<String>,
}

/// Reads a document in one database snapshot.
pub(super) async fn load(
    readers: &SqlitePool,
    document: &DocumentName,
    unsettled: &Unsettled,
) -> Result<LoadedDocument, StoreError> {
    let is_unsettled = unsettled.contains(document);
    let mut transaction = readers.begin().await?;
    let Some(row) = read_row(&mut transaction, document, is_unsettled).await? else {
        return Ok(LoadedDocument {
            epoch: 1,
            head: 0,
            snapshot: None,
            appends: Vec::new(),
            quarantine: None,
            damage: None,
            tombstone: None,
        });
    };
    let start = LogStart::NewestSnapshot;
    let range = range_of(&mut transaction, document, &row, start, LogLimits::NONE).await?;
    Ok(LoadedDocument {
        epoch: range.epoch,
        head: range.head,
        snapshot: range.snapshot,
        appends: range.appends,
        quarantine: row.quarantine,
        damage: range.damage,
        tombstone: row.tombstone.map(Bytes::from),
    })
}

/// Reads a part of a log in one database snapshot.
pub(super) async fn read_log(
    readers: &SqlitePool,
    document: &DocumentName,
    start: LogStart,
    limits: LogLimits,
    unsettled: &Unsettled,
) -> Result<LogRange, StoreError> {
    let is_unsettled = unsettled.contains(document);
    let mut transaction = readers.begin().await?;
    let row = read_row(&mut transaction, document, is_unsettled)
        .await?
        .ok_or(StoreError::NotFound)?;
    range_of(&mut transaction, document, &row, start, limits).await
}

/// Where these logs end, in one database snapshot.
pub(super) async fn log_ends(
    readers: &SqlitePool,
    documents: &[DocumentName],
    unsettled: &Unsettled,
) -> Result<Vec<LogEnd>, StoreError> {
    let are_unsettled: Vec<bool> = documents.iter().map(|it| unsettled.contains(it)).collect();
    let mut transaction = readers.begin().await?;
    let mut ends = Vec::with_capacity(documents.len());
    for (document, is_unsettled) in documents.iter().zip(are_unsettled) {
        let Some(row) = read_row(&mut transaction, document, is_unsettled).await? else {
            ends.push(LogEnd {
                epoch: 1,
                head: 0,
                id: None,
            });
            continue;
        };
        let before = row.head.saturating_sub(1);
        let newest = read_appends(&mut transaction, document, &row, before, LogLimits::ONE).await?;
        ends.push(LogEnd {
            epoch: row.epoch,
            head: row.head,
            id: newest.appends.first().map(|append| append.id),
        });
    }
    Ok(ends)
}

/// The document's row, if it exists, with what the journal holds of it.
pub(super) async fn read_row(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    is_unsettled: bool,
) -> Result<Option<DocumentRow>, StoreError> {
    let Some(mut row) = document_row(connection, document).await? else {
        return Ok(None);
    };
    if is_unsettled {
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT max(sequence) FROM journal WHERE document_id = ?")
                .bind(row.id)
                .fetch_one(connection)
                .await?;
        row.head = row.head.max(newest.unwrap_or(0) as u64);
        row.is_unsettled = true;
    }
    Ok(Some(row))
}

/// The row of a document that is settled, if it exists.
pub(super) async fn document_row(
    connection: &mut SqliteConnection,
    document: &DocumentName,
) -> Result<Option<DocumentRow>, StoreError> {
    let row = sqlx::query(
        "SELECT id, epoch, epoch_start, head, floor_sequence, quarantine, tombstone \
         FROM documents WHERE name = ?",
    )
    .bind(document.as_str().as_bytes())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(DocumentRow {
        id: row.try_get(0)?,
        epoch: number(&row, 1)?,
        epoch_start: number(&row, 2)?,
        head: number(&row, 3)?,
        floor_sequence: number(&row, 4)?,
        quarantine: row.try_get(5)?,
        tombstone: row.try_get(6)?,
        is_unsettled: false,
    }))
}

async fn range_of(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    row: &DocumentRow,
    start: LogStart,
    limits: LogLimits,
) -> Result<LogRange, StoreError> {
    let (snapshot, after) = match start {
        LogStart::After(after) if after >= row.floor_sequence => (None, after),
        LogStart::After(_) => {
            let base = find_start(connection, document, row, Newest::Last).await?;
            (base.snapshot, base.after)
        }
        LogStart::NewestSnapshot => {
            let newest = find_start(connection, document, row, Newest::First).await?;
            (newest.snapshot, newest.after)
        }
    };
    let read = read_appends(connection, document, row, after, limits).await?;
    Ok(LogRange {
        epoch: row.epoch,
        head: row.head,
        snapshot,
        appends: read.appends,
        damage: read.damage,
    })
}

/// Which of several intact snapshots to prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newest {
    First,
    Last,
}

/// A state that a log continues from.
struct Start {
    snapshot: Option<Snapshot>,
    after: u64,
}

/// Finds an intact snapshot from which the log is complete; without one, the log's own beginning,
/// if that is still kept. A snapshot that is damaged gives way to the other and a longer log.
async fn find_start(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    row: &DocumentRow,
    order: Newest,
) -> Result<Start, StoreError> {
    let mut kinds = snapshot_sequences(connection, row).await?;
    if order == Newest::Last {
        kinds.reverse();
    }
    let is_whole_log_kept = row.floor_sequence == row.epoch_start;
    let beginning = Start {
        snapshot: None,
        after: row.epoch_start,
    };
    if order == Newest::Last && is_whole_log_kept {
        return Ok(beginning);
    }
    let mut findings = Vec::new();
    for (kind, sequence) in kinds {
        if sequence < row.floor_sequence {
            findings.push(format!("the {kind:?} snapshot is older than the kept log"));
            continue;
        }
        match read_snapshot(connection, document, row, kind).await? {
            Ok(snapshot) => {
                return Ok(Start {
                    snapshot: Some(snapshot),
                    after: sequence,
                });
            }
            Err(finding) => {
                tracing::warn!(%document, finding, "a damaged snapshot is passed over");
                findings.push(finding);
            }
        }
    }
    if is_whole_log_kept {
        return Ok(beginning);
    }
    findings.push(format!(
        "the log is kept only from {} on",
        row.floor_sequence + 1
    ));
    Err(StoreError::Damaged(format!(
        "document {document:?}: {}",
        findings.join("; ")
    )))
}

/// The document's snapshots by sequence, the newest first.
async fn snapshot_sequences(
    connection: &mut SqliteConnection,
    row: &DocumentRow,
) -> Result<Vec<(SnapshotKind, u64)>, StoreError> {
    let rows = sqlx::query(
        "SELECT kind, sequence FROM snapshots WHERE document_id = ? AND epoch = ? \
         ORDER BY sequence DESC, kind DESC",
    )
    .bind(row.id)
    .bind(row.epoch as i64)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((kind_of(row.try_get(0)?), number(row, 1)?)))
        .collect()
}

/// Reads one snapshot; the inner error says in words why it cannot be used.
pub(super) async fn read_snapshot(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    row: &DocumentRow,
    kind: SnapshotKind,
) -> Result<Result<Snapshot, String>, StoreError> {
    let read = sqlx::query(
        "SELECT epoch, sequence, checksum, state FROM snapshots WHERE document_id = ? AND kind = ?",
    )
    .bind(row.id)
    .bind(kind_name(kind))
    .fetch_one(connection)
    .await;
    let stored = match read {
        Ok(stored) => stored,
        Err(error) if is_damage(&error) => {
            return Ok(Err(format!("the {kind:?} snapshot is unreadable: {error}")));
        }
        Err(error) => return Err(store_error(&error)),
    };
    let (epoch, sequence) = (number(&stored, 0)?, number(&stored, 1)?);
    let checksum: i64 = stored.try_get(2)?;
    let state: Vec<u8> = stored.try_get(3)?;
    if i64::from(snapshot_checksum(document, epoch, sequence, &state)) != checksum {
        return Ok(Err(format!(
            "the {kind:?} snapshot at {sequence} does not match its checksum"
        )));
    }
    if sequence > row.head {
        return Ok(Err(format!(
            "the {kind:?} snapshot at {sequence} is newer than the head {}",
            row.head
        )));
    }
    Ok(Ok(Snapshot {
        sequence,
        state: state.into(),
    }))
}

/// Reads the appends behind `after` as far as they are contiguous and intact.
pub(super) async fn read_appends(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    row: &DocumentRow,
    after: u64,
    limits: LogLimits,
) -> Result<ReadAppends, StoreError> {
    let statement = if row.is_unsettled {
        SELECT_UNSETTLED
    } else {
        SELECT_SETTLED
    };
    let mut rows = sqlx::query(statement)
        .bind(row.id)
        .bind(signed(after))
        .bind(signed(limits.appends_max))
        .fetch(connection);
    let mut read = ReadAppends::default();
    let (mut last, mut bytes) = (after, 0);
    loop {
        let checked = match rows.try_next().await {
            Ok(Some(stored)) => check_append(document, row.epoch, last + 1, &stored),
            Ok(None) => break,
            Err(error) if is_damage(&error) => Err(format!("behind {last}: {error}")),
            Err(error) => return Err(store_error(&error)),
        };
        match checked {
            Ok(append) => {
                bytes += append.update.len() as u64;
                if bytes > limits.bytes_max && !read.appends.is_empty() {
                    return Ok(read);
                }
                last = append.sequence;
                read.appends.push(append);
            }
            Err(finding) => {
                read.damage = Some(finding);
                return Ok(read);
            }
        }
    }
    let is_end = (read.appends.len() as u64) < limits.appends_max;
    if is_end && after <= row.head && last != row.head {
        read.damage = Some(format!("the log ends at {last}, the head is {}", row.head));
    }
    Ok(read)
}

/// Turns a row into the append that belongs at `sequence`, or says what is wrong with it.
fn check_append(
    document: &DocumentName,
    epoch: u64,
    sequence: u64,
    row: &SqliteRow,
) -> Result<StoredAppend, String> {
    let (append, stored_epoch, checksum) =
        decode_append(row).map_err(|error| format!("append {sequence} is unreadable: {error}"))?;
    if append.sequence != sequence {
        return Err(format!(
            "append {sequence} is missing, {} follows",
            append.sequence
        ));
    }
    let computed = AppendRow {
        document,
        epoch: stored_epoch,
        sequence,
        id: &append.id,
        origin: &append.origin,
        time_ms: append.time_ms,
        update: &append.update,
    }
    .checksum();
    if i64::from(computed) != checksum {
        return Err(format!("append {sequence} does not match its checksum"));
    }
    if stored_epoch != epoch {
        return Err(format!(
            "append {sequence} is of epoch {stored_epoch}, the document of {epoch}"
        ));
    }
    Ok(append)
}

fn decode_append(row: &SqliteRow) -> Result<(StoredAppend, u64, i64), sqlx::Error> {
    let id: &[u8] = row.try_get(1)?;
    let update: &[u8] = row.try_get(7)?;
    let append = StoredAppend {
        sequence: number(row, 0)?,
        id: id
            .try_into()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        origin: Origin {
            identity: row.try_get(3)?,
            door: row.try_get(4)?,
        },
        time_ms: number(row, 5)?,
        update: Bytes::copy_from_slice(update),
    };
    Ok((append, number(row, 2)?, row.try_get(6)?))
}

/// A column that never holds a negative number.
pub(super) fn number(row: &SqliteRow, index: usize) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<i64, _>(index)? as u64)
}
